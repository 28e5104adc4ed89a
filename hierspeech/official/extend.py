"""A trained text-to-vec gains languages and symbols, and speaks what it spoke before exactly as before.

The new rows start at zero: a language adds nothing to its tokens until training has given it something to add.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hierspeech.pipelines.voice import model_class, read_description
from speech.checkpoint import load_folded, load_tensors, read_config
from speech.modules.weight_norm import building_without_weight_norm
from speech.new_folder import check_free, new_folder
from speech.text.languages import find_language
from ttv import TTV_MODELS
from ttv.languages import tokenizer_of

# tensors with a row for each symbol, as they are called in TTV, and one with a row for each language, in both models
SYMBOL_ROWS = ("text_encoder.embedding.weight", "phoneme_classifier.weight")
LANGUAGE_ROWS = "language_embedding.weight"


def extend(
    source: str | Path, out: str | Path, languages: Sequence[str] = (), symbols: Sequence[str] = ()
) -> None:
    """Write a copy of a text-to-vec model, or of a voice with one, that can learn more languages and symbols.

    Args:
        source: folder of a voice or of a model.
        out: must not exist yet or be empty; it gets the whole voice, where `source` is one.
        languages: codes to gain. A model without languages first gets its voice's own ("en-us" for a bare model).
        symbols: phoneme symbols to gain, one character each.
    Raises:
        ValueError: nothing to gain, languages or symbols that are unknown or there already, a folder that is no such
            model, or `out` in use; nothing is left behind then.
    """
    source = Path(source)
    check_free(out)
    if not languages and not symbols:
        raise ValueError("expected languages or symbols to gain, got neither")
    description = _description(source)
    part = Path(description["ttv"]) if description else Path()
    kind = model_class(source / part, TTV_MODELS)
    config = read_config(kind, source / part)
    extended = _extended(config, description.get("language", "en-us"), languages, symbols)
    with building_without_weight_norm():
        model = kind(extended)
    tensors = _grown(load_tensors(source / part), model.state_dict())
    # in the type it was stored in, so that the copy speaks with the same numbers
    dtype = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    load_folded(model.to(dtype), tensors, str(source / part))
    card = _card(source / part / "README.md", languages, symbols)
    with new_folder(out) as folder:
        if description:
            shutil.copytree(
                source, folder, dirs_exist_ok=True, ignore=lambda at, names: _left(at, names, source, part)
            )
        model.save_pretrained(folder / part, card=card)


def _description(source: Path) -> dict:
    """The content of a voice's voice.json; empty for a folder that is no voice."""
    path = source / "voice.json"
    if not path.is_file():
        return {}
    return vars(read_description(source))


def _extended(config, own_language: str, languages: Sequence[str], symbols: Sequence[str]):
    """The config with more languages and symbols."""
    for code in languages:
        find_language(code)  # refuses one that espeak cannot phonemise
    if languages:
        known = config.languages or [own_language]
        wanted = [code.lower().replace("_", "-") for code in languages]
        if there := [code for code in wanted if code in known]:
            raise ValueError(
                f"the model speaks {', '.join(there)} already: its languages are {', '.join(known)}"
            )
        config = replace(config, languages=[*known, *wanted])
    if symbols:
        if not hasattr(config, "symbols"):
            raise ValueError(
                f"symbols: the tokenizer {config.tokenizer} has a fixed inventory, got {list(symbols)}"
            )
        config = replace(config, symbols=[*config.symbols, *symbols])
        n_symbols = max(len(tokenizer_of(config)), config.text.n_symbols)
        config = replace(config, text=replace(config.text, n_symbols=n_symbols))
    return config


def _grown(tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors with rows of zeros where the extended model has more rows."""
    grown = dict(tensors)
    dtype = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    for name, target in wanted.items():
        if not name.endswith(LANGUAGE_ROWS) and name not in SYMBOL_ROWS:
            continue
        before = tensors.get(name, torch.zeros(0, *target.shape[1:], dtype=dtype))
        grown[name] = torch.cat([before, before.new_zeros(len(target) - len(before), *target.shape[1:])])
    return grown


def _card(path: Path, languages: Sequence[str], symbols: Sequence[str]) -> str | None:
    """The model's card with what it has gained."""
    before = path.read_text(encoding="utf-8").rstrip() if path.is_file() else "# Text-to-vec"
    gained = [f"languages {', '.join(languages)}"] * bool(languages) + [
        f"symbols {' '.join(symbols)}"
    ] * bool(symbols)
    return (
        f"{before}\n\n## Extended\n\n`python -m hierspeech.official extend` added the {' and the '.join(gained)}, "
        "whose weights are zero until the model is trained on them; all other weights are as they were.\n"
    )


def _left(at: str, names: list[str], source: Path, part: Path) -> list[str]:
    """What is not copied: the part that is written anew."""
    return [part.name] if Path(at) == source else []
