"""The published synthesizer checkpoint (spec sections 4 and 12): 2222 tensors, used bare or under the key `model`."""

from hierspeech.official.rename import AMP_BLOCKS, FLOW, STYLE_ENCODER, TRANSFORMER, renamer
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig

MODEL = HierSpeech

# The published names look swapped: `pre_source` and `source_enc` take the semantic features, `*filter*` the pitch.
SEMANTIC_ENCODER = (
    (r"\.pre_source\.", ".semantic_pre."),
    (r"\.pre_filter\.", ".f0_pre."),
    (r"\.source_enc\.", ".semantic_net."),
    (r"\.filter_enc\.", ".f0_net."),
    (r"^(semantic_\w+)\.enc\.", r"\1.joint_net."),
)

rename = renamer(
    [
        *STYLE_ENCODER,
        (r"^enc_p_l\.", "semantic_prior."),
        (r"^enc_p\.", "semantic_posterior."),
        *SEMANTIC_ENCODER,
        (r"^enc_q\.pre\.", "posterior.spec_pre."),
        (r"^enc_q\.enc\.", "posterior.spec_net."),
        (r"^enc_q\.down_pre\.", "posterior.wave_pre."),
        (r"^enc_q\.", "posterior."),
        (r"^flow_l\.", "flow_semantic."),
        (r"^flow\.", "flow_acoustic."),
        *FLOW,
        (r"^mel_decoder\.", "prosody_decoder."),
        *TRANSFORMER,
        (r"^sn\.", "source."),
        (r"^dec\.proj\.", "generator.source_proj."),
        (r"^dec\.downs\.residual_dense\.", "generator.source_down.residual."),
        (r"^dec\.downs\.conv\.", "generator.source_down.convs."),
        (r"^dec\.", "generator."),
        *AMP_BLOCKS,
        (r"^emb\.weight$", "null_style"),
    ]
)


def config() -> HierSpeechConfig:
    """The configuration of all published synthesizers."""
    return HierSpeechConfig()
