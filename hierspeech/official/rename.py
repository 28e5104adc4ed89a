"""Rename tables: pairs of (regular expression, replacement), applied in order to every official key."""

import re
from collections.abc import Callable, Sequence

Rules = Sequence[tuple[str, str]]

STYLE_ENCODER: Rules = (
    (r"^emb_g\.temporal\.(\d+)\.conv1\.", r"style_encoder.temporal.\1.conv."),
    (r"^emb_g\.slf_attn\.", "style_encoder.attention."),
    (r"^emb_g\.fc\.", "style_encoder.proj."),
    (r"^emb_g\.", "style_encoder."),
)

# Of modules whose name starts with "flow": even entries of `flows` are couplings, odd ones are flips without weights.
FLOW: Rules = tuple((rf"^(flow\w*)\.flows\.{2 * i}\.", rf"\1.couplings.{i}.") for i in range(4)) + (
    (r"\.enc_block\.", ".blocks."),
    (r"\.adaLN_modulation\.", ".modulation."),
    (r"\.cond_block\.", ".style_proj."),
)

# Below the name of a transformer encoder.
TRANSFORMER: Rules = (
    (r"\.attn_layers\.", ".attention."),
    (r"\.norm_layers_1\.(\d+)\.gamma$", r".attention_norm.\1.weight"),
    (r"\.norm_layers_1\.(\d+)\.beta$", r".attention_norm.\1.bias"),
    (r"\.ffn_layers\.", ".feed_forward."),
    (r"\.norm_layers_2\.(\d+)\.gamma$", r".feed_forward_norm.\1.weight"),
    (r"\.norm_layers_2\.(\d+)\.beta$", r".feed_forward_norm.\1.bias"),
)

# The list of residual blocks runs over stages and, within a stage, over three kernel sizes; of a block's six
# activations the even ones come first in their round and the odd ones second.
RESIDUAL_BLOCKS: Rules = tuple(
    (rf"\.resblocks\.{i}\.", f".stages.{i // 3}.blocks.{i % 3}.") for i in range(15)
)
AMP_BLOCKS: Rules = RESIDUAL_BLOCKS + tuple(
    (rf"(\.blocks\.\d+)\.activations\.{i}\.", rf"\1.activations{i % 2 + 1}.{i // 2}.") for i in range(6)
)


def renamer(rules: Rules) -> Callable[[str], str]:
    """The function that applies `rules` in order; a key that no rule matches comes back unchanged."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(key: str) -> str:
        for pattern, replacement in compiled:
            key = pattern.sub(replacement, key)
        return key

    return rename
