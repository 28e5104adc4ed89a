"""What docs/spear.md says of a token voice, measured.

    PYTHONPATH=. python docs/spear_check.py speak OUT REF.flac REF.flac ... [--voice lite-spear] [--decoder ar] [--number 50] [--prompting style]
    PYTHONPATH=. python docs/spear_check.py convert OUT LIST [--decoder ar]       LIST: a filelist of held-out recordings
    PYTHONPATH=. python docs/spear_check.py codec OUT LIST [--codebooks 8]
    PYTHONPATH=. python docs/spear_check.py speed [--voice lite-spear] [--threads 2]

speak: the sentences of docs/lite_sentences.txt, one speaker after another; convert: each recording in the voice of the next; codec: each recording there
and back. OUT/rows.txt then lists wav|text|reference for evaluate.py and other judges. speed: one sentence by every way, and the hierarchical one.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

from hierspeech.pipelines.recording import prepare_reference
from hierspeech.pipelines.spear import Acoustics, Reading, SpearTTS
from hierspeech.pipelines.spear_prompt import encode_codes
from hierspeech.pipelines.spear_sound import codes_to_wav
from hierspeech.pipelines.tts import TextToSpeech
from speech.audio import save_audio
from speech.data import read_filelist

SENTENCES = Path(__file__).with_name("lite_sentences.txt")
SPOKEN = "It was late in the evening when the train finally reached the station."


def speak(args: argparse.Namespace) -> None:
    tts = SpearTTS.from_pretrained(args.voice, "cpu")
    prompts = [tts.clone(reference) for reference in args.inputs]
    acoustics = Acoustics(
        args.decoder, args.prompting, args.acoustic_temperature, guidance=args.acoustic_guidance
    )
    lines = [line.split("|") for line in SENTENCES.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = []
    for index, line in enumerate(lines[: args.number]):
        who = index % len(prompts)
        speech = tts.synthesize(
            line[0],
            prompts[who],
            reading=Reading(temperature=args.temperature, guidance=args.guidance),
            acoustics=acoustics,
            seed=0,
        )
        rows.append((speech, line[-1], args.inputs[who]))
    write(args.out, rows)


def convert(args: argparse.Namespace) -> None:
    tts = SpearTTS.from_pretrained(args.voice, "cpu")
    items = read_filelist(args.inputs[0])
    acoustics = Acoustics(
        args.decoder, args.prompting, args.acoustic_temperature, guidance=args.acoustic_guidance
    )
    rows = []
    for item, other in zip(items, [*items[1:], items[0]], strict=True):
        rows.append(
            (tts.resynthesize(item.wav, other.wav, acoustics=acoustics, seed=0), item.text, other.wav)
        )
    write(args.out, rows)


def codec(args: argparse.Namespace) -> None:
    voice = SpearTTS.from_pretrained(args.voice, "cpu").voice
    args.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, item in enumerate(read_filelist(args.inputs[0])):
        wav, _ = prepare_reference(item.wav, 16000)
        codes = encode_codes(wav, voice)[0, : args.codebooks]
        path = args.out / f"{index:02d}.wav"
        save_audio(path, codes_to_wav(codes, voice).clip(-1, 1), voice.sample_rate)
        lines.append(f"{path}|{item.text}|{item.wav}\n")
    (args.out / "rows.txt").write_text("".join(lines), encoding="utf-8")


def write(out: Path, rows: list) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (speech, text, reference) in enumerate(rows):
        path = out / f"{index:02d}.wav"
        speech.save(path)
        lines.append(f"{path}|{text}|{reference}\n")
    (out / "rows.txt").write_text("".join(lines), encoding="utf-8")
    print(f"{sum(speech.seconds for speech, _, _ in rows):.1f} s of speech in {out}")


def speed(args: argparse.Namespace) -> None:
    """Fastest of three calls of every part, the ways in turn, and of the hierarchical way for the same sentence."""
    torch.set_num_threads(args.threads)
    tts, plain = SpearTTS.from_pretrained(args.voice, "cpu"), TextToSpeech.from_pretrained("lite", "cpu")
    voice = tts.voice
    someone = tts.clone(None)
    other = plain.prompt(None)
    tokens = tts.read([SPOKEN], seeds=[0])[0]
    seconds = len(tokens) / voice.tokenizer.spec.rate_hz
    timed: dict[str, list[float]] = {}

    clock = time.process_time if args.cpu_time else time.perf_counter

    def measure(name: str, work) -> None:
        began = clock()
        work()
        timed.setdefault(name, []).append(clock() - began)

    has = voice.description
    ways = [
        w for w, p in (("ar", has.semantic_to_acoustic), ("nar", has.masked), ("bridge", has.bridge)) if p
    ]
    codes = torch.randint(0, voice.codec.spec.codebook_size, (voice.codec.spec.n_codebooks, 2 * len(tokens)))
    said = [plain(SPOKEN, other, seed=0).seconds for _ in range(1)][0]
    for _ in range(3):
        measure("text to semantic", lambda: tts.read([SPOKEN], seeds=[0]))
        if tts.config.early_exit_layer:
            measure(
                "text to semantic, 4 drafted at once",
                lambda: tts.read([SPOKEN], reading=Reading(speculate=4), seeds=[0]),
            )
        for way in ways:
            measure(
                f"tokens to sound, {way}",
                lambda way=way: tts._sound([tokens], [someone], Acoustics(way), [0]),
            )
        measure("codec, codes to sound", lambda: codes_to_wav(codes, voice))
        measure("hierarchical way, text to sound", lambda: plain(SPOKEN, other, seed=0))
    print(
        f"{len(tokens)} semantic tokens, {seconds:.2f} s of speech ({said:.2f} s by the hierarchical way), {args.threads} threads"
    )
    print("| part | seconds | real-time factor | tokens a second |\n|---|---|---|---|")
    for name, times in timed.items():
        length = said if name.startswith("hier") else seconds
        rate = len(tokens) / min(times) if name.startswith("text") else None
        if name.startswith("tokens to sound") and "bridge" not in name:
            rate = codes.numel() / min(times)
        print(
            f"| {name} | {min(times):.3f} | {min(times) / length:.3f} | {'' if rate is None else round(rate)} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speak", "convert", "codec", "speed"))
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--voice", default="lite-spear")
    parser.add_argument("--decoder", choices=("ar", "nar", "bridge"))
    parser.add_argument("--prompting", default="style")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--cpu-time", action="store_true", help="of speed: not the wall's, for busy machines")
    parser.add_argument("--acoustic-temperature", type=float)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--acoustic-guidance", type=float)
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.what != "speed" and (args.out is None or not args.inputs):
        parser.error("expected OUT and what to work on")
    {"speak": speak, "convert": convert, "codec": codec, "speed": speed}[args.what](args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
