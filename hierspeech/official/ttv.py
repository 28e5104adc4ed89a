"""The published text-to-vec checkpoint (`ttv_lt960_ckpt.pth`) as a `TTV`."""

from hierspeech.official.rename import FLOW, RESIDUAL_BLOCKS, STYLE_ENCODER, TRANSFORMER, Rules, renamer
from ttv import TTV, TTVConfig

MODEL = TTV

# In the duration flows entry 0 is the affine map, odd entries are couplings, the others flips without weights.
_DURATION: Rules = (
    *((rf"^dp\.((?:post_)?flows)\.{2 * i + 1}\.", rf"dp.\1.couplings.{i}.") for i in range(4)),
    (r"^dp\.((?:post_)?flows)\.0\.m$", r"dp.\1.mean"),
    (r"^dp\.((?:post_)?flows)\.0\.logs$", r"dp.\1.log_scale"),
    (r"^dp\.flows\.", "dp.flow."),
    (r"^dp\.post_flows\.", "dp.posterior_flow."),
    (r"^dp\.post_", "dp.duration_"),
    (r"\.convs_sep\.", ".depthwise."),
    (r"\.convs_1x1\.", ".pointwise."),
    (r"(\.norms_[12]\.\d+)\.gamma$", r"\1.weight"),
    (r"(\.norms_[12]\.\d+)\.beta$", r"\1.bias"),
    (r"^dp\.", "duration_predictor."),
)

_RULES: Rules = (
    *STYLE_ENCODER,
    *_DURATION,  # before FLOW, which would take its `flows` for its own
    *TRANSFORMER,
    *FLOW,
    *RESIDUAL_BLOCKS,
    (r"^pp\.", "pitch_predictor."),
    (r"^enc_p\.emb\.", "enc_p.embedding."),
    (r"^enc_p\.encoder2\.", "enc_p.styled_encoder."),
    (r"^enc_p\.", "text_encoder."),
    (r"^enc_q\.enc\.", "enc_q.wavenet."),
    (r"^enc_q\.", "posterior_encoder."),
    (r"^w2v_decoder\.enc\.", "w2v_decoder.wavenet."),
    (r"^w2v_decoder\.", "semantic_decoder."),
    (r"\.cond\.", ".style_proj."),
)

rename = renamer(_RULES)


def config() -> TTVConfig:
    """The published configuration, which is the default one."""
    return TTVConfig()
