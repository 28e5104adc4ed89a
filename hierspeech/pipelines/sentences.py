"""Text into sentences of phoneme ids, as one voice reads it, without torch: exported voices read like this too."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hierspeech.pipelines.timings import Source
from speech.text.chunking import Piece, is_divider, split_text, stronger
from speech.text.frontend import text_to_phonemes
from speech.text.language_tags import language_ids, split_languages
from speech.text.languages import find_language
from speech.text.tokenizer import Tokenizer
from speech.text.words import find_piece

FADE_SECONDS = 0.005  # where pieces are joined, so that joints do not click
# A reference without a voiced frame (a whisper) says nothing of pitch: a value between women and men, moderately lively.
NEUTRAL_PITCH = (math.log(155.0), 0.2)  # mean and deviation of ln F0


class Sentence(list[int]):
    """Phoneme ids of a sentence, with the place of each one's language in the model's `languages` (None without any).

    `border` is what follows it in the text, one of `speech.text.chunking.BORDERS`; `source` is what was read.
    """

    def __init__(
        self,
        ids: list[int],
        languages: list[int] | None = None,
        border: str = "sentence",
        source: Source | None = None,
    ):
        super().__init__(ids)
        self.languages = languages
        self.border = border
        self.source = source


@dataclass
class TextReader:
    """Reads texts as one voice does: its language, normalizer, longest piece, tokenizer and the languages of its model."""

    language: str
    normalizer: str | None
    max_chars: int
    tokenizer: Tokenizer
    languages: list[str]

    def encode(self, text: str, language: str | None = None) -> tuple[list[Sentence], list[str]]:
        """Text -> phoneme ids of its sentences, and the symbols that have none.

        Raises:
            ValueError: nothing to speak, or a language that is unknown or that the model does not speak.
        """
        language = self.check_text(text, language)
        unknown: list[str] = []
        pieces = split_text(text, self.max_chars)
        spoken = [piece for piece in pieces if not is_divider(piece)]
        # a text of nothing but dividers is read out
        sentences = list(self.encode_pieces(spoken or pieces, language, unknown, text))
        if not sentences:
            raise nothing_to_say(text, language)
        return sentences, list(dict.fromkeys(unknown))

    def check_text(self, text: str, language: str | None) -> str:
        """The language of the text's beginning; ValueError for an empty text, or a mistyped tag wherever it stands."""
        if not text.strip():
            raise ValueError("the text is empty, expected something to say.")
        language = language or self.language
        split_languages(text, language)
        return language

    def encode_pieces(
        self, pieces: Iterable[Piece], language: str, unknown: list[str], text: str
    ) -> Iterator[Sentence]:
        """The pieces of `text` that have anything to speak; symbols without a sound are appended to `unknown`.

        The border of a sentence that was yielded grows where what follows it cannot be spoken.
        """
        normalizer = self.normalizer if language == self.language else None
        current, reached = language, 0
        last: Sentence | None = None
        for piece in pieces:
            start = find_piece(text, piece, reached)
            reached = reached if start is None else start
            same = find_language(current).voice == find_language(language).voice
            phonemes = text_to_phonemes(piece, current, normalizer if same else None)
            current = split_languages(piece, current)[-1][0]  # a tag holds until the next one
            encoded = self.tokenizer.encode(phonemes)
            unknown += phonemes.dropped + encoded.unknown
            if encoded.ids:
                languages = language_ids(phonemes, encoded, self.languages)
                source = Source(text, piece, start, phonemes, self.tokenizer)
                last = Sentence(encoded.ids, languages, piece.border, source)
                yield last
            elif last is not None:  # what cannot be spoken still ends its paragraph
                last.border = stronger(last.border, piece.border)


def nothing_to_say(text: str, language: str) -> ValueError:
    """What is raised for a text without anything that can be spoken."""
    shown = text.strip() if len(text.strip()) <= 40 else text.strip()[:40] + "..."
    return ValueError(f"the text {shown!r} has nothing that can be spoken in {language!r}.")
