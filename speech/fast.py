"""Prepares a trained model for inference: weight norm folded, and the fast form of its AMP blocks chosen.

On a CPU the compiled kernel runs where a C++ compiler is found (speech/kernels/build.py), its twin in torch otherwise; on a GPU
a Triton kernel or that twin, and parts of models as CUDA graphs (speech/capture). Outputs equal the plain layers' to 1e-4 in
fp32; docs/performance_kernels.md has the speeds, docs/performance_gpu.md what runs on a GPU.
"""

import torch
from torch import Tensor, nn

from speech.capture.buckets import Captured
from speech.kernels import build, gpu, prepacked, upsampling
from speech.kernels.amp_blocks import PackedActivation, PackedAMPBlocks, fits, has_bf16
from speech.kernels.packing import Packing
from speech.kernels.polyphase import polyphase_activation, tiled_blocks
from speech.modules.resblocks import AMPBlock, MultiKernelBlock
from speech.modules.snake import Activation1d
from speech.modules.weight_norm import fold_weight_norm

LEAST_BF16_WEIGHTS = 1_000_000  # smaller flows and WaveNets, as the lite voice's, gain no time by bf16
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def prepare_for_inference(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Make `module` as fast as this machine allows; in place, may be called again (with another dtype, too).

    Weights stay what and where they are, and may change or move afterwards. On a GPU parts of the model are recorded as CUDA
    graphs when they are first needed, unless HIERSPEECH_GRAPHS=off. While gradients are enabled, in training mode
    and in exports the plain layers run.

    Args:
        module: any model.
        dtype: `torch.bfloat16` multiplies in bf16 (on a GPU: fp16, speech/kernels/gpu.py) and sums in fp32 inside AMP blocks,
            where the processor can, and on such a CPU in large flows and WaveNets (parts with a `bf16`), too; all else, inputs
            and outputs stay fp32.

    Returns:
        `module`, in eval mode.

    Raises:
        ValueError: another dtype, or a HIERSPEECH_KERNELS that cannot be met.
    """
    if dtype not in PRECISIONS.values():
        raise ValueError(f"dtype is {dtype}, expected torch.float32 or torch.bfloat16.")
    fold_weight_norm(module.eval())
    silences: dict[
        nn.Module, Tensor
    ] = {}  # models that know it say what their blocks get while nothing sounds
    for part in module.modules():
        if hasattr(part, "inputs_in_silence"):
            silences |= part.inputs_in_silence()
    packing = prepacked.available() and not getattr(module, "keeps_plain_layers", False)
    for part in module.modules():
        if isinstance(part, MultiKernelBlock) and all(isinstance(block, AMPBlock) for block in part.blocks):
            part.fast = FastBlocks(dtype == torch.bfloat16, silences.get(part))
        elif isinstance(part, Activation1d):
            part.fast = FastActivation()
        elif packing and prepacked.suits(part):
            prepacked.attach(part, prepacked.PackedLayer())
        elif upsampling.suits(part):
            prepacked.attach(part, FastUpsampling())
        if hasattr(part, "bf16"):
            weights = sum(parameter.numel() for parameter in part.parameters())
            part.bf16 = dtype == torch.bfloat16 and weights >= LEAST_BF16_WEIGHTS and has_bf16()
        if hasattr(part, "capturable_parts"):
            part.captured = Captured(part.capturable_parts())
    return module


class FastBlocks(Packing):
    """Runs a `MultiKernelBlock` of AMP blocks; called with it, x [B, C, T] and a mask [B, 1, T] or None.

    `silence` [C] is what it gets while nothing sounds, if that is known: bf16 is rounded relative to it.
    """

    def __init__(self, bf16: bool, silence: Tensor | None = None) -> None:
        super().__init__()
        self.bf16 = bf16
        self.silence = None if silence is None else silence.detach().float().cpu().clone()

    def __call__(self, blocks: MultiKernelBlock, x: Tensor, mask: Tensor | None) -> Tensor:
        if x.device.type in gpu.DEVICES:
            packed = self._pack(blocks, lambda: self._half_rounds(blocks, x.device)) if self.bf16 else None
            return gpu.gpu_blocks(blocks, x, mask, packed)
        if x.device.type != "cpu":
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
                return blocks.mean(x, mask).float()
        if build.library() is None or not fits(blocks):
            return tiled_blocks(blocks, x, mask)
        return self._pack(blocks, lambda: PackedAMPBlocks(blocks.blocks, self.bf16, self.silence))(x, mask)

    def _half_rounds(self, blocks: MultiKernelBlock, device: torch.device) -> gpu.HalfRounds:
        return gpu.HalfRounds(blocks.blocks, None if self.silence is None else self.silence.to(device))


class FastActivation(Packing):
    """Runs an `Activation1d`; called with it, x [B, C, T] and a mask [B, 1, T] or None."""

    def __call__(self, activation: Activation1d, x: Tensor, mask: Tensor | None) -> Tensor:
        if x.device.type in gpu.DEVICES:
            return gpu.gpu_activation(activation, x, gpu.mask_lengths(mask))
        if x.device.type != "cpu":
            return activation.plain(x, mask)
        if build.library() is None:
            return polyphase_activation(activation, x, mask)
        return self._pack(activation, lambda: PackedActivation(activation))(x, mask)

    def into(self, activation: Activation1d, conv: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
        """conv(activation(x, mask)) for a convolution to one channel; of other ones, too, but then in two steps."""
        kernels = x.device.type == "cpu" and x.device.type not in gpu.DEVICES and build.library() is not None
        if not kernels or not _into_one(conv):
            return conv(self(activation, x, mask))
        packed = self._pack(activation, lambda: PackedActivation(activation))
        return packed.into_one(x, mask, conv.weight)


class FastUpsampling(Packing):
    """Runs a transposed convolution that the compiled kernel can; called with it and x [B, C, T] on a CPU."""

    def __call__(self, layer: nn.ConvTranspose1d, x: Tensor) -> Tensor:
        if x.dtype != torch.float32 or not x.numel() or build.library() is None:
            return nn.ConvTranspose1d.forward(layer, x)
        return self._pack(layer, lambda: upsampling.PackedUpsampling(layer))(x)


def _into_one(conv: nn.Module) -> bool:
    """Whether `conv` makes one channel of as many samples as it gets, without a bias."""
    if type(conv) is not nn.Conv1d or conv.out_channels > 1 or conv.bias is not None or conv.groups > 1:
        return False
    same = conv.stride == conv.dilation == (1,) and conv.padding_mode == "zeros"
    same = same and conv.kernel_size[0] <= build.library().most_taps()
    return same and not isinstance(conv.padding, str) and 2 * conv.padding[0] + 1 == conv.kernel_size[0]
