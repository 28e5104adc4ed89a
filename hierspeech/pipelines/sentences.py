"""Text into sentences of phoneme ids, as one voice reads it, without torch: exported voices read like this too."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from hierspeech.pipelines.timings import Source
from speech.text.chunking import Piece, is_divider, split_text, stronger
from speech.text.frontend import text_to_phonemes
from speech.text.language_tags import language_ids, split_languages
from speech.text.languages import find_language
from speech.text.marks import Marked, Passage, read_marks
from speech.text.scripts import LanguageWarning, check_languages
from speech.text.tokenizer import Tokenizer
from speech.text.words import find_piece, map_piece

FADE_SECONDS = 0.005  # where pieces are joined, so that joints do not click
# A reference without a voiced frame (a whisper) says nothing of pitch: a value between women and men, moderately lively.
NEUTRAL_PITCH = (math.log(155.0), 0.2)  # mean and deviation of ln F0


class Sentence(list[int]):
    """Phoneme ids of a sentence, with the place of each one's language in the model's `languages` (None without any).

    `border` is what follows it in the text, one of `speech.text.chunking.BORDERS`; `source` is what was read; `speed`, `mix`
    and `pause` are what marks in the text say of it (see `speech.text.marks.Passage`).
    """

    def __init__(
        self,
        ids: list[int],
        languages: list[int] | None = None,
        border: str = "sentence",
        source: Source | None = None,
        passage: Passage | None = None,
    ):
        super().__init__(ids)
        self.languages = languages
        self.border = border
        self.source = source
        passage = passage or Passage(0, 0)
        self.speed, self.mix, self.pause = passage.speed, passage.mix, passage.pause


@dataclass
class TextReader:
    """Reads texts as one voice does: its language, normalizer, longest piece, tokenizer and the languages of its model."""

    language: str
    normalizer: str | None
    max_chars: int
    tokenizer: Tokenizer
    languages: list[str]

    def encode(self, text: str | Marked, language: str | None = None) -> tuple[list[Sentence], list[str]]:
        """Text -> phoneme ids of its sentences, and the symbols that have none.

        Raises:
            ValueError: nothing to speak, or a language that is unknown or that the model does not speak.
        """
        marked, language = self.check_text(text, language)
        unknown: list[str] = []

        def split(passage: str) -> list[Piece]:
            pieces = split_text(passage, self.max_chars)
            # a text of nothing but dividers is read out
            return [piece for piece in pieces if not is_divider(piece)] or pieces

        sentences = list(self.encode_pieces(cut_passages(marked, split), language, unknown, marked))
        if not sentences:
            raise nothing_to_say(marked.text, language)
        return sentences, list(dict.fromkeys(unknown))

    def check_text(self, text: str | Marked, language: str | None) -> tuple[Marked, str]:
        """The text without its marks, and the language of its beginning.

        Raises:
            ValueError: an empty text, or a mistyped tag or mark wherever it stands.
        """
        marked = read_marks(text) if isinstance(text, str) else text
        if not marked.text.strip():
            raise ValueError("the text is empty, expected something to say.")
        language = language or self.language
        split_languages(marked.text, language)
        for sentence in check_languages(marked.text, language, self.languages or [self.language]):
            warnings.warn(sentence, LanguageWarning, stacklevel=4)
        return marked, language

    def encode_pieces(
        self, pieces: Iterable[tuple[Piece, Passage]], language: str, unknown: list[str], marked: Marked
    ) -> Iterator[Sentence]:
        """The pieces of a text that have anything to speak; symbols without a sound are appended to `unknown`.

        The border of a sentence that was yielded grows where what follows it cannot be spoken.
        """
        normalizer = self.normalizer if language == self.language else None
        current, reached = language, 0
        last: Sentence | None = None
        for piece, passage in pieces:
            start = find_piece(marked.text, piece, max(reached, passage.start))
            start = reached if start is None else start
            reached = max([start, *map_piece(marked.text, piece, start)[-1:]]) + 1
            same = find_language(current).voice == find_language(language).voice
            phonemes = text_to_phonemes(piece, current, normalizer if same else None)
            current = split_languages(piece, current)[-1][0]  # a tag holds until the next one
            encoded = self.tokenizer.encode(phonemes)
            unknown += phonemes.dropped + encoded.unknown
            if encoded.ids:
                languages = language_ids(phonemes, encoded, self.languages)
                source = Source(marked, piece, start, phonemes, self.tokenizer)
                last = Sentence(encoded.ids, languages, piece.border, source, passage)
                yield last
            elif last is not None:  # what cannot be spoken still ends its paragraph
                last.border = stronger(last.border, piece.border)
                last.pause = passage.pause if last.pause is None else last.pause + (passage.pause or 0.0)


def cut_passages(marked: Marked, split: Callable[[str], Iterable[Piece]]) -> Iterator[tuple[Piece, Passage]]:
    """The pieces of each passage of a text, found when they are asked for; a pause belongs to the last of its passage."""
    passages = [Passage(0, len(marked.text))]
    if marked.has("speed", "mix", "pause"):
        passages = list(marked.passages()) or passages
    if len(passages) == 1 and passages[0].pause is None:
        yield from ((piece, passages[0]) for piece in split(marked.text))
        return
    for passage in passages:
        held: Piece | None = None
        for piece in split(marked.text[passage.start : passage.stop].strip()):
            if held is not None:
                yield held, replace(passage, pause=None)
            held = piece
        if held is not None:
            held.border = _border_of_cut(marked.text, passage.stop, held)
            yield held, passage


def _border_of_cut(text: str, place: int, piece: Piece) -> str:
    """What follows the last piece of a passage: what stands there in the text."""
    before, after = text[:place], text[place:]
    between = before[len(before.rstrip()) :] + after[: len(after) - len(after.lstrip())]
    if piece.border == "section" or between.count("\n") > 2:
        return "section"
    if not after.strip() or between.count("\n") == 2:
        return "paragraph"
    last = piece.rstrip("\"'”’»)]}")[-1:]
    marks = {",": "comma", "、": "comma", "，": "comma", ";": "colon", ":": "colon", "—": "colon"}
    return marks.get(last, "sentence" if last in ".!?…。！？।" else "word")


def nothing_to_say(text: str, language: str) -> ValueError:
    """What is raised for a text without anything that can be spoken."""
    shown = text.strip() if len(text.strip()) <= 40 else text.strip()[:40] + "..."
    return ValueError(f"the text {shown!r} has nothing that can be spoken in {language!r}.")
