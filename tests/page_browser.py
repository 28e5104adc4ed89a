"""The web page in headless Chromium: what its tests do there, as a person would: clicks, keys, files, downloads."""

import base64
import time
from pathlib import Path

from headless import Page

FLAGS = (
    "--autoplay-policy=user-gesture-required",  # as browsers on desks and phones do
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",  # and a person who allows it
)


class Site(Page):
    """`with Site(url) as page:`; `page.texts("#status")`; requests to elsewhere and console errors are in `problems`."""

    def __init__(self, url: str, width: int = 1280, height: int = 900):
        super().__init__(url, width, height, FLAGS)

    def __enter__(self) -> "Site":
        super().__enter__()
        self.look(*self.size, calm=True)  # nothing scrolls away under a click
        self.run("import('/static/page.js').then((all) => { window.page = all; })")
        self.until("document.querySelectorAll('#voices input, #problem:not(:empty), dialog[open]').length")
        return self

    def until(self, script: str, seconds: float = 20):
        """Waits until a script gives something true -> that."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}; problem shown: {self.text('#problem')!r}"
            time.sleep(0.03)
        return value

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({selector!r}).textContent")

    def click(self, selector: str) -> None:
        """A real click in the middle of an element, scrolled into view."""
        box = self.run(
            f"(() => {{ const n = document.querySelector({selector!r}); n.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const b = n.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def write(self, selector: str, text: str) -> None:
        """Replaces what a field holds, through its input event."""
        self.run(
            f"(() => {{ const n = document.querySelector({selector!r}); n.focus(); n.select(); }})()"
        )  # fmt: skip
        if text:
            self.send("Input.insertText", text=text)
        else:
            self.key("Delete", 46)

    def press(self, name: str, code: int, control: bool = False) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                modifiers=2 if control else 0,
            )  # fmt: skip

    def choose(self, selector: str, path: Path) -> None:
        """Chooses a file in a file field."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def drop(self, selector: str, path: Path) -> None:
        """Drops a file onto an element."""
        data = base64.b64encode(path.read_bytes()).decode()
        self.run(
            f"""(() => {{ const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(atob("{data}"), (c) => c.charCodeAt(0))], {path.name!r}));
            document.querySelector({selector!r}).dispatchEvent(
              new DragEvent("drop", {{ dataTransfer: files, bubbles: true, cancelable: true }})); }})()"""
        )

    def download(self, selector: str, folder: Path) -> Path:
        """Clicks and waits for the file."""
        before = set(folder.iterdir())
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        end = time.monotonic() + 20
        while not (new := [p for p in set(folder.iterdir()) - before if not p.name.endswith(".crdownload")]):
            assert time.monotonic() < end, f"no file came; problem shown: {self.text('#problem')!r}"
            self.run("1")
            time.sleep(0.05)
        return new[0]

    def look(
        self, width: int, height: int, dark: bool = False, phone: bool = False, calm: bool = False
    ) -> None:
        """The size of the screen and what the person prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        features = {"color-scheme": "dark" if dark else "light", "reduced-motion": "reduce" if calm else ""}
        self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": f"prefers-{name}", "value": value} for name, value in features.items()],
        )

    def picture(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path

    def nodes(self) -> list[dict]:
        """What a screen reader is told: {role, name, ...} of everything that is not ignored."""
        self.send("Accessibility.enable")
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": n["role"]["value"], "name": n.get("name", {}).get("value", "")}
            for n in nodes
            if not n["ignored"]
        ]
