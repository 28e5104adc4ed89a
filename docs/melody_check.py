"""How much of the melody of unseen readers a voice knows, and whether its questions rise: the figures of docs/lite.md, 47.

    python docs/melody_check.py contour data/pack        held-out LibriSpeech recordings of a pack, with their own durations
    python docs/melody_check.py spoken LIST              a filelist's texts spoken, each with its recording as reference, against the recording
    python docs/melody_check.py questions                yes-no questions and statements by the voice's first six prompts: where they end

Each with the voice's melody and without it. Correlation 1 is the reader's melody; a distance is in deviations of the speaker.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import torch

from hierspeech import TextToSpeech
from hierspeech.pipelines.questions import rises
from speech.audio import load_audio
from speech.data import read_filelist
from speech.f0 import extract_f0
from speech.masks import lengths_to_mask
from speech.training import TrainConfig
from ttv.aligned_recipe import DataConfig, Recipe, RecipeConfig, collate
from ttv.melody import follow, token_means, token_of_f0_frame

MORE_QUESTIONS = (
    "Are you coming with us tomorrow?|Did she really say that?|Is it raining in London?|Have you seen my brother?|Can we go home now?|"
    "Will they ever find the money?|Do you like it?|Was the door open all night?|Would you close the window?|Is that your car?"
).split("|")  # fmt: skip
LEAST_VOICED = 3  # f0 frames: the mean of fewer says little


def with_and_without(tts: TextToSpeech) -> Iterator[str]:
    """Takes the melody from the voice's text-to-vec for the first turn, and gives it back for the second."""
    model = tts.voice.ttv
    if getattr(model, "melody", None) is None:
        raise SystemExit(f"{tts.voice.description.name}: its text-to-vec has no melody")
    melody, model.melody = model.melody, None
    yield "without"
    model.melody = melody
    yield "with"


@torch.no_grad()
def contour(tts: TextToSpeech, pack: str) -> None:
    model = tts.voice.ttv
    recipe = Recipe(model.config, DataConfig(pack=pack, max_seconds=60.0), RecipeConfig(), {}, TrainConfig())
    recipe.modules["ttv"] = model
    sounds, frames = [], []
    for index in recipe.dev:
        if "librispeech" not in recipe.pack.utterances[index]["source"]:
            continue
        example = recipe._example(index, np.random.default_rng(0))
        example["prompt"] = recipe.pack.read("wav", index).astype(np.float32) / 32768  # the whole recording
        batch = collate([example])
        frame_mask = lengths_to_mask(batch.n_frames)
        out = recipe._predict(batch, lengths_to_mask(batch.n_tokens), frame_mask)
        place, n = token_of_f0_frame(batch.ends, batch.contour.shape[1]), batch.ends.shape[1]
        true, weight = token_means(batch.contour, batch.voiced, place, n)
        own, _ = token_means(out.contour, batch.voiced, place, n)
        weight = weight * (weight >= LEAST_VOICED)
        sounds.append(torch.cat([true, own, out.melody, weight]))
        moved = follow(out.contour, out.melody, batch.ends, model.sounds[batch.token_ids], frame_mask)
        frames.append(torch.cat([batch.contour, out.contour, moved, batch.voiced]))
    for name, columns in (("sounds", sounds), ("frames", frames)):
        true, without, told, weight = torch.cat(columns, 1).double().numpy()
        for way, value in (("without", without), ("with", told), ("a constant", 0 * true)):
            distance = (weight * abs(value - true)).sum() / weight.sum()
            r = "" if way == "a constant" else f"correlation {correlation(value, true, weight):.3f}, "
            print(f"{name} of {len(columns)} recordings, {way}: {r}distance {distance:.3f}")


def correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    covariance = np.cov(x, y, aweights=weight)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def spoken(tts: TextToSpeech, filelist: str) -> None:
    def cepstra(wav: np.ndarray) -> np.ndarray:
        values = librosa.feature.mfcc(y=wav, sr=16000, n_mfcc=20, hop_length=160, n_fft=512)[1:]
        return (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)

    for way in with_and_without(tts):
        found = []
        for line in read_filelist(filelist):
            read, said = load_audio(line.wav, 16000)[0], tts(line.text, tts.prompt(line.wav), seed=0).audio
            _, path = librosa.sequence.dtw(cepstra(read), cepstra(said), metric="cosine")
            true, own = (
                extract_f0(wav)[(2 * at).clip(max=len(wav) // 80 - 1)]
                for wav, at in zip((read, said), path.T, strict=True)
            )
            both = (true > 0) & (own > 0)
            found.append(np.corrcoef(np.log(true[both]), np.log(own[both]))[0, 1])
        print(f"{way}: correlation of log F0 {np.mean(found):.3f}, mean of {len(found)}")


def questions(tts: TextToSpeech) -> None:
    folder = Path(__file__).parent
    lines = [
        line.partition("|")[0]
        for name in ("lite_sentences.txt", "lite_sentences_2.txt")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    asked = [line for line in lines if rises(line)] + MORE_QUESTIONS
    stated = [line for line in lines if line.endswith(".")][: len(asked)]
    prompts, description = (
        [tts.prompt(name) for name in tts.voice.description.prompts[:6]],
        tts.voice.description,
    )
    for way in with_and_without(tts):
        for rise in (0.0, description.question_rise):
            tts.voice.description = replace(description, question_rise=rise)
            print(f"{way}, questions, asked to end {rise:g} semitones above the median: {ends(tts, asked, prompts)}")
        print(f"{way}, statements: {ends(tts, stated, prompts)}")


def ends(tts: TextToSpeech, lines: list[str], prompts: list) -> str:
    """Of the last voiced 100 ms, in semitones from the median of the whole."""
    last = []
    for k, line in enumerate(lines):
        for n in (0, 2, 4):
            f0 = extract_f0(tts(line, prompts[(k + n) % len(prompts)], seed=0).audio, f0_max=600.0)
            f0 = 12 * np.log2(f0[f0 > 0])
            last.append(f0[-20:].mean() - np.median(f0))
    return f"{np.mean(last):+.1f} semitones from the median (deviation {np.std(last):.1f}), {100 * np.mean(np.array(last) > 0):.0f} % of {len(last)} above it"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("contour", "spoken", "questions"))
    parser.add_argument("input", nargs="?", help="PACK or LIST")
    parser.add_argument("--voice", default="lite")
    args = parser.parse_args()
    if (args.input is None) != (args.what == "questions"):
        parser.error(f"{args.what}: expected {'no input' if args.input else 'a pack or a filelist'}")
    tts = TextToSpeech.from_pretrained(args.voice)
    {"contour": contour, "spoken": spoken, "questions": questions}[args.what](
        tts, *[args.input][: bool(args.input)]
    )


if __name__ == "__main__":
    main()
