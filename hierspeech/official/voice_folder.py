"""A whole download folder -> one voice folder that every script takes with `--voice`."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch

from hierspeech.official.cards import voice_card
from hierspeech.official.components import CONVERTIBLE
from hierspeech.official.convert import write_part
from hierspeech.official.download import find_parts
from hierspeech.official.published import Source, identify
from hierspeech.official.published_config import check_config
from hierspeech.official.semantic import ENCODER_FOLDER, find_source, write_encoder
from hierspeech.pipelines.voice import Voice
from speech.new_folder import check_free, new_folder

SPEECHSR = {"speechsr-24k": "24000", "speechsr-48k": "48000"}  # part -> its output rate in Hz
Report = Callable[[str], None]


def import_download(
    download: str | Path,
    out: str | Path,
    chosen: Mapping[str, str | Path] | None = None,
    without: Collection[str] = (),
    semantic_encoder: str | None = None,
    unverified: bool = False,
    report: Report = print,
) -> None:
    """Convert a download folder into the voice folder `out`, which appears whole or not at all.

    Everything that can be wrong with the files is looked for before the first of them is converted, tensors excepted.

    Args:
        download, chosen, without: as `download.find_parts` takes them.
        out: must not exist yet or be empty.
        semantic_encoder: folder or hub id of MMS-300M, whose first layers are added; None leaves them out.
        unverified: take files that have the name of a published one and another content.
        report: gets a line for every part as it is checked and converted.
    Raises:
        ValueError: a part that is missing, damaged or of another kind, or `out` in use, in one sentence.
    """
    check_free(out)
    files = find_parts(download, chosen, without)
    encoder = None if semantic_encoder is None else find_source(semantic_encoder)
    sources = {}
    for component, path in files.items():
        has_config = check_config(component, path.parent / "config.json")
        sources[component] = identify(component, path, unverified)
        note = "" if has_config else "; no config.json beside it, the published values are taken"
        size = path.stat().st_size / 1e6
        report(f"{component}: {path} ({size:.1f} MB), {sources[component].finding}{note}")
    for component in without:
        report(f"{component}: left out")
    with new_folder(out) as folder:
        if encoder is not None:  # first: it may have to be fetched, which fails more often than the rest
            report(f"adding the semantic encoder from {encoder}")
            write_encoder(encoder, CONVERTIBLE["synthesizer"].config().semantic, folder / ENCODER_FOLDER)
        by_size = sorted(sources, key=lambda part: files[part].stat().st_size)
        for component in by_size:  # what is wrong with a small file is said soon
            report(f"converting the {component}")
            write_part(component, sources[component], folder / component)
        description = describe(sources)
        (folder / "voice.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        card = voice_card(description["name"], sources, ENCODER_FOLDER if encoder is not None else None)
        (folder / "README.md").write_text(card, encoding="utf-8")
        Voice(folder, torch.device("cpu"))  # the parts fit each other, or it says which do not


def describe(sources: Mapping[str, Source]) -> dict[str, object]:
    """The content of `voice.json` for these parts."""
    return {
        "format": 1,
        "name": voice_name(sources),
        "version": 1,
        "language": "en-us",
        "normalizer": "english_cleaners2",
        "ttv": "ttv",
        "synthesizer": "synthesizer",
        "semantic_encoder": ENCODER_FOLDER,
        "speechsr": {rate: part for part, rate in SPEECHSR.items() if part in sources},
        "denoiser": "denoiser" if "denoiser" in sources else None,
        "recordings": "as_recorded",
        "level": "peak",
        "denoise_ratio": 0.0,
        "prompts": [],
        "noise_scale": 0.333,
        "f0_floor_hz": 55.0,
    }


def voice_name(sources: Mapping[str, Source]) -> str:
    """The name that saved prompts remember: of the published synthesizer, or with a digest that tells trainings apart.

    A prompt holds style vectors of the synthesizer and the ttv, so both decide whether it fits.
    """
    parts = [sources["synthesizer"], sources["ttv"]]
    name = (parts[0].published.name if parts[0].published else parts[0].path.name).removesuffix(".pth")
    name = name.removesuffix("_ckpt")
    if all(part.published for part in parts):
        return name
    return f"{name}-{parts[0].sha256[:6]}{parts[1].sha256[:6]}"
