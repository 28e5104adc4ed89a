"""Measure a voice with judges that it was not trained with: the figures of docs/lite.md.

    pip install pocketsphinx resemblyzer speechmos onnxruntime jiwer "setuptools<81"
    python docs/lite_check.py speak OUT REF.flac ...          the sentences of lite_sentences.txt, references in turn
    python docs/lite_check.py speak OUT REF.flac ... --snr 5                          with references in noise; judged by the clean ones
    python docs/lite_check.py speak OUT REF.flac ... --through telephone              with telephones' references (or 8k, room)
    python docs/lite_check.py speak OUT REF.flac ... --adapt 60                        with prompts adapted to their references
    python docs/lite_check.py speak OUT REF.flac ... --crossed --sentences docs/lite_sentences_2.txt     others, each by every reference
    python docs/lite_check.py denoise OUT REF.flac ... --snr 5                         the noisy recordings before and after denoising
    python docs/lite_check.py copy OUT LIST                   every recording of a filelist in its own voice
    python docs/lite_check.py convert OUT LIST                ... in the voice of the filelist's next speaker but two
    python docs/lite_check.py copy OUT LIST --articulation 0  ... without the source's articulation (also with convert)
    python docs/lite_check.py recordings OUT LIST             the recordings themselves
    python docs/lite_check.py copy OUT LIST --starts 4        ... each four times, 61, 122, 183 and 244 samples cut off its start
                                                              (also with convert, recordings; with speak 0, 61, 122 and 183
                                                              off what was spoken): a word more or less is chance

LIST is a filelist (id|wav|speaker|language|text). Words by PocketSphinx, voices by Resemblyzer, naturalness by DNSMOS.
"""

import argparse
import re
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from hierspeech.pipelines.command_line import denoise_ratio
from speech.audio import load_audio, save_audio
from speech.data import Utterance, read_filelist

START_SAMPLES = 61  # no divisor of anything that frames are made of
SENTENCES = Path(__file__).with_name("lite_sentences.txt")


def speak(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Rows (wav, text, reference); also prints the real-time factor of all but the first sentence."""
    from hierspeech import TextToSpeech

    tts, rows, seconds, spent = TextToSpeech.from_pretrained(args.voice), [], 0.0, 0.0
    references = args.inputs
    heard = references if args.through is None else degraded(args.out, references, args.through)
    heard = heard if args.snr is None else in_noise(args.out, heard, args.snr, args.noise)
    begin = time.perf_counter()
    prompts = [
        tts.prompt(reference, denoise_ratio=args.denoise_ratio, adapt_steps=args.adapt) for reference in heard
    ]
    print(f"{(time.perf_counter() - begin) / len(prompts):.1f} s a prompt")
    lines = args.sentences.read_text(encoding="utf-8").splitlines()
    turns = [(line, k % len(prompts)) for k, line in enumerate(lines)]
    if args.crossed:
        turns = [(line, n) for line in lines for n in range(len(prompts))]
    for k, (line, n) in enumerate(turns):
        text, _, in_words = line.partition(
            "|"
        )  # what the judge should hear, where numbers are written in digits
        begin = time.perf_counter()
        speech = tts(text, prompts[n], seed=0)
        if k:
            spent, seconds = spent + time.perf_counter() - begin, seconds + speech.seconds
        speech.save(args.out / f"{k:02d}.wav")
        rows.append((str(args.out / f"{k:02d}.wav"), in_words or text, references[n]))
    print(f"real-time factor {spent / seconds:.4f}")
    return rows


def heard_again(out: Path, rows: list[tuple[str, str, str]], starts: int) -> list[tuple[str, str, str]]:
    """The rows, and `starts` - 1 times more with other samples cut off what was spoken."""
    again = list(rows)
    for n in range(1, starts):
        for k, (path, text, reference) in enumerate(rows):
            cut = out / f"{k:02d}-{n}.wav"
            save_audio(cut, load_audio(path, 16000)[0][n * START_SAMPLES :], 16000)
            again.append((str(cut), text, reference))
    return again


def in_noise(out: Path, references: list[str], snr_db: float, folder: Path | None = None) -> list[str]:
    """The recordings, each under another kind of generated noise: hiss, hum, fan, clicks and talkers in turn; or under pieces of the
    recorded noises of a folder, evenly spread over them by name."""
    from denoiser.noise import GENERATORS, babble, mix

    wavs, paths = [load_audio(path, 16000)[0] for path in references], []
    for k, wav in enumerate(wavs):
        rng, kinds = (
            np.random.default_rng(k),
            [GENERATORS[kind] for kind in ("coloured", "hum", "fan", "clicks")],
        )
        if folder is not None:
            found = sorted(path for path in folder.iterdir() if path.suffix in (".ogg", ".wav", ".flac"))
            noise = load_audio(found[k * len(found) // len(wavs)], 16000)[0]
            start = int(rng.integers(0, max(len(noise) - len(wav), 0) + 1))
            noise = np.resize(noise[start : start + len(wav)], len(wav))
        elif k % (len(kinds) + 1) < len(kinds):
            noise = kinds[k % (len(kinds) + 1)](len(wav), 16000, rng)
        else:
            noise = babble([np.resize(wavs[(k + n) % len(wavs)], len(wav)) for n in range(1, 5)])
        noisy = mix(wav, noise, snr_db)
        paths.append(str(out / f"noisy{k}.wav"))
        save_audio(paths[-1], (noisy * (0.95 / max(0.95, np.abs(noisy).max()))).astype(np.float32), 16000)
    return paths


def degraded(out: Path, references: list[str], way: str) -> list[str]:
    """The recordings as from an 8 kHz file, through a telephone (300 to 3400 Hz, mu-law), or in a room (0.6 s, 0 dB direct to late)."""
    import soxr
    from scipy.signal import butter, fftconvolve, sosfilt

    paths = []
    for k, reference in enumerate(references):
        wav = load_audio(reference, 16000)[0]
        if way == "room":
            seconds = np.arange(9600) / 16000
            late = np.random.default_rng(k).standard_normal(len(seconds)) * 10 ** (-3 * seconds / 0.6)
            late[:32] = 0
            response = late / np.sqrt(np.square(late).sum())
            response[0] = 1
            heard = fftconvolve(wav, response)[: len(wav)]
        else:
            heard = soxr.resample(wav, 16000, 8000)
            if way == "telephone":
                heard = sosfilt(butter(4, [300, 3400], "bandpass", fs=8000, output="sos"), heard)
                heard = 0.5 * heard / np.abs(heard).max()
                code = np.round(127 * np.log1p(255 * np.abs(heard)) / np.log(256)) / 127
                heard = np.sign(heard) * (256**code - 1) / 255
            heard = soxr.resample(heard, 8000, 16000)
        paths.append(str(out / f"{way}{k}.wav"))
        save_audio(paths[-1], (0.8 * heard / np.abs(heard).max()).astype(np.float32), 16000)
    return paths


def denoise(out: Path, references: list[str], voice: str, snr_db: float, noise: Path | None) -> None:
    """Prints SI-SDR and DNSMOS of recordings in noise, of the denoised ones, and of clean ones denoised."""
    import torch
    from speechmos import dnsmos

    from denoiser.quality import si_sdr_db
    from hierspeech import Denoising

    pipeline = Denoising.from_pretrained(voice)
    noisy, seconds, spent = in_noise(out, references, snr_db, noise), 0.0, 0.0
    figures: dict[str, list[tuple[float, float, float, float]]] = {}
    for reference, path in zip(references, noisy, strict=True):
        clean = load_audio(reference, 16000)[0]
        begin = time.perf_counter()
        cleaned = pipeline(path).audio
        spent, seconds = spent + time.perf_counter() - begin, seconds + len(clean) / 16000
        wavs = {"clean": clean, "noisy": load_audio(path, 16000)[0], "denoised": cleaned}
        for name, wav in (wavs | {"clean, denoised": pipeline(reference).audio}).items():
            marks = dnsmos.run(wav / max(float(np.abs(wav).max()), 1e-9), sr=16000)
            row = float(si_sdr_db(torch.tensor(wav)[None], torch.tensor(clean)[None]))
            figures.setdefault(name, []).append(
                (row, *(float(marks[m]) for m in ("sig_mos", "bak_mos", "ovrl_mos")))
            )
    print(f"real-time factor {spent / seconds:.4f}")
    for name, values in figures.items():
        sdr, signal, background, overall = np.mean(values, axis=0)
        print(
            f"{name}: SI-SDR {sdr:.1f} dB, DNSMOS {overall:.2f} (signal {signal:.2f}, background {background:.2f})"
        )


def sources(out: Path, filelist: str, starts: int) -> list[Utterance]:
    """The recordings; with `starts` each of them so many times, with other samples cut off its start."""
    lines = read_filelist(filelist)
    if not starts:
        return lines
    cut = []
    for n in range(1, starts + 1):
        for k, line in enumerate(lines):
            path = out / f"source-{k:02d}-{n}.wav"
            save_audio(path, load_audio(line.wav, 16000)[0][n * START_SAMPLES :], 16000)
            cut.append(replace(line, wav=str(path)))
    return cut


def convert(
    out: Path, filelist: str, voice: str, shift: int, articulation: float | None, starts: int
) -> list[tuple[str, str, str]]:
    """Rows (wav, text, target); with shift 0 each recording is its own target."""
    from hierspeech import VoiceConversion

    model, lines = VoiceConversion.from_pretrained(voice), read_filelist(filelist)
    speakers = list(dict.fromkeys(line.speaker for line in lines))
    first = {line.speaker: line.wav for line in reversed(lines)}
    own = {line.id: line.wav for line in lines}
    rows = []
    for k, line in enumerate(sources(out, filelist, starts)):
        target = (
            first[speakers[(speakers.index(line.speaker) + shift) % len(speakers)]] if shift else own[line.id]
        )
        model(line.wav, target, seed=0, articulation=articulation).save(out / f"{k:02d}.wav")
        rows.append((str(out / f"{k:02d}.wav"), line.text, target))
    return rows


def judge(rows: list[tuple[str, str, str]], anew: bool = False) -> None:
    """Print word and character error rates, similarity to the references, and DNSMOS, over all rows.

    anew: the recogniser forgets each utterance, where it else adapts to the ones before.
    """
    warnings.filterwarnings("ignore")
    import jiwer
    from pocketsphinx import Decoder
    from resemblyzer import VoiceEncoder, preprocess_wav
    from speechmos import dnsmos

    decoder, encoder = Decoder(samprate=16000, loglevel="FATAL"), VoiceEncoder("cpu", verbose=False)

    def embed(path: str) -> np.ndarray:
        return encoder.embed_utterance(preprocess_wav(load_audio(path, 16000)[0], 16000))

    names = list(dict.fromkeys(reference for _, _, reference in rows))
    voices = np.stack([embed(name) for name in names])
    truth, heard, scores, own, nearest = [], [], [], [], []
    for path, text, reference in rows:
        wav = load_audio(path, 16000)[0]
        if anew:
            decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw((wav * 32767).astype(np.int16).tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        truth.append(_words(text))
        heard.append(_words(decoder.hyp().hypstr if decoder.hyp() else ""))
        marks = dnsmos.run(wav / max(float(np.abs(wav).max()), 1e-9), sr=16000)
        scores.append([float(marks[name]) for name in ("sig_mos", "bak_mos", "ovrl_mos")])
        likeness = voices @ embed(path)
        own.append(float(likeness[names.index(reference)]))
        nearest.append(names[int(likeness.argmax())] == reference)
    signal, background, overall = np.mean(scores, axis=0)
    print(
        f"{len(rows)} utterances  CER {100 * jiwer.cer(truth, heard):.1f} %  WER {100 * jiwer.wer(truth, heard):.1f} %"
    )
    print(
        f"similarity {np.mean(own):.3f}, least {min(own):.3f}, own of {len(names)} nearest {100 * np.mean(nearest):.0f} %"
    )
    print(f"DNSMOS overall {overall:.2f}, signal {signal:.2f}, background {background:.2f}")


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " ")).split())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speak", "copy", "convert", "recordings", "denoise"))
    parser.add_argument("out", type=Path)
    parser.add_argument("inputs", nargs="+", help="references, or one filelist")
    parser.add_argument("--voice", default="lite")
    parser.add_argument("--sentences", type=Path, default=SENTENCES, help="what is spoken, a sentence a line")
    parser.add_argument("--crossed", action="store_true", help="speak each sentence by every reference")
    parser.add_argument("--snr", type=float, help="noise in the references, in dB under the speech")
    parser.add_argument(
        "--noise", type=Path, help="with --snr: a folder of recorded noises, instead of generated ones"
    )
    parser.add_argument(
        "--through", choices=("8k", "telephone", "room"), help="what the references came through"
    )
    parser.add_argument("--denoise-ratio", type=denoise_ratio)
    parser.add_argument("--adapt", type=int, default=0, help="steps of gradient descent on each reference")
    parser.add_argument(
        "--articulation", type=float, help="share of the source's that copies and conversions keep"
    )
    parser.add_argument(
        "--starts",
        type=int,
        default=0,
        help="hear each recording, or each spoken sentence, so often, with other samples cut off its start",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what == "denoise":
        return denoise(args.out, args.inputs, args.voice, 5.0 if args.snr is None else args.snr, args.noise)
    if args.what == "speak":
        return judge(heard_again(args.out, speak(args), args.starts))
    if args.what == "recordings":
        rows = [(line.wav, line.text, line.wav) for line in sources(args.out, args.inputs[0], args.starts)]
    else:
        shift = 3 if args.what == "convert" else 0
        rows = convert(args.out, args.inputs[0], args.voice, shift, args.articulation, args.starts)
    judge(rows, anew=args.starts > 0)


if __name__ == "__main__":
    main()
