"""The semantic encoder of the published models (the first 7 layers of MMS-300M) as a part of a voice folder."""

from pathlib import Path

import torch
from safetensors import SafetensorError

from hierspeech.official.cards import WITHOUT_ENCODER, with_encoder
from hierspeech.pipelines.voice import Voice
from speech.hub import download, is_hub_id
from speech.new_folder import new_folder
from speech.semantic.encoder import SemanticSpec, load_encoder

ENCODER_FOLDER = "mms-300m"
ENCODER_FILES = (
    "config.json",
    "model*.safetensors*",
    "pytorch_model*.bin*",
)  # of a repository in transformers' format


def install_encoder(voice: str | Path, source: str) -> Path:
    """Put the semantic encoder into the folder of a voice that was imported without one.

    Args:
        voice: the voice's folder.
        source: folder in transformers' format or hub id of the whole model.
    Returns: the folder of the encoder.
    Raises:
        ValueError: no voice there, one that has an encoder already, or no fitting weights in `source`.
    """
    voice = Path(voice)
    if not (voice / "voice.json").is_file():
        raise ValueError(f"{voice}: no voice folder, expected one with a voice.json")
    opened = Voice(voice, torch.device("cpu"))
    folder = voice / opened.description.semantic_encoder
    found = find_source(source)
    with new_folder(folder) as temporary:
        write_encoder(found, opened.semantic, temporary)
    card = voice / "README.md"
    if card.is_file():  # it says that there is none
        text = card.read_text(encoding="utf-8").replace(WITHOUT_ENCODER, with_encoder(folder.name))
        temporary = card.with_name(".README.md.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(card)
    return folder


def find_source(source: str) -> Path:
    """The folder `source`, or that of the hub id `source`, which is fetched; refused before any other work is done."""
    if Path(source).is_dir():
        return Path(source)
    if not is_hub_id(source):
        raise ValueError(
            f"semantic encoder {source}: no such folder, and not a hub id like facebook/mms-300m"
        )
    return download(source, ENCODER_FILES)


def write_encoder(source: Path, spec: SemanticSpec, folder: Path) -> None:
    """Write the layers that `spec` asks for into `folder`, from where `load_encoder` reads them again.

    Raises:
        ValueError: transformers is not installed, or `source` has no such weights.
    """
    try:
        encoder = load_encoder(spec, source)
    except ImportError as error:
        raise ValueError(
            "the semantic encoder is read by transformers: pip install 'hierspeech[semantic]'"
        ) from error
    except (OSError, RuntimeError, SafetensorError) as error:  # what transformers raises for damaged weights
        raise ValueError(
            f"the semantic encoder in {source} cannot be read ({' '.join(str(error).split()):.200})"
        ) from error
    encoder.save_pretrained(folder)
