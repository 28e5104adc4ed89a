"""Text-to-vec in training, made audible by a trained synthesizer that it is given from outside."""

from collections.abc import Callable

from torch import Tensor

# semantic [1, C, N], log_f0 [1, 1, 4N], log-mel of the prompt [1, M, P] -> wav [1, T]
Speak = Callable[[Tensor, Tensor, Tensor], Tensor]


def add_speech(
    writer, step: int, speak: Speak, prompt: Tensor, rate: int, **said: tuple[Tensor, Tensor]
) -> None:
    """Write the sound of features and their log F0, each pair under its name, to a TensorBoard writer."""
    for name, (semantic, log_f0) in said.items():
        writer.add_audio(name, speak(semantic, log_f0, prompt).clamp(-1, 1).cpu(), step, rate)
