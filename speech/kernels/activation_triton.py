"""The alias-free activation as one Triton kernel for GPUs: both filters and the sine in one pass over the signal.

Twin of `polyphase.py` and of the activation in `amp_blocks.cpp` (same polyphase form, same polynomial). Whatever the doubled
signal holds stays in registers: a lane makes four neighbouring samples from 14 and works out nine even and nine odd phases
for them, 4.5 sines a sample where one sample alone would take 12. Import this module inside functions only: triton is not
everywhere. With TRITON_INTERPRET=1 it runs on a CPU, slowly. B batch, C channels, T samples.
"""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from speech.modules.snake import lowpass_taps

LANES = 256  # of a program; each makes four samples
BLOCK = 4 * LANES
# The 12 taps are symmetric, so these are all of them.
H0, H1, H2, H3, H4, H5 = (tl.constexpr(tap) for tap in lowpass_taps()[:6].tolist())
TO_TURNS = tl.constexpr(0.318309886)  # 1 / pi: a squared sine has the period pi
ROUND = tl.constexpr(12582912.0)  # 1.5 * 2^23: adding it rounds to a whole number
PI_HIGH, PI_LOW = tl.constexpr(3.140625), tl.constexpr(9.67653589793e-4)


def triton_activation(
    x: Tensor,
    log_alpha: Tensor,
    log_beta: Tensor,
    lengths: Tensor | None = None,
    bias: Tensor | None = None,
    rest: Tensor | None = None,
    padding: int = 0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The activation of x + bias, less `rest`; where no signal is, that is 0 less `rest`.

    Args:
        x: [B, C, T] contiguous, float32, bfloat16 or float16; computed in float32.
        log_alpha, log_beta: [C] float32, as `SnakeBeta` stores them.
        lengths: [B] int32, samples of each row; None = all T.
        bias: [C] float32, added to x; None = nothing.
        rest: [C] float32; None = 0.
        padding: samples to make on either side of the signal, which a convolution without padding of its own reads.
        dtype: of the result; None = that of x.

    Returns:
        [B, C, padding + T + padding].
    """
    batch, channels, samples = x.shape
    out = torch.empty(batch, channels, samples + 2 * padding, dtype=dtype or x.dtype, device=x.device)
    grid = (triton.cdiv(samples + 2 * padding, BLOCK), channels, batch)
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        _kernel[grid](
            out, x, log_alpha, log_beta, lengths, bias, rest, samples, padding,
            HAS_LENGTHS=lengths is not None, HAS_BIAS=bias is not None, HAS_REST=rest is not None, LANES=LANES,
            num_warps=4, enable_fp_fusion=True,
        )  # fmt: skip
    return out


@triton.jit
def _phase(a, b, c, d, e, f, even: tl.constexpr):
    """One sample of the doubled signal before the sine; twice the taps, since every other sample of it was stuffed with 0."""
    if even:
        y = H0 * a + H2 * b + H4 * c + H5 * d + H3 * e + H1 * f
    else:
        y = H1 * a + H3 * b + H5 * c + H4 * d + H2 * e + H0 * f
    return y + y


@triton.jit
def _down(a, b, c, d, e, f, g, h, i, j, k, m):
    """One sample from six even phases, then six odd ones."""
    even = H1 * a + H3 * b + H5 * c + H4 * d + H2 * e + H0 * f
    return even + (H0 * g + H2 * h + H4 * i + H5 * j + H3 * k + H1 * m)


@triton.jit
def _snake(x, alpha, inverse_beta):
    a = x * alpha
    turns = (a * TO_TURNS + ROUND) - ROUND
    r = a - turns * PI_HIGH
    r = r - turns * PI_LOW
    s = r * r  # minimax polynomial of sin on [-pi/2, pi/2]
    p = s * 2.60831598e-6 - 1.981069071e-4
    p = p * s + 8.33307858e-3
    p = p * s - 1.66666597e-1
    sine = r + r * (p * s)
    return x + sine * sine * inverse_beta


@triton.jit
def _read(x_row, t, last, bias):
    """x at the times t, whose ends are held."""
    return tl.load(x_row + tl.minimum(tl.maximum(t, 0), last)).to(tl.float32) + bias


@triton.jit
def _ends(value, t, length, first_phase, last_phase):
    """The doubled signal at the times t goes on outside as its first and last samples."""
    return tl.where(t < 0, first_phase, tl.where(t >= length, last_phase, value))


@triton.jit(do_not_specialize=["samples", "padding"])  # new lengths must not compile anew
def _kernel(
    out_ptr, x_ptr, log_alpha_ptr, log_beta_ptr, lengths_ptr, bias_ptr, rest_ptr, samples, padding,
    HAS_LENGTHS: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_REST: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    channel, item = tl.program_id(1), tl.program_id(2)
    row = item.to(tl.int64) * tl.num_programs(1) + channel
    x_row = x_ptr + row * samples
    length = samples
    if HAS_LENGTHS:
        length = tl.load(lengths_ptr + item)
    last = tl.maximum(length - 1, 0)
    bias = 0.0
    if HAS_BIAS:
        bias = tl.load(bias_ptr + channel)
    rest = 0.0
    if HAS_REST:
        rest = tl.load(rest_ptr + channel)
    alpha = tl.exp(tl.load(log_alpha_ptr + channel))
    inverse_beta = 1.0 / (tl.exp(tl.load(log_beta_ptr + channel)) + 1e-9)

    # what the lower filter reads before the signal, and behind it
    f0, f1, f2 = _read(x_row, 0, last, bias), _read(x_row, 1, last, bias), _read(x_row, 2, last, bias)
    first = _snake(_phase(f0, f0, f0, f0, f1, f2, True), alpha, inverse_beta)
    l0, l1, l2 = (
        _read(x_row, last, last, bias),
        _read(x_row, last - 1, last, bias),
        _read(x_row, last - 2, last, bias),
    )
    final = _snake(_phase(l2, l1, l0, l0, l0, l0, False), alpha, inverse_beta)

    t = (tl.program_id(0) * LANES + tl.arange(0, LANES)) * 4 - padding
    x0, x1 = _read(x_row, t - 5, last, bias), _read(x_row, t - 4, last, bias)
    x2, x3 = _read(x_row, t - 3, last, bias), _read(x_row, t - 2, last, bias)
    x4, x5 = _read(x_row, t - 1, last, bias), _read(x_row, t, last, bias)
    x6, x7 = _read(x_row, t + 1, last, bias), _read(x_row, t + 2, last, bias)
    x8, x9 = _read(x_row, t + 3, last, bias), _read(x_row, t + 4, last, bias)
    x10, x11 = _read(x_row, t + 5, last, bias), _read(x_row, t + 6, last, bias)
    x12, x13 = _read(x_row, t + 7, last, bias), _read(x_row, t + 8, last, bias)

    e0 = _ends(_snake(_phase(x0, x1, x2, x3, x4, x5, True), alpha, inverse_beta), t - 2, length, first, final)
    e1 = _ends(_snake(_phase(x1, x2, x3, x4, x5, x6, True), alpha, inverse_beta), t - 1, length, first, final)
    e2 = _ends(_snake(_phase(x2, x3, x4, x5, x6, x7, True), alpha, inverse_beta), t, length, first, final)
    e3 = _ends(_snake(_phase(x3, x4, x5, x6, x7, x8, True), alpha, inverse_beta), t + 1, length, first, final)
    e4 = _ends(_snake(_phase(x4, x5, x6, x7, x8, x9, True), alpha, inverse_beta), t + 2, length, first, final)
    e5 = _ends(
        _snake(_phase(x5, x6, x7, x8, x9, x10, True), alpha, inverse_beta), t + 3, length, first, final
    )
    e6 = _ends(
        _snake(_phase(x6, x7, x8, x9, x10, x11, True), alpha, inverse_beta), t + 4, length, first, final
    )
    e7 = _ends(
        _snake(_phase(x7, x8, x9, x10, x11, x12, True), alpha, inverse_beta), t + 5, length, first, final
    )
    e8 = _ends(
        _snake(_phase(x8, x9, x10, x11, x12, x13, True), alpha, inverse_beta), t + 6, length, first, final
    )
    o0 = _ends(
        _snake(_phase(x0, x1, x2, x3, x4, x5, False), alpha, inverse_beta), t - 3, length, first, final
    )
    o1 = _ends(
        _snake(_phase(x1, x2, x3, x4, x5, x6, False), alpha, inverse_beta), t - 2, length, first, final
    )
    o2 = _ends(
        _snake(_phase(x2, x3, x4, x5, x6, x7, False), alpha, inverse_beta), t - 1, length, first, final
    )
    o3 = _ends(_snake(_phase(x3, x4, x5, x6, x7, x8, False), alpha, inverse_beta), t, length, first, final)
    o4 = _ends(
        _snake(_phase(x4, x5, x6, x7, x8, x9, False), alpha, inverse_beta), t + 1, length, first, final
    )
    o5 = _ends(
        _snake(_phase(x5, x6, x7, x8, x9, x10, False), alpha, inverse_beta), t + 2, length, first, final
    )
    o6 = _ends(
        _snake(_phase(x6, x7, x8, x9, x10, x11, False), alpha, inverse_beta), t + 3, length, first, final
    )
    o7 = _ends(
        _snake(_phase(x7, x8, x9, x10, x11, x12, False), alpha, inverse_beta), t + 4, length, first, final
    )
    o8 = _ends(
        _snake(_phase(x8, x9, x10, x11, x12, x13, False), alpha, inverse_beta), t + 5, length, first, final
    )

    y0 = _down(e0, e1, e2, e3, e4, e5, o0, o1, o2, o3, o4, o5)
    y1 = _down(e1, e2, e3, e4, e5, e6, o1, o2, o3, o4, o5, o6)
    y2 = _down(e2, e3, e4, e5, e6, e7, o2, o3, o4, o5, o6, o7)
    y3 = _down(e3, e4, e5, e6, e7, e8, o3, o4, o5, o6, o7, o8)
    # four neighbours side by side, so that a lane writes them at once
    y = tl.interleave(tl.interleave(y0, y2), tl.interleave(y1, y3))
    t = tl.program_id(0) * LANES * 4 + tl.arange(0, LANES * 4)
    y = tl.where((t >= padding) & (t < padding + length), y, 0.0) - rest
    width = samples + 2 * padding
    tl.store(out_ptr + row * width + t, y.to(out_ptr.dtype.element_ty), mask=t < width)
