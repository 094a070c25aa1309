"""Commands of Python that start with torch and Lightning imported, which takes longer than most scripts run.

A server imports them once, and forks for each command. This package is not among the imports: a script that does not
name it must work all the same. The processes have environment, folder, files and exit status of their own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_IMPORTS = ("lightning.pytorch.cli", "matplotlib.pyplot", "sklearn.datasets", "torch.utils.tensorboard", "torchmetrics")
_LONGEST_MESSAGE = 100_000  # bytes of a command and its environment


@cache
def preloaded_path() -> str:
    """A folder for ``PATH``, with ``python`` and ``lightning-lr``. Its server ends with this process.

    The server needs Linux. Elsewhere it is the folder of this Python, whose commands start more slowly.
    """
    if sys.platform != "linux":
        return str(Path(sys.executable).parent)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    installed = Path(sys.executable).parent
    for name, script in (("python", ""), ("lightning-lr", f"{installed}/lightning-lr")):
        (folder / name).write_text(
            f'#!/bin/sh\nexec {sys.executable} -I {__file__} ask {folder}/socket {script} "$@"\n'
        )
        (folder / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, __file__, "serve", folder / "socket"], env=environment, **pipes)
    atexit.register(server.communicate)  # closes its stdin
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return str(folder)


def _serve(path: str) -> None:
    """Fork for each command, and kill one that nobody waits for any more. Returns in the forked process."""
    for name in _IMPORTS:
        importlib.import_module(name)
    running: dict[int, tuple[int, socket.socket]] = {}  # by file descriptor of the process
    gc.freeze()  # no page is copied for the garbage collector
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while True:
            waiting: dict[Any, int] = {connection: child for child, connection in running.values()}
            event: Any = select.select([listener, sys.stdin, *running, *waiting], [], [])[0][0]
            if event is sys.stdin:
                os._exit(0)
            elif event is listener:
                connection, _ = listener.accept()
                message, files, *_ = socket.recv_fds(connection, _LONGEST_MESSAGE, 3)
                if (child := os.fork()) == 0:
                    return _run(files, **json.loads(message))
                for file in files:
                    os.close(file)
                running[os.pidfd_open(child)] = child, connection
            elif event in running:
                child, connection = running.pop(event)
                os.close(event)
                _, status = os.waitpid(child, 0)
                with connection, suppress(BrokenPipeError):
                    connection.send(bytes([os.waitstatus_to_exitcode(status) % 256]))
            else:
                os.kill(waiting[event], signal.SIGKILL)


def _run(files: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """What ``python`` does with its arguments."""
    for standard, file in enumerate(files):
        os.dup2(file, standard)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    sys.path[:1] = [folder if is_module else str(Path(sys.argv[0]).resolve().parent)]
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def _ask(path: str, *arguments: str) -> int:
    """Let the server run a command with the files of this process. Returns its exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(path)
        command = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(command).encode()], [0, 1, 2])
        return connection.recv(1)[0]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        sys.exit(_ask(*sys.argv[2:]))
