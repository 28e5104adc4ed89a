"""The page for everybody, in headless Chromium: keyboard, screen readers, phones, dark screens, people who want it still."""

from pathlib import Path

import pytest
from headless import find_browser
from page_browser import Site
from page_stub import Stub

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
REFERENCE = Path(__file__).resolve().parent.parent / "examples" / "reference.wav"
NAMED = {
    "button",
    "textbox",
    "slider",
    "spinbutton",
    "combobox",
    "radio",
    "checkbox",
    "meter",
    "dialog",
    "image",
}


@pytest.fixture(scope="module")
def site():
    """With a sound made, and a recording for a new voice chosen, so that every part is there."""
    with Stub() as stub, Site(stub.url) as site:
        site.write("#text", "One two.")
        site.click("#go")
        site.until("page.take.whole")
        site.until("!page.take.player.playing")
        site.choose("#reference .input", REFERENCE)
        site.until("page.reference.file")
        yield site
        assert site.problems == []


def test_a_screen_reader_is_told_of_every_control(site):
    nodes = site.nodes()
    unnamed = [node for node in nodes if node["role"] in NAMED and not node["name"].strip()]
    assert not unnamed
    assert {"status", "alert", "main", "banner", "contentinfo"} <= {node["role"] for node in nodes}
    names = [node["name"] for node in nodes if node["role"] in NAMED]
    for name in ("Text to speak", "Speak", "Stop", "Play", "Place in the sound", "Seed", "mp3", "Record"):
        assert name in names, names
    assert any("Choose a file" in name and "voice" in name for name in names)


def test_every_control_is_reached_by_tab_and_shows_it(site):
    site.run("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = site.run(
        """[...document.querySelectorAll("button, input, select, textarea")].filter((n) => n.checkVisibility() && !n.disabled
        && !(n.type === "radio" && !n.checked)).map((n) => n.id || n.className || n.value || n.dataset.format)"""
    )
    seen, dark = [], []
    for _ in range(len(wanted) + 25):  # players have several stops of their own
        site.press("Tab", 9)
        name, outlined = site.run(
            """(() => { const n = document.activeElement;
            const around = [n, n.parentElement, n.nextElementSibling, n.closest(".button, .voice, .picture")].filter(Boolean);
            return [n.id || n.className || n.value || n.dataset.format,
              around.some((m) => getComputedStyle(m).outlineStyle !== "none")]; })()"""
        )
        seen.append(name)
        if not outlined and name not in (None, "player"):
            dark.append(name)
    assert set(wanted) <= set(seen), set(wanted) - set(seen)
    assert not dark


@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_nothing_is_cut_off(site, width):
    site.look(width, 844, phone=width < 500, calm=True)
    assert site.run("document.documentElement.scrollWidth") <= width
    cut = site.run(
        """[...document.querySelectorAll("button, .button, select, input, h1, h2, .voice")].filter((n) => n.checkVisibility()
        && !n.matches("#seek, .visually-hidden")).filter((n) => { const b = n.getBoundingClientRect();
          return b.left < -1 || b.right > innerWidth + 1 || n.scrollWidth > n.clientWidth + 1 && n.matches("button, .button"); })
        .map((n) => n.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    small = site.run(
        """[...document.querySelectorAll("button, .button, select, .voice label, .modes label")].filter((n) => n.checkVisibility())
        .filter((n) => Math.min(n.offsetWidth, n.offsetHeight) < 30).map((n) => n.outerHTML.slice(0, 80))"""
    )
    assert small == [], "fingers need room"
    site.look(1280, 900, calm=True)


def test_on_a_phone_speak_is_always_at_hand(site):
    site.look(390, 844, phone=True, calm=True)
    for place in ("0", "document.body.scrollHeight"):
        site.run(f"scrollTo(0, {place})")
        box = site.run(
            "(() => { const b = document.getElementById('go').getBoundingClientRect(); return [b.top, b.bottom]; })()"
        )
        assert 0 < box[0] < box[1] <= 844
    below = site.run("document.querySelector('footer p').getBoundingClientRect().bottom")
    assert below <= site.run("document.querySelector('.actions').getBoundingClientRect().top")
    site.look(1280, 900, calm=True)


def test_dark_screens(site):
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    corner = """(() => { const one = new OffscreenCanvas(1, 1).getContext("2d");
      one.drawImage(document.getElementById("canvas"), -2, -140);
      return [...one.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"""
    assert min(site.run(background)) > 200
    site.until(f"Math.min(...{corner}) > 200")
    site.look(1280, 900, dark=True, calm=True)
    assert max(site.run(background)) < 60
    site.until(f"Math.max(...{corner}) < 80")  # the spectrogram is drawn anew
    site.look(1280, 900, calm=True)
    site.until(f"Math.min(...{corner}) > 200")


def test_stillness(site):
    moving = """[...document.querySelectorAll("*")].filter((n) => { const s = getComputedStyle(n);
      return s.animationName !== "none" || s.transitionDuration.split(",").some((d) => parseFloat(d) > 0); }).length"""
    assert site.run(moving) == 0
    site.look(1280, 900)
    assert site.run(moving) > 0
    site.look(1280, 900, calm=True)
