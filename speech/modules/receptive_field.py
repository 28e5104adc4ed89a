"""How far the output of a waveform network reaches into its input, layer by layer from the output back.

Streaming cuts long inputs into windows with a halo of exactly this reach on either side, so that what a window gives is what the
whole input would give. A reach is in samples at the rate of the layer in question, the same to the left and to the right.
"""

# Of `Activation1d`: sample t needs 2t - 5 .. 2t + 6 of the doubled signal, and those need t - 5 .. t + 5 of the signal.
ACTIVATION_REACH = 5


def conv_reach(kernel_size: int, dilation: int = 1) -> int:
    """Of a convolution with `same` padding and an odd kernel."""
    return kernel_size // 2 * dilation


def amp_reach(kernel_sizes: list[int], dilations: list[int]) -> int:
    """Of a `MultiKernelBlock` of `AMPBlock`s: two activations and two convolutions a round, one round a dilation."""
    kernel_size = max(kernel_sizes)
    return sum(
        2 * ACTIVATION_REACH + conv_reach(kernel_size, dilation) + conv_reach(kernel_size)
        for dilation in dilations
    )


def upsampling_reach(reach: int, kernel_size: int, rate: int) -> int:
    """Through a transposed convolution with padding (kernel_size - rate) / 2: reach behind it -> reach before it."""
    return (reach + (kernel_size + rate) // 2 - 1) // rate
