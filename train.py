"""Train a model: `python train.py CONFIG [key=value ...]`, for example

    python train.py configs/tiny/speechsr.yaml train.batch_size=8

The configuration is one YAML with the sections recipe, model, data, losses, train; `init=FOLDER` starts from
published weights, or from those of a voice folder, and `model: init` takes the model section from there too. The run goes to runs/NAME and is continued by the same command. Several GPUs or
machines: `accelerate launch train.py CONFIG` or `torchrun --nproc_per_node=N train.py CONFIG`, which takes CPUs too.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _phonetic() -> type:
    from speech.semantic.phonetic_recipe import Recipe

    return Recipe


def _speaker() -> type:
    from speech.speaker.recipe import Recipe

    return Recipe


def _aligned_ttv() -> type:
    from ttv.aligned_recipe import Recipe

    return Recipe


def _ttv() -> type:
    from ttv.recipe import Recipe

    return Recipe


def _synthesizer() -> type:
    from hierspeech.synthesizer.recipe import Recipe

    return Recipe


def _hierspeech() -> type:
    from hierspeech.synthesizer.variational_recipe import Recipe

    return Recipe


def _speechsr() -> type:
    from speechsr.recipe import Recipe

    return Recipe


def _speechsr_istft() -> type:
    from speechsr.istft_recipe import Recipe

    return Recipe


def _denoiser() -> type:
    from denoiser.recipe import Recipe

    return Recipe


def _denoiser_bands() -> type:
    from denoiser.recipe import BandRecipe

    return BandRecipe


def _codec() -> type:
    from spear.codec.recipe import Recipe

    return Recipe


def _bridge() -> type:
    from spear.bridge.recipe import Recipe

    return Recipe


def _s2a() -> type:
    from spear.semantic_to_acoustic.recipe import Recipe

    return Recipe


def _soundstorm() -> type:
    from spear.semantic_to_acoustic.masked_recipe import Recipe

    return Recipe


def _toktts() -> type:
    from spear.toktts.recipe import Recipe

    return Recipe


def _whisper_tokens() -> type:
    from spear.whisper_tokens.recipe import Recipe

    return Recipe


def _t2s() -> type:
    from spear.text_to_semantic.recipe import Recipe

    return Recipe


def _t2s_low_resource() -> type:
    from spear.low_resource.recipe import Recipe

    return Recipe


# name in `recipe.name` -> function that imports the recipe class: one run loads one recipe's code only
RECIPES: dict[str, Callable[[], type]] = {
    "phonetic": _phonetic,
    "speaker": _speaker,
    "aligned_ttv": _aligned_ttv,
    "ttv": _ttv,
    "synthesizer": _synthesizer,
    "hierspeech": _hierspeech,
    "speechsr": _speechsr,
    "speechsr_istft": _speechsr_istft,
    "denoiser": _denoiser,
    "denoiser_bands": _denoiser_bands,
    "codec": _codec,
    "t2s": _t2s,
    "t2s_low_resource": _t2s_low_resource,
    "bridge": _bridge,
    "s2a": _s2a,
    "soundstorm": _soundstorm,
    "toktts": _toktts,
    "whisper_tokens": _whisper_tokens,
}


def read(path: str | Path, assignments: list[str]) -> tuple[str, type, Any, dict, Any]:
    """Read a configuration file with its overrides.

    Returns: the recipe's name, its class, its `Config` (sections model, data, recipe), the loss weights, the
        TrainConfig.
    """
    from speech.config import build, load_yaml, override
    from speech.starting import INIT, init_section
    from speech.training import TrainConfig

    values = override(load_yaml(path), assignments)
    if unknown := values.keys() - {"recipe", "model", "data", "losses", "train", "init"}:
        raise ValueError(
            f"{path}: unknown sections {sorted(unknown)}; known: recipe, model, data, losses, train, init"
        )
    options = dict(values.get("recipe") or {})
    name = options.pop("name", None)
    if name not in RECIPES:
        raise ValueError(f"recipe.name: expected one of {sorted(RECIPES)}, got {name!r}")
    train = {"run": Path(path).stem} | (values.get("train") or {})
    if "init" in values:
        train["init"] = values["init"]
    train_config = build(TrainConfig, train, "train")
    recipe_class = RECIPES[name]()
    model = values.get("model") or {}
    if model == INIT:
        model = init_section(recipe_class.Config, train_config.init)
    sections = {"model": model, "data": values.get("data") or {}, "recipe": options}
    losses = {module: build_losses(module, w) for module, w in (values.get("losses") or {}).items()}
    return name, recipe_class, build(recipe_class.Config, sections), losses, train_config


def build_losses(module: str, weights: Any) -> dict[str, float]:
    """Check the loss weights of one module."""
    if not isinstance(weights, dict) or not all(type(w) in (int, float) for w in weights.values()):
        raise ValueError(f"losses.{module}: expected loss names with a number each, got {weights!r}")
    return {name: float(weight) for name, weight in weights.items()}


def train(path: str | Path, assignments: list[str]) -> int:
    """Build the recipe of a configuration and run the loop; returns the step reached."""
    from speech.run_folder import resolved_config
    from speech.training import fit, seed_everything

    name, recipe_class, sections, losses, config = read(path, assignments)
    seed_everything(config.seed)  # initial weights are a function of the seed
    recipe = recipe_class(sections.model, sections.data, sections.recipe, losses, config)
    if folder := getattr(sections.recipe, "preview_synthesizer", None):
        from hierspeech.synthesizer.preview import (
            Speaker,
        )  # models do not import one another, so it is given to it here

        recipe.speak = Speaker(folder, sections.model.semantic, sections.model.audio)
    return fit(recipe, config, losses, resolved_config(name, sections, losses, config))


def main(arguments: list[str]) -> int:
    """Command line; bad input is one sentence and exit code 2."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        train(arguments[0], arguments[1:])
    except ValueError as error:
        if not _is_ours(error):
            raise
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


def _is_ours(error: BaseException) -> bool:
    """Whether our code raised it for the user; what comes from a library is a bug and keeps its traceback."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return "site-packages" not in trace.tb_frame.f_code.co_filename


if __name__ == "__main__":
    from speech.interruption import leave

    leave(main(sys.argv[1:]))
