"""Model cards of what the importer writes, with the front matter of the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path

from hierspeech.official.published import Source

_LICENCE = (
    "The weights are the work of the authors of HierSpeech++ (https://github.com/sh-lee-prml/HierSpeechpp); "
    "their licence and their data apply."
)
_TAGS = {
    "synthesizer": "text-to-speech",
    "ttv": "text-to-speech",
    "speechsr-24k": "audio-to-audio",
    "speechsr-48k": "audio-to-audio",
    "denoiser": "audio-to-audio",
    "voice": "text-to-speech",
}


WITHOUT_ENCODER = (
    "Voice conversion needs a semantic encoder too: "
    "`python -m hierspeech.official encoder FOLDER facebook/mms-300m` adds it."
)


def with_encoder(folder: str) -> str:
    """What the card of a voice says of the semantic encoder in `folder`."""
    return f"`{folder}/` holds the semantic encoder (the first layers of `facebook/mms-300m`), which voice conversion needs."


def part_card(component: str, source: Source) -> str:
    """The card of one converted checkpoint."""
    return (
        f"{_front_matter(component)}# HierSpeech++ {component}, published weights\n\n"
        f"Converted by `hierspeech.official` from `{source.path.name}` "
        f"(sha256 `{source.sha256}`; {source.finding}).\n\n"
        f"{_LICENCE} Weight norm is folded, nothing else was changed.\n"
    )


def voice_card(name: str, sources: Mapping[str, Source], encoder: str | None) -> str:
    """The card of a whole voice.

    Args:
        name: of the voice.
        sources: part -> the file it was made from.
        encoder: folder name of the semantic encoder in the voice, None where it has none.
    """
    rows = "\n".join(
        f"| `{part}/` | `{source.path.name}` | `{source.sha256}` | {source.finding} |"
        for part, source in sources.items()
    )
    conversion = with_encoder(encoder) if encoder else WITHOUT_ENCODER
    return (
        f"{_front_matter('voice')}# {name}: HierSpeech++, published weights\n\n"
        "A voice for the `hierspeech` package: zero-shot text to speech and voice "
        "conversion in the voice of a short recording.\n\n"
        "```bash\n"
        'python infer.py --voice FOLDER_OR_HUB_ID --text "Good morning." --ref someone.wav --output-sr 48000\n'
        "python convert.py --voice FOLDER_OR_HUB_ID --source words.wav --ref someone.wav\n"
        "```\n\n"
        "## Parts\n\n| folder | made from | sha256 of that file | finding |\n|---|---|---|---|\n"
        f"{rows}\n\n{conversion}\n\n"
        f"## Licence and limits\n\n{_LICENCE} The text front end is English. "
        "Do not speak in the voice of a person who has not agreed to it.\n"
    )


def start_card(component: str, files: Mapping[str, Path], digests: Mapping[str, str], figures: str) -> str:
    """The card of a training state made from published training files, each with its digest."""
    origins = "\n".join(f"- {role}: `{path.name}` (sha256 `{digests[role]}`)" for role, path in files.items())
    return (
        f"{_front_matter(component)}# HierSpeech++ {component}, published training state\n\n"
        f"A start for fine-tuning, made by `hierspeech.official` from\n\n{origins}\n\n{figures}\n\n"
        "`training.pt` holds weights with weight norm, optimizers with their moments and step counters; "
        f"`model.safetensors` the model alone.\n\n{_LICENCE}\n"
    )


def _front_matter(what: str) -> str:
    return (
        f"---\nlanguage: en\nlibrary_name: hierspeech\npipeline_tag: {_TAGS[what]}\n"
        "tags: [hierspeech, text-to-speech, voice-conversion, speech]\n"
        "license: other\nlicense_name: hierspeechpp\n"
        "license_link: https://github.com/sh-lee-prml/HierSpeechpp\n---\n\n"
    )
