"""Which weights a stage of the low-resource recipe trains.

SPEAR-TTS fine-tunes text -> tokens with the decoder and the *upper* encoder layers frozen: what changes is how text enters. lucidrains'
trainer freezes the decoder and the *lower* encoder layers. Back-translation trains the decoder and the text's table, the encoder frozen.
"""

from __future__ import annotations

from torch import nn

from speech.freezing import freeze

MODES = ("none", "paper", "lucidrains", "backtranslate")


def trained_parts(model: nn.Module, mode: str, lower_layers: int = 2) -> list[str] | None:
    """Prefixes of the parameters of a TextToSemantic that train; None = all of them.

    Args:
        mode: one of `MODES`.
        lower_layers: k; "paper" trains encoder layers below it, "lucidrains" those from it on.
    """
    if mode not in MODES:
        raise ValueError(f"freezing: expected one of {', '.join(MODES)}, got {mode!r}")
    if mode == "none":
        return None
    if mode == "backtranslate":
        return ["decoder", "tables.text"]
    layers = model.config.encoder_layers
    if not 0 <= lower_layers <= layers:
        raise ValueError(f"lower_layers: the encoder has {layers} layers, got {lower_layers}")
    inputs = ["tables.text", *(["languages"] if model.languages is not None else [])]
    if mode == "paper":
        return inputs + [f"encoder.layers.{i}" for i in range(lower_layers)]
    upper = [f"encoder.layers.{i}" for i in range(lower_layers, layers)]
    exits = ["early_exit"] if model.early_exit is not None else []
    return inputs + upper + ["encoder.norm"] + exits


def freeze_for(model: nn.Module, mode: str, lower_layers: int = 2) -> None:
    """Freeze every parameter that `mode` does not train."""
    kept = trained_parts(model, mode, lower_layers)
    if kept is None:
        return
    names = [name for name, _ in model.named_parameters()]
    freeze(model, [n for n in names if not any(n == k or n.startswith(f"{k}.") for k in kept)])
