"""Trained runs -> a voice folder that ships: half-precision weights, a model card each, saved prompts.

python -m hierspeech.pipelines.publish OUT --ttv RUN --synthesizer RUN --phonetic RUN [--speechsr RUN ...] [--denoiser RUN]
    [--cards FOLDER] [--prompt NAME=WAV ...]
python -m hierspeech.pipelines.publish OUT --voice VOICE --ttv RUN [--prompt NAME=WAV ...]    after fine-tuning a part of VOICE

A RUN is what training leaves: runs/NAME/step_N. `python -m hierspeech.pipelines.push OUT OWNER/NAME` takes it to the hub.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hierspeech.pipelines.command_line import Parser, run, say
from speech.checkpoint import read_config
from speech.new_folder import new_folder

if TYPE_CHECKING:
    from hierspeech.synthesizer.model import HierSpeech


def publish(
    out: Path,
    ttv: Path | None = None,
    synthesizer: Path | None = None,
    phonetic: Path | None = None,
    speechsr: list[Path] | None = None,
    denoiser: Path | None = None,
    cards: Path | None = None,
    prompts: Mapping[str, Path | Sequence[Path]] | None = None,
    version: int | None = None,
    language: str | None = None,
    noise_scale: float | None = None,
    voice: str | Path | None = None,
    question_rise: float | None = None,
    equalizer: bool = False,
    int8: Sequence[str] = (),
) -> None:
    """Write a voice folder of trained models, in float16; it appears whole or not at all.

    Args:
        out: folder to create; its name becomes the voice's.
        ttv, synthesizer, phonetic, denoiser: folders of trained models.
        speechsr: the same, one for each output rate.
        cards: folder with the model cards, `NAME.md` for each part and `voice.md` for the whole.
        prompts: name -> recording, or recordings of one speaker to average, listened to once and kept; the first one is the
            voice's default reference.
        version: counts trainings, so that prompts saved with one are refused by the next; None is 1.
        language: of the voice; None is en-us.
        noise_scale: the voice's default; None is 0.
        voice: a voice (folder, shipped name or hub id) whose parts and settings are taken, as they are, where none is given
            here: what a fine-tuned part was trained from. Its prompts are not, since they fit that voice alone.
        question_rise: semitones above their median where English yes-no questions end, 0 to 12; None is 0.
        int8: names of folders given here (ttv, synthesizer, phonetic, denoiser, speechsr-48k ...) to store in 8 bits, not 16.
        equalizer: give a synthesizer without one a phone equalizer (`hierspeech/synthesizer/equalizer.py`).
    Raises:
        ValueError: a model is missing or a recording cannot be read, the models do not fit each other, or `out` exists.
    """
    from denoiser import DENOISERS
    from hierspeech.pipelines.prompt import VoicePrompt
    from hierspeech.pipelines.voice import find_voice, load_voice, model_class, read_description
    from hierspeech.synthesizer.model import HierSpeech
    from speech.semantic.phonetic import PhoneticEncoder
    from speechsr import SPEECHSR_MODELS, ISTFTSpeechSR
    from ttv import TTV_MODELS

    given = {"ttv": ttv, "synthesizer": synthesizer, "phonetic": phonetic}
    if voice is None and (missing := [f"--{name}" for name, source in given.items() if source is None]):
        raise ValueError(
            f"{', '.join(missing)} not given: expected all parts, or --voice to take the others from."
        )
    with new_folder(out) as folder:
        description: dict[str, Any] = {"format": 1, "semantic_encoder": "phonetic", "noise_scale": 0.0}
        if voice is not None:
            start = find_voice(voice)
            shutil.copytree(start, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("prompts"))
            description = vars(read_description(start))
            description["version"] += 1

        added: list[str] = []

        def add(name: str, kind: Any, source: Path, change: Callable[[Any], Any] | None = None) -> None:
            model = kind.from_pretrained(source)
            model = model if change is None else change(model)
            shutil.rmtree(folder / name, ignore_errors=True)
            dtype = torch.int8 if name in int8 else torch.float16
            model.save_pretrained(folder / name, card=read_card(cards, name, source), dtype=dtype)
            added.append(name)

        if ttv is not None:
            description["ttv"] = "ttv"
            add("ttv", model_class(ttv, TTV_MODELS), ttv)
        if phonetic is not None:
            description["semantic_encoder"] = "phonetic"
            add("phonetic", PhoneticEncoder, phonetic)
        if synthesizer is not None:
            description["synthesizer"] = "synthesizer"
            encoder = folder / description["semantic_encoder"]
            add("synthesizer", HierSpeech, synthesizer, lambda model: named_phones(model, encoder, equalizer))
        elif (
            equalizer or phonetic is not None
        ):  # the voice's own one, which then names phones as the encoder given here
            name, encoder = description["synthesizer"], folder / description["semantic_encoder"]
            if equalizer or read_config(HierSpeech, folder / name).equalizer is not None:
                add(name, HierSpeech, start / name, lambda model: named_phones(model, encoder, equalizer))
        rate = read_config(HierSpeech, folder / description["synthesizer"]).audio.sample_rate
        rates: dict[str, str] = {}
        lower: dict[str, str] = {}
        for source in speechsr or []:
            kind = model_class(source, SPEECHSR_MODELS)
            output_rate = str(round(read_config(kind, source).scale * rate))
            if output_rate in rates:
                raise ValueError(
                    f"{source}: a second model for {output_rate} Hz, expected one for each rate."
                )
            rates[output_rate] = f"speechsr-{int(output_rate) // 1000}k"
            add(rates[output_rate], kind, source)
            if kind is ISTFTSpeechSR and output_rate == "48000":
                lower["24000"] = rates[output_rate]  # by `at_rate`, where nothing else gives it
        kept = {k: v for k, v in description.get("speechsr", {}).items() if v not in rates.values()}
        description["speechsr"] = lower | kept | rates
        if denoiser is not None:
            description["denoiser"] = "denoiser"
            add("denoiser", model_class(denoiser, DENOISERS), denoiser)
        if wrong := [name for name in int8 if name not in added]:
            raise ValueError(
                f"int8 {wrong[0]!r}: expected a part that is given here ({', '.join(added) or 'none'})."
            )
        if card := read_card(cards, "voice"):
            (folder / "README.md").write_text(card, encoding="utf-8")
        settings = {
            "version": version,
            "language": language,
            "noise_scale": noise_scale,
            "question_rise": question_rise,
        }
        description |= {name: value for name, value in settings.items() if value is not None}
        description |= {"name": out.absolute().name, "prompts": list(prompts or {})}
        (folder / "voice.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        made = load_voice(folder, "cpu")
        if (folder / made.description.semantic_encoder).is_dir():
            _ = made.semantic_encoder
        _ = made.ttv, made.denoiser  # the parts that nothing else has looked at yet
        for name, given_as in (prompts or {}).items():
            (folder / "prompts").mkdir(exist_ok=True)
            recordings = [given_as] if isinstance(given_as, Path) else given_as
            heard = [VoicePrompt.from_audio(recording, made) for recording in recordings]
            VoicePrompt.average(heard).save(folder / "prompts" / f"{name}.safetensors")


def named_phones(model: HierSpeech, encoder: Path, add: bool) -> HierSpeech:
    """A synthesizer whose equalizer, if it has one or `add` says so, names phones as the phonetic encoder in `encoder` does."""
    from hierspeech.synthesizer.equalizer import EqualizerConfig
    from hierspeech.synthesizer.model import HierSpeech
    from speech.checkpoint import folded_state_dict, load_folded
    from speech.semantic.phonetic import PhoneticEncoder

    if model.equalizer is None and not add:
        return model
    classifier = PhoneticEncoder.from_pretrained(encoder).classifier
    if model.equalizer is None:
        config = replace(model.config, equalizer=EqualizerConfig(phones=classifier.out_features))
        weights, model = folded_state_dict(model), HierSpeech(config)
        load_folded(
            model, weights | {f"equalizer.{k}": v for k, v in model.equalizer.state_dict().items()}, ""
        )
    model.equalizer.name_by(classifier)
    return model.eval()


def read_card(cards: Path | None, name: str, source: Path | None = None) -> str | None:
    """The text of a card: from the folder of them, or the one that training wrote beside the model; None if neither."""
    if cards is not None and not cards.is_dir():
        raise ValueError(f"{cards}: no such folder of model cards.")
    paths = [folder / file for folder, file in ((cards, f"{name}.md"), (source, "README.md")) if folder]
    return next((path.read_text(encoding="utf-8") for path in paths if path.is_file()), None)


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and publishes; returns the exit code."""
    parser = Parser(
        prog="python -m hierspeech.pipelines.publish", description="Make a voice folder of trained models."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    for part in ("ttv", "synthesizer", "phonetic"):
        parser.add_argument(f"--{part}", type=Path, metavar="RUN", help="folder of the model")
    parser.add_argument("--speechsr", type=Path, metavar="RUN", action="append", help="may be given twice")
    parser.add_argument("--denoiser", type=Path, metavar="RUN")
    parser.add_argument(
        "--cards",
        type=Path,
        metavar="FOLDER",
        help="with NAME.md for every part, and voice.md for the whole, which the hub wants",
    )
    parser.add_argument(
        "--voice", metavar="VOICE", help="take the parts and settings that are not given here from this voice"
    )
    parser.add_argument("--version", type=int, help="counts trainings (default: 1, or one more than VOICE's)")
    parser.add_argument("--language", help="of the voice (default: en-us, or VOICE's)")
    parser.add_argument("--noise-scale", type=float, help="its default (default: 0, or VOICE's)")
    parser.add_argument(
        "--question-rise",
        type=float,
        metavar="SEMITONES",
        help="above their median where English yes-no questions end, for a text-to-vec that knows none (default: 0, or VOICE's)",
    )
    parser.add_argument(
        "--int8",
        action="append",
        default=[],
        metavar="PART",
        help="store this part in 8 bits, not 16: half the size, the same speed; may be given often",
    )
    parser.add_argument(
        "--equalizer",
        action="store_true",
        help="give a synthesizer with an iSTFT generator a phone equalizer, which needs a phonetic encoder and no training",
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="NAME=WAV",
        help="a voice prompt to save; given often with one NAME, the average of those recordings",
    )
    return run(parser, work, argv)


def work(arguments: argparse.Namespace) -> None:
    """Publishes as the arguments say."""
    values = dict(vars(arguments))
    prompts: dict[str, list[Path]] = {}
    for pair in values.pop("prompt"):
        name, equals, recording = pair.partition("=")
        if not name or not equals or not recording:
            raise ValueError(f"prompt {pair!r}: expected NAME=WAV.")
        prompts.setdefault(name, []).append(Path(recording))
    publish(**values, prompts=prompts)
    say(f"{arguments.out}: try it with `python infer.py --voice {arguments.out} --text Hello`")


if __name__ == "__main__":
    sys.exit(main())
