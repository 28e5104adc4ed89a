"""SpeechSR's recipe for the lite model: the same data, losses and judges teach an `ISTFTSpeechSR`."""

from dataclasses import dataclass, field

from speechsr.data import DataConfig
from speechsr.istft_model import ISTFTSpeechSR, ISTFTSpeechSRConfig
from speechsr.recipe import Recipe as SpeechSRRecipe
from speechsr.recipe import RecipeConfig


class Recipe(SpeechSRRecipe):
    """`speechsr.recipe.Recipe` with another generator."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: ISTFTSpeechSRConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    model_class = ISTFTSpeechSR
