"""A real `tensorboard` on a loopback port, with the tab of this package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The package is perhaps not installed but only on the path, so the tab is added by hand, as its entry point does.
_START = """
import sys
from tensorboard import default, program
from lightning_lr_tensorboard.plugin import LearningRatePlugin
plugins = [each for each in default.get_plugins() if getattr(each, "plugin_name", "") != "lightning_lr"]
board = program.TensorBoard(plugins=[*plugins, LearningRatePlugin])
board.configure(["tensorboard", *sys.argv[1:]])
sys.exit(board.main())
"""
_STARTUP = 30.0  # seconds, at most
_ADDRESS = re.compile(r"(http://\S+?:\d+)/")


class TensorBoard:
    """A server that runs.

    Attributes:
        address: of the server, without a slash at its end.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **query: str) -> Any:
        """The JSON that a path gives."""
        url = f"{self.address}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())

    def scalars(self, run: str, tag: str) -> list[tuple[int, float]]:
        """Step and value of each point that the tab Scalars is given."""
        return [(step, value) for _, step, value in self.get("data/plugin/scalars/scalars", run=run, tag=tag)]

    def wait_for(self, path: str, condition: Any, seconds: float = 15.0) -> Any:
        """The answer of a path, as soon as it fulfils a condition."""
        end = time.monotonic() + seconds
        while not condition(answer := self.get(path)):
            assert time.monotonic() < end, f"{path} gave {answer}"
            time.sleep(0.1)
        return answer


@contextmanager
def tensorboard(logdir: Path, load_fast: bool = True, reload_interval: int = 1) -> Iterator[TensorBoard]:
    """A server over a folder of logs. It ends with the context."""
    options = ["--logdir", str(logdir), "--port", "0", "--host", "127.0.0.1", "--load_fast", str(load_fast).lower()]
    log = logdir.with_name(f"{logdir.name}_server.log")
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, *options, "--reload_interval", str(reload_interval)],
            stdout=subprocess.DEVNULL,
            stderr=file,
            cwd=Path(__file__).parents[2],
        )
    try:
        end = time.monotonic() + _STARTUP
        while (match := _ADDRESS.search(log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield TensorBoard(match[1])
    finally:
        process.terminate()
        process.wait(10)
