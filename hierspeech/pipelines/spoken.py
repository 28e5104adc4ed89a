"""Texts spoken by a voice as training data: `python -m hierspeech.pipelines.spoken PACK TEXTS OUT --hours 10`

An encoder that learns what a voice's own speech says (`configs/lite/phonetic_match.yaml`) hears more words than there are recordings. OUT
is a pack with `wav` and `predicted`, the semantic features that each wav was spoken from, in voices of PACK's training speakers, and
between them, at many rates and pitches. TEXTS has one sentence a line; those with words of PACK's held-out recordings are left out.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from hierspeech.pipelines.command_line import DEFAULT_VOICE, Parser, run, say
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.tts import TextToSpeech
from speech.audio import resample, set_loudness
from speech.new_folder import new_folder
from speech.packs import Pack, write_arrays, write_utterances

VOICES = 300  # prompts that are listened to; each sentence takes one of them
PROMPT_SECONDS = 2.0  # shorter recordings are no prompts
PLAYED_AT = (0.87, 0.93, 1.0, 1.0, 1.07, 1.15)  # speeds of prompts: other vocal tracts
BLENDED = 0.6  # of the sentences are spoken in a voice between two of them ...
SHARES = (0.2, 0.8)  # ... to which the second contributes so much
RATES = (0.8, 1.3)  # of speaking
PITCH = 0.15  # ln of the largest change
FRAMES = (60, 500)  # of 20 ms: shorter and longer sentences are left out
HELD_OUT_WORDS = 5  # in a row that a sentence may not share with a held-out recording, whose words would be known otherwise


def speak_texts(
    tts: TextToSpeech, pack: Pack, texts: list[str], seconds: float, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sentences drawn at random until they last so long: wav int16 [T] and features float16 [N, C], T = 320 N.

    Raises:
        ValueError: no training recording that can be a prompt, or no sentence that can be spoken.
    """
    rng, spoken, refused = np.random.default_rng(seed), 0, 0
    prompts = _prompts(tts, pack, rng)
    rate, hop = tts.voice.sample_rate, tts.voice.audio.hop_length
    while spoken < seconds * rate:
        if refused > 1000:
            raise ValueError(
                "a thousand texts in a row cannot be spoken: expected sentences of 1 to 10 s, one a line."
            )
        prompt = prompts[int(rng.integers(len(prompts)))]
        try:
            sentence = tts.encode(texts[int(rng.integers(len(texts)))])[0][0]
        except ValueError:  # a line without words
            refused += 1
            continue
        with torch.inference_mode():
            out = tts._text_to_vec(sentence, prompt, float(rng.uniform(*RATES)), 0.0, None)
            if not FRAMES[0] < out.semantic.shape[-1] < FRAMES[1]:
                refused += 1
                continue
            log_f0 = torch.where(out.log_f0 > 0, out.log_f0 + float(rng.uniform(-PITCH, PITCH)), 0.0)
            style = prompt.synthesizer_style
            if rng.random() < BLENDED:
                other = prompts[int(rng.integers(len(prompts)))].synthesizer_style
                style = torch.lerp(style, other, float(rng.uniform(*SHARES)))
            style = style.to(tts.voice.device)
            wav = tts.voice.synthesizer.infer(out.semantic, log_f0, style, noise_scale=0.0)[0, 0]
        refused, spoken = 0, spoken + len(wav)
        levelled = set_loudness(wav.float().cpu().numpy(), -23.0, 0.999)
        semantic = out.semantic[0].T.cpu().numpy().astype(np.float16)
        yield (levelled * 32767).astype(np.int16)[: hop * len(semantic)], semantic


def unheard(texts: list[str], pack: Pack) -> list[str]:
    """The sentences without `HELD_OUT_WORDS` words in a row, or all words if fewer, of a text of PACK's dev split."""
    held_out = {
        run
        for utterance in pack.utterances
        if utterance["split"] == "dev" and utterance.get("text")
        for run in _runs(utterance["text"])
    }
    return [text for text in texts if held_out.isdisjoint(_runs(text))]


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", re.sub("['’]", "", text.lower()))
    last = max(len(words) - HELD_OUT_WORDS, 0)
    return {tuple(words[k : k + HELD_OUT_WORDS]) for k in range(last + 1)}


def _prompts(tts: TextToSpeech, pack: Pack, rng: np.random.Generator) -> list[VoicePrompt]:
    rate = tts.voice.sample_rate
    long_enough = [
        index
        for index in range(len(pack))
        if pack.utterances[index]["split"] == "train" and pack.length("wav", index) > PROMPT_SECONDS * rate
    ]
    if not long_enough:
        raise ValueError(
            f"{pack.folder}: no training recording of over {PROMPT_SECONDS:g} s to take voices from."
        )
    prompts = []
    for index in rng.choice(long_enough, min(VOICES, len(long_enough)), replace=False):
        speed = float(rng.choice(PLAYED_AT))
        wav = pack.read("wav", int(index)).astype(np.float32) / 32768
        wav = wav if speed == 1 else resample(wav, round(rate * speed), rate)
        prompts.append(VoicePrompt.from_audio(wav, tts.voice, rate))
    return prompts


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and writes the pack; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.spoken",
        description="Make a training pack of texts that a voice speaks.",
    )
    parser.add_argument("pack", type=Path, metavar="PACK", help="whose training recordings lend their voices")
    parser.add_argument("texts", type=Path, metavar="TEXTS", help="one sentence a line")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    parser.add_argument("--voice", default=DEFAULT_VOICE, help="name or folder (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=10.0, help="of speech (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Writes the pack as the arguments say; it appears whole or not at all."""
    if not 0 < arguments.hours <= 1000:
        raise ValueError(f"hours {arguments.hours:g}: expected a number above 0, at most 1000.")
    try:
        texts = arguments.texts.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{arguments.texts}: not a readable text ({error}).") from error
    texts = [text.strip() for text in texts if text.strip()]
    if not texts:
        raise ValueError(f"{arguments.texts}: expected one sentence a line, got none.")
    pack = Pack(arguments.pack)
    all_texts, texts = len(texts), unheard(texts, pack)
    if len(texts) < all_texts:
        say(f"{all_texts - len(texts)} of {all_texts} sentences have words of held-out recordings: left out")
    if not texts:
        raise ValueError(
            f"{arguments.texts}: every sentence has words of {pack.folder}'s held-out recordings."
        )
    tts = TextToSpeech.from_pretrained(arguments.voice)
    utterances: list[dict] = []

    def rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        total = 0
        for wav, semantic in speak_texts(tts, pack, texts, 3600 * arguments.hours, arguments.seed):
            number, total = len(utterances), total + len(wav)
            utterances.append(
                {"id": f"spoken{number:06d}", "speaker": "spoken", "split": "train", "source": "spoken"}
            )
            if number % 500 == 499:
                say(f"{total / 3600 / tts.voice.sample_rate:.2f} of {arguments.hours:g} hours")
            yield wav, semantic

    with new_folder(arguments.out) as folder:
        write_arrays(folder, ["wav", "predicted"], rows())
        write_utterances(folder, utterances)
    say(f"{arguments.out}: {len(utterances)} sentences; data.spoken={arguments.out}")


if __name__ == "__main__":
    sys.exit(main())
