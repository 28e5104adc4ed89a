"""Protocols: what a comparison says, converts or upsamples, whose voices it is heard in, and what it is judged by.

One YAML in configs/benchmarks/ is one protocol; `read_protocol` is strict about it, `list_utterances` turns it into utterances.
The layouts of corpora are in protocols_corpora.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from speech.config import build, load_yaml, override

ROOT = Path(__file__).resolve().parent.parent.parent
PROTOCOLS_FOLDER = ROOT / "configs" / "benchmarks"
Task = Literal["speak", "convert", "upsample"]


@dataclass
class Protocol:
    """The content of one YAML.

    Attributes:
        name: as in `--protocol`.
        about: what is compared and what the figures do not say; it stands above the report.
        task: "speak" text in the voice of a reference, "convert" a source to it, "upsample" a source.
        layout: how `root` is read: a key of LAYOUTS.
        root: folder or file of the corpus, relative to where the command runs; for "sentences" to the repository.
        download: where the corpus comes from, for those who lack it.
        metrics: of hierspeech.evaluation; what is not installed is reported as not measured.
        limit: utterances at most; None takes all that the layout gives.
        seed: of what the systems draw, and of what is picked from a corpus.
        voices: layout "sentences": names of saved prompts of `voice`, in turn.
        voice: layout "sentences": the voice whose prompts these are, and which speaks the references.
        reference_text: layout "sentences": what the references say; not among the sentences.
        own_text: what every system says once in each voice besides, for the similarity to its own voice; "" leaves that out.
        per_speaker: utterances picked of each speaker of a corpus. speakers: picked of a corpus.
        reference_seconds: shortest and longest reference. source_seconds: the same of what is spoken or converted.
        input_rate: task "upsample": what the sources are brought to, in Hz. output_rate: what comes out.
        timeout_seconds: that one utterance may take before its row is given up.
    """

    name: str
    about: str
    task: Task
    layout: str
    root: str
    download: str = ""
    metrics: list[str] = field(default_factory=list)
    limit: int | None = None
    seed: int = 0
    voices: list[str] = field(default_factory=list)
    voice: str = "lite"
    reference_text: str = ""
    own_text: str = ""
    language: str = "en-us"
    per_speaker: int | None = None
    speakers: int | None = None
    reference_seconds: tuple[float, float] = (3.0, 12.0)
    source_seconds: tuple[float, float] = (2.0, 12.0)
    input_rate: int = 16000
    output_rate: int | None = None
    timeout_seconds: float = 300.0

    def __post_init__(self):
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout {self.layout!r}: expected one of {', '.join(LAYOUTS)}.")
        for name in ("limit", "per_speaker", "speakers", "output_rate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected a positive number or nothing.")
        for name in ("input_rate", "timeout_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number.")
        for name in ("reference_seconds", "source_seconds"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name} is {low:g} to {high:g}, expected shortest and longest.")
        if self.layout == "sentences" and not (self.voices and self.reference_text):
            raise ValueError("layout 'sentences' needs voices and reference_text, expected both.")


@dataclass(frozen=True)
class Utterance:
    """One thing that every system is asked for.

    Attributes:
        id: unique in the protocol.
        text: to be spoken (None where a source is converted or upsampled and nobody knows its words).
        words: what a listener hears in it, where that is not the text (numbers in words).
        reference: a recording of the voice wanted. reference_text: what is said in it.
        voice: name of the saved prompt that stands for the reference, for systems that know it.
        source: recording that is converted or upsampled.
        target: recorded speech of the same words, or the full-band original.
        speaker: label of the voice wanted.
    """

    id: str
    text: str | None = None
    words: str | None = None
    language: str = "en-us"
    speaker: str | None = None
    reference: Path | None = None
    reference_text: str | None = None
    voice: str | None = None
    source: Path | None = None
    target: Path | None = None


def shipped_protocols() -> list[str]:
    """Names of those in configs/benchmarks/."""
    return sorted(path.stem for path in PROTOCOLS_FOLDER.glob("*.yaml"))


def read_protocol(name: str | Path, assignments: list[str] | None = None) -> Protocol:
    """A protocol by name or file, with `key=value` changes.

    Raises:
        ValueError: no such protocol, an unknown key or a value of the wrong kind.
    """
    path = PROTOCOLS_FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
        if not path.is_file():
            raise ValueError(
                f"unknown protocol {str(name)!r}: expected a file or one of {', '.join(shipped_protocols())}."
            )
    try:
        return build(Protocol, override(load_yaml(path), assignments or []))
    except ImportError as error:
        raise ValueError(f"{path}: protocols are YAML, which needs pyyaml: pip install pyyaml.") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def list_utterances(protocol: Protocol) -> list[Utterance]:
    """What the protocol asks of every system.

    Raises:
        ValueError: the corpus is not there (with where to get it), or has nothing that fits.
    """
    utterances = LAYOUTS[protocol.layout](protocol)
    if not utterances:
        raise ValueError(
            f"{protocol.name}: nothing in {protocol.root} fits the protocol (lengths, speakers, limit)."
        )
    twice = {utterance.id for utterance in utterances}
    if len(twice) < len(utterances):
        raise ValueError(f"{protocol.name}: ids of {protocol.root} occur twice, expected unique ones.")
    return utterances[: protocol.limit]


def find_root(protocol: Protocol, what: str = "dir") -> Path:
    """The corpus; ValueError that names it and says where it comes from."""
    path = Path(protocol.root).expanduser()
    if not (path.is_dir() if what == "dir" else path.is_file()):
        raise ValueError(
            f"{protocol.name}: {protocol.root} is not there. {' '.join(protocol.download.split())} "
            f"Say where it is by root={'FOLDER' if what == 'dir' else 'FILE'}."
        )
    return path


def _sentences(protocol: Protocol) -> list[Utterance]:
    """Lines "text" or "text|words" of a file, voices in turn; references are made by the run (compare_references.py)."""
    path = ROOT / protocol.root if not Path(protocol.root).is_file() else Path(protocol.root)
    if not path.is_file():
        raise ValueError(f"{protocol.name}: {protocol.root} is not there, expected a file of sentences.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    utterances = []
    for number, line in enumerate(lines):
        text, _, words = line.partition("|")
        voice = protocol.voices[number % len(protocol.voices)]
        utterances.append(
            Utterance(f"{number:03d}-{voice}", text, words or None, protocol.language, voice, voice=voice)
        )
    return utterances


def _corpus(name: str) -> Callable[[Protocol], list[Utterance]]:
    def read(protocol: Protocol) -> list[Utterance]:
        from hierspeech.benchmarking import protocols_corpora

        return protocols_corpora.READERS[name](protocol)

    return read


LAYOUTS: dict[str, Callable[[Protocol], list[Utterance]]] = {
    "sentences": _sentences,
    "libritts": _corpus("libritts"),
    "seed-tts-eval": _corpus("seed-tts-eval"),
    "vctk-conversion": _corpus("vctk-conversion"),
    "vctk-upsampling": _corpus("vctk-upsampling"),
}
"""How a corpus lies on disk -> its utterances."""
