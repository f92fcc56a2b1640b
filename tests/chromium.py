"""Headless Chromium, told what to do by the DevTools protocol over pipes."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from typing import Any, Self

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Chromium:
    """One page. What its scripts and its policy complain of is in `complaints`."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_it, self._write = os.pipe()
        self._read, from_it = os.pipe()
        command = (
            f"exec {PROGRAM} --headless --no-sandbox --disable-gpu --remote-debugging-pipe "
            f"--user-data-dir={self.folder.name} about:blank 3<&{to_it} 4>&{from_it}"
        )
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        self.complaints: list[str] = []
        self._left, self._count, self._session = b"", 0, ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._write)
        os.close(self._read)
        self.folder.cleanup()

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._count, "method": method, "params": parameters} | session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            if answer.get("method") == "Log.entryAdded":
                self.complaints.append(answer["params"]["entry"]["text"])
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(answer["params"]["exceptionDetails"]))
        assert "error" not in answer, answer
        return answer["result"]

    def __getitem__(self, script: str) -> Any:
        """What an expression of JavaScript gives on the page."""
        told = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 30.0) -> Any:
        """What an expression gives as soon as that is something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := self[script]:
                    return found
            except AssertionError:  # while another page is loaded
                pass
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds:g} s: {script}; {self.complaints}")

    def go(self, url: str) -> None:
        """Open a page."""
        self["window.old = 1"]
        self("Page.navigate", url=url)
        self.loaded()

    def loaded(self) -> None:
        """Wait for the page that follows one where `old` was set."""
        self.wait("!window.old && document.readyState == 'complete'")

    def press(self, key: str) -> None:
        """A key, by its name: Tab, Enter."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                 windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}))  # fmt: skip

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self("Input.insertText", text=text)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            read = os.read(self._read, 1 << 16)
            assert read, "Chromium has ended"
            self._left += read
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)
