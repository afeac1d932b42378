"""A headless Chromium, driven over its DevTools protocol through a pair of pipes: no port, no driver.

`$HARNESS_CHROMIUM` names the browser; left out, the usual names of Chromium and Chrome are looked for.
Nothing outside the machine can be reached from it: every host name fails to resolve.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S: Final = 60.0
"""How long one answer may take before the test fails: far more than any takes."""

_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # root in a container has no user namespaces; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)


_EXEC: Final = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the ends of the pipes where Chromium expects them, which no shell does for numbers above 9."""


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    named = os.environ.get("HARNESS_CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


class BrowserError(RuntimeError):
    """The browser did not start, did not answer, or refused a command."""


class Page:
    """One page, what it logged, and every address that it asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.session = session
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command."""
        return self.browser.command(method, parameters, self.session)

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Show the page in a window of this size, to a reader who prefers light or dark."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def open(self, path: Path, fragment: str = "") -> float:
        """Open a file, wait until it has loaded, and return how many seconds that took."""
        start = time.perf_counter()
        self.browser.loaded.discard(self.session)
        self.command("Page.navigate", url=path.absolute().as_uri() + fragment)
        self.browser.until(lambda: self.session in self.browser.loaded)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.perf_counter() - start

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            told = details.get("exception", {}).get("description") or details["text"]
            raise BrowserError(f"{expression}: {told}")
        return answer["result"].get("value")

    def key(self, key: str) -> None:
        """Press one key: a name (`Enter`, `ArrowDown`) or a character."""
        codes = {
            "Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39,
            "ArrowLeft": 37, "Home": 36, "End": 35, "PageDown": 34, "PageUp": 33,
        }  # fmt: skip
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = codes.get(key, ord(key[0].upper()) if len(key) == 1 and key.isalnum() else 0)
        common = {"key": key, "windowsVirtualKeyCode": code}
        kind = "keyDown" if text else "rawKeyDown"
        self.command("Input.dispatchKeyEvent", type=kind, **common, **({"text": text} if text else {}))
        self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Press the keys of a text."""
        for character in text:
            self.key(character)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + Math.min(b.width / 2, 20), b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what the page looks like as PNG."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """A running Chromium."""

    def __init__(self, executable: str, profile: Path) -> None:
        self.loaded: set[str] = set()
        self.pages: dict[str, Page] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._rest = b""
        # Chromium reads commands from descriptor 3 and answers on descriptor 4.
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._in, self._out = ours_in, ours_out
        words = [executable, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _EXEC, str(theirs_in), str(theirs_out), *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def page(self) -> Page:
        """Return a new page."""
        target = self.command("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.command("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        self.pages[session] = page
        return page

    def command(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Return the answer to one command."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        self.until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    def until(self, done: Any) -> None:
        """Take messages in until something is so."""
        give_up = time.monotonic() + PATIENCE_S
        while not done():
            ready, _, _ = select.select([self._in], [], [], max(0.0, give_up - time.monotonic()))
            if not ready:
                raise BrowserError(f"no answer in {PATIENCE_S:.0f} s")
            got = os.read(self._in, 1 << 20)
            if not got:
                raise BrowserError("the browser has ended")
            *messages, self._rest = (self._rest + got).split(b"\0")
            for message in messages:
                self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        session, method, told = message.get("sessionId", ""), message["method"], message.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded.add(session)
        page = self.pages.get(session)
        if page is None:
            return
        if method == "Network.requestWillBeSent":
            page.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            page.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            page.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in told["args"]))
        elif method == "Log.entryAdded":
            page.complaints.append(told["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            page.complaints.append(f"dialog: {told['message']}")

    def close(self) -> None:
        """End the browser and all its processes."""
        with contextlib.suppress(OSError, BrowserError):
            self.command("Browser.close", {})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


@contextlib.contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile, and end it."""
    executable = find_browser()
    if executable is None:
        raise BrowserError(f"no browser: none of {', '.join(NAMES)} is on the path")
    browser = Browser(executable, profile)
    try:
        yield browser
    finally:
        browser.close()
