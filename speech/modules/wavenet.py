"""WaveNet stack without dilation, conditioned on a style vector (WaveGlow / VITS "WN"; section 3.2)."""

import torch
from torch import Tensor, nn

from speech.modules.weight_norm import weight_norm
from speech.precision import multiplying_in_bf16


class WaveNet(nn.Module):
    """Gated convolutions with residual and skip paths; the sum of the skips is the output.

    Args:
        hidden: channels in and out.
        kernel_size: odd width of the gated convolutions, in frames.
        n_layers: number of gated convolutions.
        style_channels: size of the style vector, 0 for none.
        dropout: probability after each gate.
    """

    def __init__(
        self, hidden: int, kernel_size: int, n_layers: int, style_channels: int = 0, dropout: float = 0.0
    ):
        super().__init__()
        self.hidden = hidden
        self.n_layers = n_layers
        self.bf16 = False  # of the products, without gradients; set by speech/fast.py
        self.cond_layer = None
        if style_channels:
            self.cond_layer = weight_norm(nn.Conv1d(style_channels, 2 * hidden * n_layers, 1))
        self.in_layers = nn.ModuleList(
            weight_norm(nn.Conv1d(hidden, 2 * hidden, kernel_size, padding=kernel_size // 2))
            for _ in range(n_layers)
        )
        # The last layer feeds nothing but the output, so it has no residual half.
        widths = [2 * hidden] * (n_layers - 1) + [hidden]
        self.res_skip_layers = nn.ModuleList(weight_norm(nn.Conv1d(hidden, width, 1)) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        """Run the stack.

        Args:
            x: [B, hidden, N], zero where the mask is False.
            mask: [B, 1, N], True (or 1) = valid; None if every frame is valid.
            style: [B, style_channels, 1], required if the stack was built with a style.

        Returns:
            [B, hidden, N], zero where the mask is False.
        """
        if (style is None) != (self.cond_layer is None):
            raise ValueError(
                f"style is {'missing' if style is None else 'given'}, but the WaveNet was built otherwise"
            )
        with multiplying_in_bf16(self.bf16, x):
            return self._run(x, mask, style)

    def _run(self, x: Tensor, mask: Tensor | None, style: Tensor | None) -> Tensor:
        styles = [None] * self.n_layers
        if self.cond_layer is not None:
            styles = self.cond_layer(style).chunk(self.n_layers, dim=1)  # n_layers of [B, 2 * hidden, 1]
        output = None
        for i, (in_layer, res_skip_layer) in enumerate(
            zip(self.in_layers, self.res_skip_layers, strict=True)
        ):
            gate = in_layer(x) if styles[i] is None else in_layer(x) + styles[i]
            content, switch = gate.chunk(2, dim=1)
            y = res_skip_layer(self.dropout(torch.tanh(content) * torch.sigmoid(switch)))
            if i < self.n_layers - 1:
                residual, y = y.chunk(2, dim=1)
                x = x + residual if mask is None else (x + residual) * mask
            y = y.to(x.dtype)  # a sum of bf16 would lose its last bits layer by layer
            output = y if output is None else output + y
        return output if mask is None else output * mask
