"""Texts as the `lite` voice's text-to-vec would speak them: parallel data for text to semantic, as much as there are sentences.

    PYTHONPATH=. python docs/spear_teacher.py SENTENCES.txt PACK OUT [--number 12000] [--voice lite]

SENTENCES.txt has a sentence a line; voices and rhythm are those of random training utterances of PACK, at 0.85 to 1.2 times their speed. OUT is a
pack without sound: token_ids (phones), token_ends, phonemes, semantic features and f0, for `prepare.py tokens` and train.py.
"""

import argparse
import json
import sys

import numpy as np
import torch

from hierspeech.pipelines.sentences import TextReader
from hierspeech.pipelines.voice import load_voice
from speech.packs import Pack, write_arrays, write_utterances
from speech.spectrogram import MelSpectrogram
from speech.text.frontend import text_to_phonemes
from ttv.languages import tokenizer_of

MIN_WORDS, MAX_WORDS, MAX_CHARS = 1, 28, 150
DEV_SHARE = 0.01


def sentences(path: str, number: int) -> list[str]:
    """`number` different lines of 1 to 28 words, in random order."""
    with open(path, encoding="utf-8") as file:
        lines = list(dict.fromkeys(line.strip() for line in file))
    fit = [x for x in lines if MIN_WORDS <= len(x.split()) <= MAX_WORDS and len(x) <= MAX_CHARS]
    order = np.random.default_rng(0).permutation(len(fit))[:number]
    return [fit[i] for i in order]


def styles(pack: Pack, voice, number: int) -> list[tuple[torch.Tensor, float, float]]:
    """Style vector and pitch (mean and deviation of ln F0) of `number` random training utterances."""
    rng, mel, found = np.random.default_rng(1), MelSpectrogram(voice.audio), []
    indices = [i for i, u in enumerate(pack.utterances) if u["split"] == "train"]
    for index in rng.choice(indices, min(number, len(indices)), replace=False):
        f0 = pack.read("f0", int(index)).astype(np.float32)
        if (f0 > 0).sum() < 40:
            continue
        log_f0 = np.log(f0[f0 > 0])
        wav = pack.read("wav", int(index), 0, 64000).astype(np.float32) / 32768
        with torch.inference_mode():
            style = voice.ttv.style_encoder(mel(torch.from_numpy(wav)[None]))
        found.append((style, float(log_f0.mean()), float(log_f0.std())))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sentences")
    parser.add_argument("pack")
    parser.add_argument("out")
    parser.add_argument("--number", type=int, default=12000)
    parser.add_argument("--voice", default="lite")
    args = parser.parse_args()
    voice, rng = load_voice(args.voice, "cpu"), np.random.default_rng(2)
    reader = TextReader(voice.description.language, None, MAX_CHARS + 50, tokenizer_of(voice.ttv.config), [])
    speakers = styles(Pack(args.pack), voice, 600)
    utterances, rows = [], []
    for text in sentences(args.sentences, args.number):
        try:
            ids, _ = reader.encode(text.lower() if text.isupper() else text)
        except ValueError:
            continue  # nothing in it can be spoken
        if len(ids) > 1:
            continue  # several sentences in a line
        style, mean, deviation = speakers[rng.integers(len(speakers))]
        with torch.inference_mode():
            out = voice.ttv.infer(
                torch.tensor([list(ids[0])]),
                style,
                noise_scale=0.0,
                length_scale=float(rng.uniform(0.85, 1.2)),
                pitch=torch.tensor([[mean, deviation]]),
            )
        ends = out.durations[0].cumsum(0).numpy() * 2  # 20 ms -> 10 ms, as the aligner's
        phonemes = str(text_to_phonemes(text.lower() if text.isupper() else text, "en-us"))
        split = "dev" if rng.random() < DEV_SHARE else "train"
        utterances.append(
            {"id": f"t{len(rows):05d}", "speaker": "teacher", "split": split, "source": "lite", "language": "en-us",
             "text": text}
        )  # fmt: skip
        rows.append(
            (
                np.frombuffer(phonemes.encode(), np.uint8),
                np.array(ids[0], np.int16),
                ends.astype(np.int32),
                out.semantic[0].T.numpy().astype(np.float16),
                torch.expm1(out.log_f0[0, 0]).clamp(min=0).numpy().astype(np.float16),
            )
        )
        if len(rows) % 500 == 0:
            print(len(rows), "sentences", file=sys.stderr, flush=True)
    write_utterances(args.out, utterances)
    write_arrays(args.out, ["phonemes", "token_ids", "token_ends", "semantic", "f0"], rows)
    with open(f"{args.out}/semantic.spec.json", "w", encoding="utf-8") as file:
        json.dump(vars(voice.semantic), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
