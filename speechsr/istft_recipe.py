"""SpeechSR's recipe for the lite model: the same data, losses and judges teach an `ISTFTSpeechSR`."""

from dataclasses import dataclass, field

from speechsr import recipe
from speechsr.data import DataConfig
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig


class Recipe(recipe.Recipe):
    """`speechsr.recipe.Recipe` with another generator."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: ISTFTSpeechSRConfig
        data: DataConfig
        recipe: recipe.RecipeConfig = field(default_factory=recipe.RecipeConfig)

    model_class = ISTFTSpeechSR
