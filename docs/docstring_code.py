"""For mkdocstrings: code in docstrings as Markdown shows it. They are written for Sphinx and doctest."""

from __future__ import annotations

import re
from typing import Any

import griffe


class DocstringCode(griffe.Extension):
    """Fences around doctests, ``:`` for ``::``, and the section ``Examples`` under the name that griffe knows."""

    def on_instance(self, *, obj: griffe.Object, **_kwargs: Any) -> None:
        if obj.docstring is not None:
            text = re.sub(r"::$", ":", obj.docstring.value, flags=re.M)
            text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
            obj.docstring.value = re.sub(r"^>>>.*?(?=\n\n|\Z)", r"```pycon\n\g<0>\n```", text, flags=re.M | re.S)
