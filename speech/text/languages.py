"""The languages the text front end knows: espeak voice, normaliser, scripts and a test sentence for each.

Every voice of espeak-ng is usable through its own code even if it is not listed here; a line in LANGUAGES gives it a
friendlier code, a normaliser of its own and a test. See docs/add_a_language.md.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """How one language is spoken.

    Args:
        code: the code users write (`--language`), lower case.
        voice: the espeak-ng voice that turns its words into phonemes.
        normalizer: key of speech.text.normalize.NORMALIZERS.
        scripts: first words of the Unicode names of its letters ("LATIN", "CYRILLIC", ...); letters of other scripts
            are spelled in this language's script where possible. Empty = any letter is handed to espeak.
        sample: a sentence that the tests phonemise.
    """

    code: str
    voice: str
    normalizer: str = "localized"
    scripts: tuple[str, ...] = ("LATIN",)
    sample: str = ""


def _table(*languages: Language) -> dict[str, Language]:
    return {language.code: language for language in languages}


_JAPANESE = ("LATIN", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK", "PROLONGED", "IDEOGRAPHIC")

LANGUAGES: dict[str, Language] = _table(
    Language("en-us", "en-us", "english", sample="The quick brown fox jumps over the lazy dog."),
    Language("en-gb", "en-gb", "english", sample="The quick brown fox jumps over the lazy dog."),
    Language("en", "en-us", "english", sample="The quick brown fox jumps over the lazy dog."),
    Language("de", "de", sample="Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich."),
    Language("fr", "fr-fr", sample="Portez ce vieux whisky au juge blond qui fume."),
    Language("es", "es", sample="El veloz murciélago hindú comía feliz cardillo y kiwi."),
    Language("it", "it", sample="Quel vituperabile xenofobo zelante assaggia il whisky."),
    Language("pt", "pt", sample="À noite, vovô Kowalsky vê o ímã cair no pé do pinguim."),
    Language("pt-br", "pt-br", sample="À noite, vovô Kowalsky vê o ímã cair no pé do pinguim."),
    Language("nl", "nl", sample="Pa's wijze lynx bezag vroom het fikse aquaduct."),
    Language("pl", "pl", sample="Zażółć gęślą jaźń."),
    Language("sv", "sv", sample="Flygande bäckasiner söka hwila på mjuka tuvor."),
    Language("tr", "tr", sample="Pijamalı hasta yağız şoföre çabucak güvendi."),
    Language("vi", "vi", sample="Tiếng Việt là ngôn ngữ của người Việt."),
    Language("ru", "ru", scripts=("CYRILLIC", "LATIN"), sample="Съешь же ещё этих мягких французских булок."),
    Language(
        "uk", "uk", scripts=("CYRILLIC", "LATIN"), sample="Щастям б'єш жук їх глицю в фон й ґедзь пріч."
    ),
    Language("el", "el", scripts=("GREEK", "LATIN"), sample="Ξεσκεπάζω την ψυχοφθόρα βδελυγμία."),
    Language("ar", "ar", scripts=("ARABIC", "LATIN"), sample="مرحبا بالعالم."),
    Language("he", "he", scripts=("HEBREW", "LATIN"), sample="שלום עולם."),
    Language("hi", "hi", scripts=("DEVANAGARI", "LATIN"), sample="नमस्ते दुनिया।"),
    Language("bn", "bn", scripts=("BENGALI", "LATIN"), sample="ওহে বিশ্ব।"),
    Language("ta", "ta", scripts=("TAMIL", "LATIN"), sample="வணக்கம் உலகம்."),
    Language("th", "th", scripts=("THAI", "LATIN"), sample="สวัสดีชาวโลก"),
    Language("ka", "ka", scripts=("GEORGIAN", "LATIN"), sample="გამარჯობა მსოფლიო."),
    Language("hy", "hy", scripts=("ARMENIAN", "LATIN"), sample="Բարեւ աշխարհ։"),
    Language("ko", "ko", scripts=("HANGUL", "LATIN"), sample="안녕하세요 세계."),
    Language("ja", "ja", scripts=_JAPANESE, sample="こんにちは、せかい。"),
    Language("zh", "cmn", scripts=("CJK", "LATIN"), sample="你好，世界。"),
    Language("yue", "yue", scripts=("CJK", "LATIN"), sample="你好，世界。"),
)


def find_language(code: str) -> Language:
    """The language for a code as users write it ("en", "EN_us", "fr-fr"); any espeak voice code is accepted.

    Raises:
        ValueError: neither LANGUAGES nor espeak knows the code; the message names close ones.
    """
    wanted = str(code).strip().lower().replace("_", "-")
    if wanted in LANGUAGES:
        return LANGUAGES[wanted]
    from speech.text.phonemize import (
        espeak_voices,
    )  # espeak is started only for codes that are not listed above

    voices = {voice.lower(): voice for voice in espeak_voices()}
    if wanted in voices:
        listed = [language for language in LANGUAGES.values() if language.voice == voices[wanted]]
        if listed:
            return listed[0]
        return Language(
            wanted, voices[wanted], "english" if wanted.startswith("en-") else "localized", scripts=()
        )
    known = sorted(set(LANGUAGES) | set(voices))
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    close += [
        name for name in known if wanted and name.split("-")[0] == wanted.split("-")[0] and name not in close
    ]
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}."
    raise ValueError(f"unknown language {code!r}: {hint}")


def available_languages() -> dict[str, str]:
    """All codes that `find_language` accepts, with a name for each; starts espeak."""
    from speech.text.phonemize import espeak_voices

    names = espeak_voices()
    listed = {code: names.get(language.voice, code) for code, language in LANGUAGES.items()}
    return dict(sorted({**{voice.lower(): name for voice, name in names.items()}, **listed}.items()))
