"""A headless Chromium for the tests of pages, driven through its debugging pipe: no driver and no package is needed."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """The program, by $CHROMIUM or on the PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a browser of its own: `with Page(path) as page: page.run("document.title")`.

    `path` is a file, or the URL of a server's page; `flags` are more of Chromium's. `problems` lists console errors,
    exceptions and requests to anywhere but the page itself (of a server: its address).
    """

    def __init__(self, path: Path | str, width: int = 1400, height: int = 1000, flags: tuple[str, ...] = ()):
        self.address = path if isinstance(path, str) else path.resolve().as_uri()
        self.size, self.flags, self.problems, self._number, self._rest = (width, height), flags, [], 0, b""

    def __enter__(self) -> "Page":
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        reading, writing = os.pipe(), os.pipe()  # ours to it, its to us
        command = [
            find_browser(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        command += ["--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}"]
        command += [f"--window-size={self.size[0]},{self.size[1]}", *self.flags, "about:blank"]
        script = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'  # the browser reads from 3 and writes to 4
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(reading[0]), str(writing[1]), *command],
            pass_fds=(reading[0], writing[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reading[0])
        os.close(writing[1])
        self.to, self.came, self.session = reading[1], writing[0], None
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            self.send("Page.navigate", url=self.address)
            end = time.monotonic() + 60
            while self.run("document.readyState") != "complete":
                assert time.monotonic() < end, "the page does not load"
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.came)
        self.profile.cleanup()

    def send(self, method: str, **parameters) -> dict:
        """One command of the DevTools protocol -> its result; events meanwhile are looked through for problems."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.came], [], [], 60)
            block = os.read(self.came, 1 << 16) if ready else b""
            assert block, "the browser does not answer"
            self._rest += block
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict) -> None:
        method, values = event.get("method", ""), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(values["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.problems.append(values["args"])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(values["entry"])
        elif method == "Network.requestWillBeSent":
            url = values["request"]["url"]
            if not url.startswith(("data:", "blob:", self.address)):
                self.problems.append(f"asks for {url}")

    def run(self, script: str):
        """The value of a script, promises awaited."""
        result = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def key(self, name: str, code: int, text: str = "") -> None:
        """Presses and releases a key where the focus is."""
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **extra)
