"""The pictures of docs/page: python docs/page/pictures.py; serve.py with the shipped voice, in headless Chromium."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from page_browser import Site  # noqa: E402


def main() -> None:
    """Serves on a free port, speaks, converts, and writes three pictures beside this file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "serve.py", "--port", str(port)], cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(url + "health")
        with Site(url, 1280, 940) as page:
            speak(page, 2.95)
            small(page.picture(HERE / "desktop.png"))
            page.click("#stop")
            page.look(390, 844, phone=True, calm=True)
            speak(page, 3.0)
            small(page.picture(HERE / "phone.png"))
            page.click("#stop")
            page.look(1280, 920, dark=True, calm=True)
            convert(page)
            small(page.picture(HERE / "dark.png"))
            assert page.problems == []
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str) -> None:
    """Until the server is ready."""
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.3)
    raise SystemExit(f"{url} does not answer")


def speak(page: Site, seconds: float) -> None:
    """Says the page's own sentence as far as that."""
    page.run("document.getElementById('seed').value = 7")
    page.click("#go")
    page.until(f"page.take.whole && page.take.player.position > {seconds}", 60)
    at_the_top(page)


def convert(page: Site) -> None:
    """Adds the example's voice, and converts the example into another one."""
    page.choose("#reference .input", ROOT / "examples" / "reference.wav")
    page.until("page.reference.file")
    page.click("#consent")
    page.click("#upload")
    page.until("page.voices.list.some((voice) => voice.kind === 'uploaded')", 60)
    page.click("#voices .voice:nth-child(2) input")
    page.click("input[value=convert]")
    page.choose("#source .input", ROOT / "examples" / "reference.wav")
    page.until("page.source.file")
    page.click("#go")
    page.until("page.take.whole && page.take.player.position > 3", 60)
    at_the_top(page)


def at_the_top(page: Site) -> None:
    """As the page itself scrolls when it begins to speak."""
    page.run("scrollTo(0, 0); document.getElementById('sound').scrollIntoView({ block: 'nearest' })")
    time.sleep(0.15)


def small(path: Path) -> None:
    """256 colours are enough, and a third of the bytes; needs Pillow."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
