"""The Triton activation against the plain layer, one line a case; run with TRITON_INTERPRET=1 where there is no GPU."""

import sys

import torch

from speech.kernels.activation_triton import BLOCK, triton_activation
from speech.modules.snake import Activation1d

LENGTHS = (1, 2, 3, 4, 5, 6, 9, 50, BLOCK - 1, BLOCK + 6, 2 * BLOCK + 37)


def error(ours, expected):
    return float((ours.float() - expected).abs().max())


@torch.no_grad()
def main(device):
    """Prints "name error" of every case."""
    torch.manual_seed(0)
    activation = Activation1d(3)
    for parameter in activation.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    snake, bias, rest = (
        activation.to(device).act,
        torch.randn(3, device=device),
        torch.randn(3, device=device),
    )
    for samples in LENGTHS:
        x = 2 * torch.randn(2, 3, samples, device=device)
        lengths = torch.tensor([samples, samples // 3], dtype=torch.int32, device=device)
        mask = (torch.arange(samples, device=device) < lengths[:, None])[:, None]
        whole, masked = activation.plain(x), activation.plain(x, mask)
        masked[1] = 0 if not lengths[1] else masked[1]
        print("whole", error(triton_activation(x, snake.alpha, snake.beta), whole))
        print("masked", error(triton_activation(x, snake.alpha, snake.beta, lengths), masked))
        wide = (
            torch.nn.functional.pad(activation.plain(x + bias[:, None], mask) * mask, (7, 7)) - rest[:, None]
        )
        ours = triton_activation(x, snake.alpha, snake.beta, lengths, bias, rest, 7)
        assert ours.shape == (2, 3, samples + 14)
        print("padded", error(ours, wide))
    for dtype in (torch.bfloat16, torch.float16):
        small = x.to(dtype)
        ours = triton_activation(small, snake.alpha, snake.beta)
        assert ours.dtype == dtype
        # rounded once, at the end
        print(str(dtype), error(ours, activation.plain(small.float()).to(dtype).float()))
        mixed = triton_activation(small, snake.alpha, snake.beta, dtype=torch.float32)
        print("mixed", error(mixed, activation.plain(small.float())))
    loud = 100 * torch.randn(1, 3, 300, device=device)  # many turns of the sine
    print("loud", error(triton_activation(loud, snake.alpha, snake.beta), activation.plain(loud)) / 10)


if __name__ == "__main__":
    main(sys.argv[1])
