"""A tiny random token voice beside a tiny random voice, for the tests of the token pipelines."""

import json
from pathlib import Path

import torch
from tiny_voice import AUDIO, SEMANTIC, build_voice

from spear.bridge.model import Bridge, BridgeConfig
from spear.codec.model import CompactCodec, CompactCodecConfig
from spear.semantic_to_acoustic.conditioning import ConditioningConfig
from spear.semantic_to_acoustic.masked import MaskedSemanticToAcoustic, MaskedSemanticToAcousticConfig
from spear.semantic_to_acoustic.model import SemanticToAcoustic, SemanticToAcousticConfig
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from speech.modules.style_pooling import StylePoolingConfig
from speech.semantic.quantizer import SemanticQuantizer, SemanticQuantizerConfig

CODEC = CompactCodecConfig(
    encoder_width=16, encoder_layers=3, latent=16, n_codebooks=4, codebook_size=16, codebook_dim=4, width=16, layers=1
)  # fmt: skip


def build_spear_voice(folder: Path, base: Path | None = None, **changes) -> Path:
    """Writes a token voice with random weights, and its base voice beside it unless one is given; returns the folder."""
    base = base or build_voice(folder.parent / "tiny", "lite")
    torch.manual_seed(0)
    quantizer = SemanticQuantizer(SemanticQuantizerConfig(SEMANTIC, 16, rate_hz=25)).eval()
    quantizer.fit(lambda: [torch.randn(SEMANTIC.dim, 400)], passes=2)
    quantizer.save_pretrained(folder / "tokenizer")
    codec = CompactCodec(CODEC)
    codec.save_pretrained(folder / "codec")
    reader = TextToSemantic(
        TextToSemanticConfig(
            quantizer.spec, width=16, heads=2, layers=2, rate_bins=4, max_text=300, max_semantic=40
        )
    )
    reader.save_pretrained(folder / "t2s")
    conditioning = ConditioningConfig(audio=AUDIO, style=StylePoolingConfig(AUDIO.n_mels, 8, 1, 6))
    sizes = {
        "tokens": quantizer.spec,
        "codec": codec.spec,
        "conditioning": conditioning,
        "n_codebooks": 4,
        "width": 16,
        "heads": 2,
    }
    SemanticToAcoustic(
        SemanticToAcousticConfig(**sizes, encoder_layers=1, layers=1, code_dim=8)
    ).save_pretrained(folder / "s2a")
    MaskedSemanticToAcoustic(MaskedSemanticToAcousticConfig(**sizes, layers=1)).save_pretrained(
        folder / "soundstorm"
    )
    Bridge(
        BridgeConfig(quantizer.spec, AUDIO, None, width=16, token_layers=1, layers=1, pitch_layers=1)
    ).save_pretrained(folder / "bridge")
    values = {
        "format": 1, "name": "tiny-spear", "base": base.name, "tokenizer": "tokenizer", "text_to_semantic": "t2s",
        "semantic_to_acoustic": "s2a", "masked": "soundstorm", "codec": "codec", "bridge": "bridge",
    }  # fmt: skip
    (folder / "spear.json").write_text(json.dumps(values | changes))
    return folder
