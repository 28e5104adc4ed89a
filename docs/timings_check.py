"""How near the words' times are to the sound: against forced alignment of the speech itself, and what they cost.

    python docs/timings_check.py [SENTENCES]      # default docs/lite_sentences.txt; needs `pip install ".[prepare]"`

The aligner hears the finished samples; it is the one whose alignments of recordings the voice learnt its durations from.
"""

import sys
import time
from pathlib import Path

import numpy as np

from hierspeech import TextToSpeech
from hierspeech.pipelines.streaming import first_audio_seconds
from hierspeech.pipelines.timings import time_sentence
from hierspeech.preparation.alignment import Aligner
from speech.text.words import label_words


def main() -> None:
    """Prints errors of starts and ends in ms, and the time that timings take."""
    place = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "lite_sentences.txt"
    sentences = [
        line.strip() for line in Path(place).read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    tts, aligner = TextToSpeech.from_pretrained("lite", "cpu"), Aligner()
    prompts = [tts.prompt(name) for name in tts.voice.description.prompts]
    starts, ends, lost, words, unaligned = [], [], 0, 0, 0
    for number, text in enumerate(sentences):
        speech = tts(text, prompts[number % len(prompts)], seed=0)
        pieces = [sentence.source for sentence in tts.encode(text)[0]]
        spoken = [phonemes for source in pieces for phonemes in _words(source)]
        words += len(spoken)
        lost += len(spoken) - len(speech.words)
        heard = aligner.word_times(speech.audio, spoken) if len(pieces) == 1 else None
        if heard is None or len(spoken) != len(speech.words):
            unaligned += 1
            continue
        for (start, end), word in zip(heard, speech.words, strict=True):
            starts.append(1000 * abs(start - word.start))
            ends.append(1000 * abs(end - word.end))
    print(
        f"{len(sentences)} sentences, {words} words, {lost} without a time, {unaligned} sentences not aligned"
    )
    for name, errors in (("start", starts), ("end", ends)):
        median, late = np.percentile(errors, [50, 95])
        print(f"{name}: median {median:.0f} ms off, 95 % within {late:.0f} ms, {len(errors)} words")
    _cost(tts, prompts[0], sentences)


def _words(source) -> list[str]:
    """The phonemes of each word of a piece."""
    found, labels = label_words(source.piece, source.phonemes)
    own = [
        [c for c, label in zip(source.phonemes, labels, strict=True) if label == k] for k in range(len(found))
    ]
    return ["".join(word) for word in own]


def _cost(tts: TextToSpeech, prompt, sentences: list[str]) -> None:
    encoded = [tts.encode(text)[0] for text in sentences]
    began = time.process_time()
    for parts in encoded:
        for sentence in parts:
            time_sentence(sentence.source, [1] * len(sentence), tts.frame_seconds)
    cost = 1000 * (time.process_time() - began) / len(sentences)
    began = time.process_time()
    for text in sentences:
        tts(text, prompt, seed=0)
    whole = 1000 * (time.process_time() - began) / len(sentences)
    first = [
        1000 * first_audio_seconds(lambda t=t: tts.stream(t, prompt, seed=0), clock=time.process_time)[0]
        for t in sentences
    ]
    print(
        f"timings {cost:.2f} ms of {whole:.1f} ms a sentence; first chunk of a stream {np.median(first):.1f} ms (CPU time)"
    )


if __name__ == "__main__":
    main()
