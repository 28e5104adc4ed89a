"""The alias-free activation and AMP blocks on a GPU: one kernel an activation, convolutions by the framework.

With Triton the activation is one pass (`activation_triton.py`), without it the twin in torch (`polyphase.py`). Biases of the
convolutions are added where the next kernel reads, not in a pass of their own. With 16 bits the rule of the compiled CPU kernels
holds (docs/performance_kernels.md): some rounds stay fp32, the others multiply what differs from silence. Here these 16 bits are
fp16's: what a convolution makes is rounded to them as well, and bf16 then costs 0.8 dB of the published SpeechSR-48k, fp16 0.1 at the
same speed. B batch, C channels, T samples, K taps.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.kernels import build
from speech.kernels.amp_blocks import round_taps, stays_fp32
from speech.kernels.polyphase import polyphase_activation
from speech.modules.snake import Activation1d

HALF = torch.float16
DEVICES = {"cuda"}  # types of devices that take this path


@functools.cache
def has_triton(device: torch.device) -> bool:
    """Whether the Triton kernel runs on this device; not looked for where HIERSPEECH_KERNELS=torch.

    Raises:
        ValueError: HIERSPEECH_KERNELS is unknown, or "native" where the kernel does not run.
    """
    choice = build.chosen()
    if choice == "torch" or device.type != "cuda":
        return False
    problem = "the package triton is not installed"
    if importlib.util.find_spec("triton") is not None:
        try:
            from speech.kernels.activation_triton import triton_activation

            if _triton_is_right(triton_activation, device):
                return True
            problem = "its outputs were not those of its twin"
        except (
            Exception
        ) as error:  # Triton raises classes of its own, by version; whatever it is, the twin runs
            problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if choice == "auto":  # a package that is not there is no news
            print(
                f"hierspeech: no Triton kernel, its twin in torch runs instead ({problem}).", file=sys.stderr
            )
    if choice == "native":
        raise ValueError(f"HIERSPEECH_KERNELS is 'native', expected a working Triton on a GPU: {problem}.")
    return False


def _triton_is_right(kernel: Callable[..., Tensor], device: torch.device) -> bool:
    """Whether the kernel gives on this device what the twin in torch gives: noise of two lengths, both ends."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 700, generator=draw).to(device)
    activation = Activation1d(3).to(device).eval()
    snake, lengths = activation.act, torch.tensor([700, 411], dtype=torch.int32, device=device)
    mask = (torch.arange(700, device=device) < lengths[:, None])[:, None]
    with torch.no_grad():
        expected = polyphase_activation(activation, x, mask)
        return torch.allclose(kernel(x, snake.alpha, snake.beta, lengths), expected, atol=1e-4)


def gpu_activation(
    activation: Activation1d,
    x: Tensor,
    lengths: Tensor | None = None,
    bias: Tensor | None = None,
    rest: Tensor | None = None,
    padding: int = 0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`activation_triton.triton_activation`, or the same in torch: x [B, C, T] -> [B, C, padding + T + padding]."""
    snake = activation.act
    if has_triton(x.device):
        from speech.kernels.activation_triton import triton_activation

        return triton_activation(x.contiguous(), snake.alpha, snake.beta, lengths, bias, rest, padding, dtype)
    dtype, x = dtype or x.dtype, x.float()
    if bias is not None:
        x = x + bias[:, None]
    mask = None
    if lengths is not None:
        mask = (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None]
    y = F.pad(polyphase_activation(activation, x, mask), (padding, padding))
    return (y if rest is None else y - rest[:, None]).to(dtype)


def mask_lengths(mask: Tensor | None) -> Tensor | None:
    """mask [B, 1, T] or None -> lengths [B] int32 or None."""
    return None if mask is None else mask[:, 0].sum(-1, dtype=torch.int32)


@dataclass
class HalfConvolution:
    """A convolution of what differs from `rest` [C], which its input is while nothing sounds."""

    weight: Tensor  # HALF [C, C, K]
    bias: Tensor  # [C] float32, with what the convolution makes of `rest`
    rest: Tensor  # [C] float32, numbers that HALF holds exactly


class HalfRounds:
    """Packed weights of the rounds that multiply in HALF: of block b and round i, `rounds[b][i]`, two convolutions or None.

    Args:
        blocks: AMP blocks.
        silence: [C] that the blocks get while nothing sounds, where that is known.
    """

    def __init__(self, blocks: nn.ModuleList, silence: Tensor | None):
        longest = max(block.convs1[0].kernel_size[0] for block in blocks)
        self.rounds = [self._block(block, silence, longest) for block in blocks]

    def _block(self, block: nn.Module, silence: Tensor | None, longest: int) -> list[tuple | None]:
        last, kernel = len(block.convs1) - 1, block.convs1[0].kernel_size[0]
        parts = zip(block.activations1, block.convs1, block.activations2, block.convs2, strict=True)
        rounds = []
        for number, (activation1, conv1, activation2, conv2) in enumerate(parts):
            rest1, after = at_rest(activation1, conv1, silence)
            rest2, after = at_rest(activation2, conv2, after)
            silence = None if silence is None else silence + after
            kept = stays_fp32(number, last, kernel == longest, silent=False)
            rounds.append(None if kept else (_half(conv1, rest1), _half(conv2, rest2)))
        return rounds


def at_rest(activation: Activation1d, conv: nn.Conv1d, x: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """x [C] for ever -> what the activation makes of it, rounded to HALF, and what the convolution makes of that; None = unknown."""
    weight = conv.weight.detach().float()
    if x is None:
        return weight.new_zeros(conv.in_channels), None
    alpha, beta = activation.act.alpha.detach().float().exp(), activation.act.beta.detach().float().exp()
    activated = x + (alpha * x).sin().square() / (beta + 1e-9)
    after = weight.sum(-1) @ activated + conv.bias.detach().float()
    return activated.to(HALF).float(), after


def _half(conv: nn.Conv1d, rest: Tensor) -> HalfConvolution:
    weight = conv.weight.detach().float()
    bias = conv.bias.detach().float() + weight.sum(-1) @ rest
    return HalfConvolution(round_taps(weight, HALF), bias, rest.contiguous())


def gpu_blocks(blocks: nn.Module, x: Tensor, mask: Tensor | None, packed: HalfRounds | None) -> Tensor:
    """The mean of AMP blocks: `MultiKernelBlock.mean` of x [B, C, T], mask [B, 1, T] or None -> [B, C, T] float32.

    Args:
        packed: weights of the rounds in HALF; None = all rounds in fp32.
    """
    lengths = mask_lengths(mask)
    total, biases = None, None
    for number, block in enumerate(blocks.blocks):
        y, bias = _block(block, x, lengths, None if packed is None else packed.rounds[number])
        total = y if total is None else total.add_(y)
        biases = bias if biases is None else biases + bias
    count = len(blocks.blocks)
    return torch.add((biases / count)[:, None], total, alpha=1 / count)


def _block(
    block: nn.Module, x: Tensor, lengths: Tensor | None, packed: list[tuple | None] | None
) -> tuple[Tensor, Tensor]:
    """One AMP block -> its output [B, C, T] without the biases of residuals, and their sum [C]."""
    parts = zip(block.activations1, block.convs1, block.activations2, block.convs2, strict=True)
    y, due = x, None  # `due`: biases that were not added to y yet
    for number, (activation1, conv1, activation2, conv2) in enumerate(parts):
        half = None if packed is None else packed[number]
        z, bias1 = _convolve(activation1, conv1, y, lengths, due, half and half[0])
        z, bias2 = _convolve(activation2, conv2, z, lengths, bias1, half and half[1])
        y = y + z if number == 0 else y.add_(z)  # the first y is the caller's
        due = bias2 if due is None else due + bias2
    return y, due


def _convolve(
    activation: Activation1d, conv: nn.Conv1d, x: Tensor, lengths: Tensor | None, bias: Tensor | None, half: HalfConvolution | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Activation of x + bias and a convolution -> [B, C, T] without its own bias, and that [C]."""
    padding, dilation = conv.padding[0], conv.dilation
    if half is None:
        activated = gpu_activation(activation, x, lengths, bias, dtype=torch.float32)
        return F.conv1d(activated, conv.weight, None, 1, padding, dilation), conv.bias
    # silence is not zero here, so what lies outside the signal is written by the kernel
    activated = gpu_activation(activation, x, lengths, bias, half.rest, padding, HALF)
    return F.conv1d(activated, half.weight, None, 1, 0, dilation), half.bias
