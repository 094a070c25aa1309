"""The source distribution, and the wheel that is built from it, installed where the repository is not in reach."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lightning_lr", "lightning_lr_plugin", "lightning_lr_tensorboard")
REPOSITORY = {"GITHUB_SERVER_URL": "https://example.org", "GITHUB_REPOSITORY": "someone/lightning_lr"}

INSTALLED = """
import json, sys
from importlib.metadata import distribution
from importlib.util import find_spec
points = distribution("lightning_lr").entry_points
print(json.dumps({
    "files": [find_spec(name).origin for name in sys.argv[1:]],
    "scripts": [[point.name, point.value] for point in points if point.group == "console_scripts"],
    "loaded": sorted([point.group, point.load().__name__] for point in points if point.group != "console_scripts"),
}))
"""


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("source")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, folder=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):  # silences a warning of Python 3.12 and 3.13
            file.extraction_filter = tarfile.data_filter
        file.extractall(folder)
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """As the release workflow builds it."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", source / "dist", folder=source, **REPOSITORY)
    (built,) = (source / "dist").glob("*.whl")
    return built


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """With the marker for type checkers, and the scripts and styles of the tab."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    files = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == files
    assert {"lightning_lr/py.typed", "lightning_lr_tensorboard/static/index.js"} <= held
    assert len(licences) == 1


def test_the_source_distribution_can_be_tested(source: Path) -> None:
    for name in ("README.md", "CHANGELOG.md", "Makefile", "constraints.txt", "tests/conftest.py", "examples/demo.py"):
        assert (source / name).is_file()


def test_metadata_of_a_release(wheel: Path) -> None:
    """The relative links of the README lead to the repository."""
    metadata = metadata_of(wheel)
    address = "https://example.org/someone/lightning_lr"
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert urls["Source"] == address
    assert urls["Issues"] == f"{address}/issues"
    assert metadata["License-Expression"] == "Apache-2.0"
    readme = str(metadata.get_payload())
    assert f"]({address}/raw/v{metadata['Version']}/docs/range_test.png)" in readme
    assert f"]({address}/blob/v{metadata['Version']}/docs/results.md)" in readme
    assert "](docs/" not in readme
    assert "](https://lightning.ai/docs/pytorch)" in readme


def test_the_declared_versions_of_python_are_tested(wheel: Path) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    name = "Programming Language :: Python :: 3."
    declared = [each.split()[-1] for each in metadata_of(wheel).get_all("Classifier", []) if each.startswith(name)]
    assert declared == workflow["jobs"]["newest"]["strategy"]["matrix"]["python"]
    assert metadata_of(wheel)["Requires-Python"] == f">={declared[0]}"


def test_installed_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """It sees the other packages of this environment, but not the repository."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    scripts = Path(sysconfig.get_path("scripts", "venv", paths))
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (Path(sysconfig.get_path("purelib", "venv", paths)) / "others.pth").write_text("\n".join(others))
    python = scripts / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=tmp_path)

    assert run(scripts / "lightning-lr", "--version", folder=tmp_path).startswith(
        f"lightning_lr {metadata_of(wheel)['Version']}, lightning "
    )
    found = json.loads(run(python, "-c", INSTALLED, *PACKAGES, folder=tmp_path))
    assert all(Path(file).is_relative_to(environment) for file in found["files"])
    assert found["scripts"] == [["lightning-lr", "lightning_lr.command_line.main:main"]]  # which has just run
    assert found["loaded"] == [
        ["lightning.pytorch.callbacks_factory", "callbacks"],
        ["pytorch_lightning.callbacks_factory", "callbacks"],
        ["tensorboard_plugins", "LearningRatePlugin"],
    ]
