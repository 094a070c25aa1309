"""``docs/architecture.md`` names every file of the package, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import lightning_lr

PACKAGE = Path(lightning_lr.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()

MOST_WORDS_IN_GLOSSARY = 20


def section(title: str) -> str:
    """The text of a section of the page."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    assert rest, f"docs/architecture.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def files_of_package() -> set[str]:
    return {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}


def files_in_tree() -> set[str]:
    """The files that the tree of the page lists: ``name.py`` below the folder ``name/`` that stands above it."""
    found, folder = set(), ""
    for line in section("The tree").splitlines():
        if match := re.match(r"(\s*)(\w+)/(?:\s|$)", line):
            folder = "" if match[2] == PACKAGE.name else f"{match[2]}/"
        elif match := re.match(r"(\s*)(\w+\.py)\s+\S", line):
            found.add(f"{folder if len(match[1]) > 2 else ''}{match[2]}")
    return found


def test_tree_is_that_of_the_package() -> None:
    assert files_in_tree() == files_of_package()


def test_tree_of_the_tab_is_that_of_its_package() -> None:
    listed = re.findall(r"^\s+(\w+\.(?:py|js|css))\s+\S", section("The tab in TensorBoard"), re.M)
    tab = PACKAGE.parent / "lightning_lr_tensorboard"
    files = {path.name for path in tab.rglob("*") if path.suffix in (".py", ".js", ".css")} - {"__init__.py"}
    assert len(listed) == len(set(listed))
    assert set(listed) == files


def test_walks_name_files_that_exist() -> None:
    named = set(re.findall(r"`(\w+/\w+\.py)(?::\w[\w.]*)?`", section("Three walks")))
    assert len(named) > 15
    assert named <= files_of_package()


def test_walks_name_functions_that_exist() -> None:
    for path, name in re.findall(r"`(\w+/\w+\.py):(\w[\w.]*)`", section("Three walks")):
        source = (PACKAGE / path).read_text()
        for part in name.split("."):
            assert re.search(rf"\b(def|class) {part}\b", source), f"{path} has no {name}"


def test_glossary_is_short() -> None:
    words = re.findall(r"^\| \*\*", section("Words"), re.M)
    assert 5 <= len(words) <= MOST_WORDS_IN_GLOSSARY
