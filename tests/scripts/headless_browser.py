"""A headless Chromium over DevTools' pipe, with the standard library alone."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
)

LAUNCH = """import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)  # DevTools reads from 3 and writes to 4
os.execv(sys.argv[3], sys.argv[3:])"""


def executable() -> str | None:
    """Return Chromium or Chrome on PATH."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page: `open` a file or an address at a width, `evaluate` JavaScript on it.

    `errors` and `requests` are of the page opened last.
    """

    def __init__(self, folder: Path, patience: float = 120.0):
        """Start the browser. folder: for its profile; patience: seconds until an answer
        is given up.
        """
        self.patience, self.number, self.buffer = patience, 0, b""
        self.errors: list[str] = []
        self.requests: list[str] = []
        theirs_in, self.out = _pipe()
        self.inp, theirs_out = _pipe(reverse=True)
        command = [
            executable(),
            *FLAGS,
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
            "about:blank",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.page = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.page = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Log", "Runtime", "Page", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        """Return a command's result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.page:
            message["sessionId"] = self.page
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self._until(lambda reply: reply.get("id") == self.number)["result"]

    def _until(self, wanted) -> dict:
        """Return the first message that is `wanted`; note the events of the page among
        the others.
        """
        while True:
            while b"\0" not in self.buffer:
                if not select.select([self.inp], [], [], self.patience)[0]:
                    raise TimeoutError("the browser does not answer")
                piece = os.read(self.inp, 1 << 20)
                if not piece:
                    raise ConnectionError("the browser has ended")
                self.buffer += piece
            text, _, self.buffer = self.buffer.partition(b"\0")
            message = json.loads(text)
            self._note(message.get("method"), message.get("params", {}))
            if wanted(message):
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message

    def _note(self, method: str | None, params: dict) -> None:
        if method == "Log.entryAdded" and params["entry"]["level"] in (
            "error",
            "warning",
        ):
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in (
            "error",
            "warning",
        ):
            self.errors.append(str(params["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(
        self, page: Path | str, width: int, height: int = 900, dark: bool = False
    ) -> None:
        """Load a file from disk, or an address, into a window of this size, in CSS
        pixels.
        """
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.errors.clear()
        self.requests.clear()
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.call("Page.navigate", url=url)
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str):
        """Return the value of a JavaScript expression on the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def screenshot(self, path: Path, top: int = 0) -> None:
        """Write the window's content as a PNG, scrolled down by `top` pixels."""
        self.evaluate(
            f"document.documentElement.style.scrollBehavior = 'auto'; window.scrollTo(0, {top})"
        )
        Path(path).write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        )

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.inp)


def _pipe(reverse: bool = False) -> tuple[int, int]:
    """Return (read, write) ends; the end of the browser has a number other than its own
    3 and 4.
    """
    read, write = os.pipe()
    theirs = write if reverse else read
    moved = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
    os.close(theirs)
    os.set_inheritable(moved, True)
    return (read, moved) if reverse else (moved, write)
