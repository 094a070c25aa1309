"""Run every code block of the README and of the pages in docs/, page by page, as a reader would.

The blocks of a page share one namespace and one working folder, in which they run from top to bottom. It holds
``examples/`` and a small project of the reader: `READER`. What becomes of a block depends on its language:

* ``python`` is executed, ``bash``, ``shell`` and ``console`` run in bash.
* ``yaml`` is a config of a LightningCLI, or its list of callbacks, and is loaded as ``fit`` would, which builds the
  callbacks. With ``_target_`` it is a config of Hydra: it is instantiated, or by a script if it has a title.
* A block with ``title="name"`` is written to that file. Python with a title is not executed: a command must run it.
* ``<!-- not run: reason -->`` before a block skips it. ``<!-- invisible-code-block: python`` holds code that the page
  does not show.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from lightning_lr.command_line import LRCLI
from tests.helpers.preloaded_python import preloaded_path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
READER = {
    "my_package.py": "from digits import Digits as Data, DigitsCNN as Model\n",
    "train.py": (EXAMPLES / "train.py").read_text(),
    "config.yaml": "seed_everything: 7\ntrainer:\n  accelerator: cpu\n  max_epochs: 3\n",
}
SHELLS = {"bash", "shell", "console"}
RUN = {"python", "yaml", *SHELLS}
NOT_CODE = {"text", "json", "bibtex"}
MOST_NOT_RUN = 6  # blocks of all pages together
MOST_WORDS_OF_README = 900
NOT_RUN = "not run"
INSTALL = re.compile(r"(?:python -m |uv )?pip install |uv add ")

LEXERS = (
    RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\s]*)(?P<options>[^\n]*)\n")),
    DirectiveInHTMLCommentLexer("invisible-code-block", "python"),
    DirectiveInHTMLCommentLexer(NOT_RUN, r"[^\n]*?"),
)


def parse(document: Document) -> Iterator[Region]:
    for lexer in LEXERS:
        for region in lexer(document):
            region.parsed = region.lexemes["source"]
            yield region


def language_of(example: Example) -> str:
    lexemes = example.region.lexemes
    if "directive" not in lexemes:
        return str(lexemes["language"])
    return NOT_RUN if lexemes["directive"] == NOT_RUN else "python"


def examples_of(page: Path) -> list[Example]:
    return list(Document.parse(str(page), parse))


class LoadedConfig(LRCLI):
    """Loads a config and builds what it names, as ``fit`` does, but does not train."""

    def fit(self, **_: object) -> None:
        pass


def run_yaml(source: str, folder: Path) -> None:
    loaded = yaml.safe_load(source)
    if "_target_" in source:
        instantiate(OmegaConf.create(loaded))
        return
    config = folder / "block.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"callbacks": loaded}} if isinstance(loaded, list) else loaded))
    from digits import Digits, DigitsCNN

    sections = loaded if isinstance(loaded, dict) else {}
    names_model, names_data = ("class_path" in (sections.get(name) or {}) for name in ("model", "data"))
    LoadedConfig(
        LightningModule if names_model else DigitsCNN,
        LightningDataModule if names_data else Digits,
        subclass_mode_model=names_model,
        subclass_mode_data=names_data,
        args=["fit", f"--config={config}"],
        seed_everything_default=0,
        save_config_callback=None,
    )


def check_install(command: str) -> None:
    """The names and extras of an install command are those of this package."""
    known = {canonicalize_name(Requirement(each).name) for each in requires("lightning_lr") or []}
    words = shlex.split(INSTALL.sub("", command, count=1), comments=True)
    for each in (Requirement(word) for word in words if not word.startswith("-")):
        if canonicalize_name(each.name) == "lightning-lr":
            assert each.extras <= set(metadata("lightning_lr").get_all("Provides-Extra") or []), command
        else:
            assert canonicalize_name(each.name) in known, command


def run_shell(source: str, folder: Path) -> None:
    """Run the commands; of installing and of make it is checked that they could run."""
    lines = source.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):  # the others are output
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        if INSTALL.match(line):
            check_install(line)
        elif line.startswith("make "):
            subprocess.run(["make", "--dry-run", *shlex.split(line, comments=True)[1:]], cwd=ROOT, check=True)
    script = "\n".join(line for line in lines if not INSTALL.match(line) and not line.startswith("make "))
    environment = {
        **os.environ,
        "PATH": f"{preloaded_path()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{EXAMPLES}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script}\nends with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"


def run(example: Example, folder: Path) -> None:
    language = language_of(example)
    title = re.search(r'title="([^"]+)"', example.region.lexemes.get("options", ""))
    if title is not None:
        written = folder / title[1]
        written.parent.mkdir(exist_ok=True)
        written.write_text(str(example.parsed))
    if language == "yaml" and (title is None or "_target_" not in example.parsed):
        run_yaml(example.parsed, folder)
    elif title is None and language == "python":
        PythonEvaluator()(example)
    elif title is None and language in SHELLS:
        run_shell(example.parsed, folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a page. Modules that the page has written there are forgotten afterwards."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in READER.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.filterwarnings("default::UserWarning")  # some pages show what leads to one
@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples_of(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_blocks_of_a_page(page: Path, folder: Path) -> None:
    skips = False
    for example in examples_of(page):
        if not skips:
            run(example, folder)
        skips = language_of(example) == NOT_RUN


def test_every_block_says_what_it_is_and_nearly_all_are_run() -> None:
    """Python that goes to a file is run by a command of the page."""
    reasons = []
    for page in PAGES:
        examples = examples_of(page)
        unknown = {language_of(each) for each in examples} - RUN - NOT_CODE - {NOT_RUN}
        assert unknown == set(), f"{page.name}: these languages are not run, write text if they are no code"
        commands = "\n".join(str(each.parsed) for each in examples if language_of(each) in SHELLS)
        for each in examples:
            if title := re.search(r'title="([^"]+\.py)"', each.region.lexemes.get("options", "")):
                assert Path(title[1]).stem in commands, f"{page.name}: no command runs {title[1]}"
        reasons += [each.region.lexemes["arguments"] for each in examples if language_of(each) == NOT_RUN]
    assert all(reasons)
    assert len(reasons) <= MOST_NOT_RUN


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = PAGES[0].read_text()
    assert len(text.split()) <= MOST_WORDS_OF_README
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
