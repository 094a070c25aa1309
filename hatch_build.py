"""Completes the package's metadata with the address of the repository, which only the release workflow knows.

There the links of the README lead to the repository, also those that are relative. Elsewhere nothing is added.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryMetadataHook(MetadataHookInterface):
    """Sets the README and the addresses that an index shows."""

    def update(self, metadata: dict[str, Any]) -> None:
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        if repository := os.environ.get("GITHUB_REPOSITORY"):
            address = f"{os.environ['GITHUB_SERVER_URL']}/{repository}"
            metadata["urls"] = {
                "Source": address,
                "Documentation": f"{address}/blob/main/docs/index.md",
                "Changelog": f"{address}/blob/main/CHANGELOG.md",
                "Issues": f"{address}/issues",
            }
            version = f"v{metadata['version']}"
            readme = re.sub(r"!\[([^]]*)\]\((?!http)", rf"![\1]({address}/raw/{version}/", readme)
            readme = re.sub(r"(?<!!)\[([^]]*)\]\((?!http)", rf"[\1]({address}/blob/{version}/", readme)
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
