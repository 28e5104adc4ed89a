"""The published denoiser (MP-SENet, hand-over section 7): `g_best`, 353 tensors under the key `generator`."""

from denoiser.model import Denoiser, DenoiserConfig
from hierspeech.official.rename import renamer

MODEL = Denoiser

# The places of conv, norm and activation in a Sequential.
_CONV_NORM_ACT = tuple(
    (rf"((?:^encoder\.input|^encoder\.down|\.stages\.\d+|^phase_decoder\.up)\.){i}\.", rf"\1{name}.")
    for i, name in enumerate(("conv", "norm", "activation"))
)

rename = renamer(
    [
        (r"^dense_encoder\.", "encoder."),
        (r"^mask_decoder\.", "magnitude_decoder."),
        (r"\.dense_conv_1\.", ".input."),
        (r"\.dense_conv_2\.", ".down."),
        (r"\.dense_block\.dense_block\.", ".dense.stages."),
        (r"\.phase_conv\.", ".up."),
        (r"\.phase_conv_r\.", ".real."),
        (r"\.phase_conv_i\.", ".imaginary."),
        *_CONV_NORM_ACT,
        (r"\.mask_conv\.0\.", ".up."),
        (r"\.mask_conv\.1\.", ".squeeze.conv."),
        (r"\.mask_conv\.2\.", ".squeeze.norm."),
        (r"\.mask_conv\.3\.", ".squeeze.activation."),
        (r"\.mask_conv\.4\.", ".out."),
        (r"\.lsigmoid\.slope$", ".slope"),
        (r"^TSConformer\.", "blocks."),
        (r"\.time_conformer\.", ".time."),
        (r"\.freq_conformer\.", ".frequency."),
        (r"\.post_norm\.", ".norm."),
        (r"\.ffm([12])\.ffm\.0\.", r".feed_forward\1.norm."),
        (r"\.ffm([12])\.ffm\.1\.", r".feed_forward\1.expand."),
        (r"\.ffm([12])\.ffm\.4\.", r".feed_forward\1.project."),
        (r"\.attn\.layernorm\.", ".attention.norm."),
        (r"\.attn\.attn\.in_proj_", ".attention.qkv."),
        (r"\.attn\.attn\.out_proj\.", ".attention.out."),
        (r"\.ccm\.ccm\.0\.", ".convolution.norm."),
        (r"\.ccm\.ccm\.2\.", ".convolution.expand."),
        (r"\.ccm\.ccm\.4\.", ".convolution.depthwise."),
        (r"\.ccm\.ccm\.5\.", ".convolution.batch_norm."),
        (r"\.ccm\.ccm\.7\.", ".convolution.project."),
    ]
)


def config() -> DenoiserConfig:
    """The published configuration; its weights have learnt with the axes of attention crossed."""
    return DenoiserConfig(crossed_attention=True)
