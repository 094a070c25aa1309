"""Headless Chromium, driven over a pipe by its DevTools protocol. It needs no package and no driver."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# The browser reads from the file descriptor 3 and writes to 4.
_EXECUTE = "import os, sys; [os.dup2(int(sys.argv[i]), i + 2) for i in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"
_TIMEOUT = 30.0  # seconds, for an answer and for a condition


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome; None if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """A page of the browser, with the frame of TensorBoard's tab.

    Attributes:
        messages: what scripts wrote to the console as errors, and errors that nobody caught.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._number = 0
        self._contexts: dict[str, int] = {}  # frame -> its JavaScript
        self.messages: list[str] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session: str | None = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)

    def open(self, url: str) -> None:
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def allow(self, origin: str, *permissions: str) -> None:
        session, self._session = self._session, None
        self._call("Browser.grantPermissions", origin=origin, permissions=list(permissions))
        self._session = session

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        return self._evaluate(script, None)

    def in_tab(self, script: str) -> Any:
        """The same within the frame of our tab."""
        end = time.monotonic() + _TIMEOUT
        while (frame := self._tab_frame()) is None or frame not in self._contexts:
            assert time.monotonic() < end, f"There is no tab; the page has {self.run('document.body.innerText')[:500]}"
            self._read_events(0.05)
        return self._evaluate(script, self._contexts[frame])

    def wait_in_tab(self, script: str, seconds: float = _TIMEOUT) -> Any:
        """The value of an expression in our tab, as soon as it is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                value = self.in_tab(script)
            except RuntimeError:  # the page is being loaded
                value = None
            if value:
                return value
            assert time.monotonic() < end, f"{script} is not true; the tab has {self.in_tab('document.body.innerText')}"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """Move or press the mouse at a place of the page: ``mouseMoved``, ``mousePressed`` or ``mouseReleased``."""
        button = "none" if kind == "mouseMoved" else "left"
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _tab_frame(self) -> str | None:
        tree = self._call("Page.getFrameTree")["frameTree"]
        frames = [child["frame"] for child in tree.get("childFrames", [])]
        return next(
            (each["id"] for each in frames if "plugin_entry.html" in each["url"] and LR_TAB in each["url"]), None
        )

    def _evaluate(self, script: str, context: int | None) -> Any:
        where = {} if context is None else {"contextId": context}
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, **where)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if (session := getattr(self, "_session", None)) is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _TIMEOUT
        while time.monotonic() < end:
            for answer in self._read_events(end - time.monotonic()):
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]
        raise TimeoutError(f"The browser did not answer {method}.")

    def _read_events(self, seconds: float) -> list[dict[str, Any]]:
        """The answers among the messages that have arrived; events are noted."""
        if b"\0" not in self._buffer and select.select([self._from], [], [], max(0.0, seconds))[0]:
            self._buffer += os.read(self._from, 1 << 20)
        *messages, self._buffer = self._buffer.split(b"\0")
        answers = []
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                answers.append(message)
            else:
                self._note(message["method"], message["params"])
        return answers

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.executionContextCreated":
            context = params["context"]
            if context["auxData"].get("isDefault"):
                self._contexts[context["auxData"]["frameId"]] = context["id"]
        elif method == "Runtime.executionContextDestroyed":
            self._contexts = {f: c for f, c in self._contexts.items() if c != params["executionContextId"]}
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.messages.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.messages.append(f"dialog: {params['message']}")


LR_TAB = "name=lightning_lr"


@contextmanager
def chromium(path: str, profile: Path) -> Iterator[Page]:
    """A browser with one page. It ends with the context.

    Args:
        path: of the program.
        profile: an empty folder for what the browser keeps.
    """
    from_us, to_browser = os.pipe()
    from_browser, to_us = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1400,1000", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _EXECUTE, str(from_us), str(to_us), path, *options],
        pass_fds=(from_us, to_us),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.terminate()
        process.wait(10)
        os.close(to_browser)
        os.close(from_browser)
