"""Unicode clean-up that every language shares: compatibility forms, invisible characters, dashes, quotes, spaces."""

from __future__ import annotations

import re
import unicodedata

# Formats whose plain form reads the same; <super>, <sub> and <fraction> mean something and are left to the languages.
_PLAIN_FORMS = {
    "<wide>",
    "<narrow>",
    "<font>",
    "<compat>",
    "<circle>",
    "<square>",
    "<noBreak>",
    "<initial>",
    "<medial>",
}
_PLAIN_FORMS |= {"<final>", "<isolated>", "<vertical>", "<small>"}
_KEPT = set("…™℠№℃℉µ")  # have a reading or a sound of their own
_JOINERS = "\u200c\u200d"  # matter to the spelling of Persian, Hindi and others
_TABLE = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ＇`´", "'"),
        **dict.fromkeys("„‟″", '"'),
        **dict.fromkeys("‐‑‒−", "-"),
        **dict.fromkeys("―⸺⸻", "—"),
        # full stops and commas of other scripts, as the marks every model knows
        **dict.fromkeys("。｡।॥۔։።", "."),
        **dict.fromkeys("、､،፣", ","),
        "؛": ";",
        "؟": "?",
        **dict.fromkeys("「『《〈", "«"),
        **dict.fromkeys("」』》〉", "»"),
    }
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]"  # the middle range: skin tones of emoji
)
_STRAY_JOINER = re.compile(rf"(?<![\u0590-\u1fff])[{_JOINERS}]|[{_JOINERS}](?![\u0590-\u1fff])")
_GROUPED = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")  # 10 000 with a hard space
_FULL_WIDTH_PAUSE = re.compile(r"([,.!?;:])(?=[\u2e80-\u9fff\uac00-\ud7ff])")
_DASHES = re.compile(r"\s*(?:-{2,}|—)\s*|\s+[–-]\s+")
_RANGE_DASH = re.compile(r"–")


def tidy(text: str) -> str:
    """The text with the same words in fewer kinds of characters.

    Composed (NFC); full-width, ligature, circled and mathematical letters and the
    digits of all scripts become plain ones; straight single quotes;
    hyphens and dashes become `-` or ` — `; marks of other scripts become the Latin marks that models know; invisible
    format characters, which no one speaks, go; white space becomes single spaces.
    """
    text = _GROUPED.sub("", unicodedata.normalize("NFC", text))
    text = "".join(map(_plain, text)).translate(_TABLE)
    text = _STRAY_JOINER.sub("", _INVISIBLE.sub("", text))
    text = _FULL_WIDTH_PAUSE.sub(r"\1 ", text)
    text = _RANGE_DASH.sub("-", _DASHES.sub(" — ", text))
    return " ".join(text.split())


def _plain(character: str) -> str:
    if character < "\u00a0" or character in _KEPT:
        return character
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    form = unicodedata.decomposition(character).split(" ", 1)[0]
    return unicodedata.normalize("NFKC", character) if form in _PLAIN_FORMS else character
