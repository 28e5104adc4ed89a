"""The page's files, without a browser: nothing from elsewhere, nothing a strict policy forbids, every id and label there."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import hierspeech
from speech.text.languages import LANGUAGES

STATIC = Path(hierspeech.__file__).parent / "web" / "static"
FILES = sorted(STATIC.iterdir())
HTML = (STATIC / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in FILES if path.suffix == ".js"}
CSS = (STATIC / "page.css").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """[(tag, attributes, tags around)] of a page."""

    EMPTY = {"meta", "link", "img", "input", "path", "br", "hr"}

    def __init__(self, text: str):
        super().__init__()
        self.all, self.open = [], []
        self.feed(text)
        assert not self.open, f"{self.open[-1]} is not closed"

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes), [name for name, _ in self.open]))
        if tag not in self.EMPTY:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop()[0] == tag, f"</{tag}> closes nothing"


ELEMENTS = Elements(HTML).all


def identifiers() -> list[str]:
    return [attributes["id"] for _, attributes, _ in ELEMENTS if "id" in attributes]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path):
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"\b(https?|wss?|ftp):|[\"'(=]//\w", text)
    assert "@import" not in text
    assert len(text.splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_a_strict_policy_forbids(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        assert not re.search(
            r"\beval\(|new Function\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write\b", text
        )
        assert not re.search(r"setAttribute\(\s*[\"'](style|on\w+)[\"']", text)
        assert "console.log" not in text
    if path.suffix == ".html":
        for tag, attributes, _ in ELEMENTS:
            assert "style" not in attributes, f"<{tag}> has a style of its own"
            assert not [name for name in attributes if name.startswith("on")], (
                f"<{tag}> has a handler of its own"
            )
            assert tag != "style"
        inside = re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL)
        assert inside == [""]


def test_every_id_that_the_scripts_use_is_in_the_page():
    known = identifiers()
    assert len(known) == len(set(known))
    used = {
        name
        for text in SCRIPTS.values()
        for name in re.findall(r"""(?:(?<![.\w])get|getElementById)\("([\w-]+)"\)""", text)
    }
    used |= {
        name
        for text in SCRIPTS.values()
        for name in re.findall(r"""querySelector(?:All)?\(["'`]#([\w-]+)""", text)
    }
    assert len(used) > 25
    assert used <= set(known)
    assert set(re.findall(r"#([a-z][\w-]+)(?=[^{};]*\{)", CSS)) <= set(known)


def test_every_file_that_is_asked_for_is_there():
    names = re.findall(r'(?:src|href)="static/([^"]+)"', HTML)
    names += [name for text in SCRIPTS.values() for name in re.findall(r'from "\./([^"]+)"', text)]
    assert {"page.js", "page.css", "icon.svg"} <= set(names)
    assert {path.name for path in FILES} == {"index.html", *names}  # none is left over either


def test_every_control_has_a_name():
    labelled = {attributes.get("for") for tag, attributes, _ in ELEMENTS if tag == "label"}
    for tag, attributes, around in ELEMENTS:
        if tag in ("input", "select", "textarea", "meter"):
            named = "label" in around or attributes.get("id") in labelled or "aria-label" in attributes
            assert named, f"<{tag} {attributes}> has no label"
        for name in ("aria-labelledby", "aria-describedby", "for"):
            for target in attributes.get(name, "").split():
                assert target in identifiers(), f"{name} of <{tag}> points to {target!r}, which is not there"
        if tag == "button":
            assert "type" in attributes, f"{attributes} would send a form"
    assert re.search(r'<html lang="en">', HTML)
    assert [a for _, a, _ in ELEMENTS if a.get("role") == "alert"]
    assert [a for _, a, _ in ELEMENTS if a.get("aria-live") == "polite"]


def test_the_page_says_what_it_makes_and_asks_for_consent():
    words = re.sub(r"<[^>]+>|\s+", " ", HTML)
    assert re.search(r"synthetic +speech", words)
    assert "consent" in words
    assert any(
        attributes.get("id") == "consent" and attributes["type"] == "checkbox"
        for _, attributes, _ in ELEMENTS
    )


def test_the_languages_are_those_of_the_front_end():
    offered = [attributes["value"] for tag, attributes, _ in ELEMENTS if tag == "option"]
    assert offered[0] == ""
    assert len(offered) == len(set(offered)) > 20
    assert set(offered[1:]) <= set(LANGUAGES)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" after WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_the_colours_can_be_read(scheme):
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))

    def contrast(one, other):
        bright, dark = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    for ink in ("ink", "soft", "bad"):
        for ground in ("paper", "card", "tint"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert contrast("accent-ink", "accent") >= 4.5
    for part in ("accent", "control", "line-now"):  # borders and marks of controls
        assert contrast(part, "card") >= 3, part
