"""The training path of the hierarchical synthesizer: two latents, each with a posterior, a prior and a flow in between
(paper section 3.2; hand-over section 9.2).

    spec, wav ------------------> z_a  acoustic latent, of which a window is decoded to speech
    features of clean speech ---> z_s  semantic posterior; through the acoustic flow the prior of z_a
    features of perturbed speech  z_p  semantic prior, through the semantic flow of z_s; the one there is at synthesis

B batch, N frames at 50 Hz, W frames of the decoded window, M mel bins, C channels. One call of the model's `forward`
computes all of it, so that a distributed wrapper sees one forward pass for one backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hierspeech.synthesizer.encoders import F0_PER_FRAME
from speech.modules.gaussian import DiagonalGaussian

if TYPE_CHECKING:
    from hierspeech.synthesizer.model import HierSpeech


@dataclass
class VariationalInputs:
    """What `HierSpeech.forward` needs for the whole training step; padded parts are zero."""

    spec: Tensor  # [B, n_fft / 2 + 1, N] linear
    wav: Tensor  # [B, 1, hop_length * N]
    semantic: Tensor  # [B, C, N] features of the speech as it is
    perturbed: Tensor  # [B, C, N] features of the perturbed speech
    log_f0: Tensor  # [B, 1, 4N] of the speech as it is, given to both semantic encoders
    frame_mask: Tensor  # [B, N] bool
    prompt: Tensor  # [B, M, P] log-mel that the style is taken from
    prompt_mask: Tensor  # [B, P] bool
    window_start: Tensor  # [B] frames
    window_frames: int  # W
    null_style: Tensor  # [B] bool: source and generator get the null style
    backward_flows: bool = True  # also send the priors' samples through the inverse flows


@dataclass
class VariationalOutput:
    """Everything that the losses of the step compare."""

    wav: Tensor  # [B, 1, hop_length * W] decoded window
    log_f0: Tensor | None  # [B, 1, 4W] as the source predicts it, None where it takes F0 as given
    prosody: Tensor | None  # [B, bins, N] lowest mel bins, from the semantic posterior's sample
    acoustic: DiagonalGaussian  # posterior of z_a
    semantic: DiagonalGaussian  # posterior of z_s, which is the prior of z_a behind the acoustic flow
    prior: DiagonalGaussian  # prior of z_s, behind the semantic flow
    acoustic_forward: Tensor  # [B, latent, N] z_a in the space of `semantic`
    semantic_forward: Tensor  # [B, latent, N] z_s in the space of `prior`
    acoustic_backward: Tensor | None  # [B, latent, N] z_s in the space of `acoustic`
    semantic_backward: Tensor | None  # [B, latent, N] a sample of `prior` in the space of `semantic`


def variational_forward(model: HierSpeech, inputs: VariationalInputs) -> VariationalOutput:
    """The whole of section 9.2 up to the losses; `model` needs a posterior and a semantic posterior."""
    frame_mask = inputs.frame_mask
    mask = frame_mask[:, None]
    style = model.style_encoder(inputs.prompt, inputs.prompt_mask)
    acoustic = model.encode_posterior(inputs.spec, inputs.wav, style, frame_mask)
    semantic = model.encode_semantic_posterior(inputs.semantic, inputs.log_f0, style, frame_mask)
    prior = model.encode_prior(inputs.perturbed, inputs.log_f0, style, frame_mask)
    z_a, z_s = acoustic.sample(mask=mask), semantic.sample(mask=mask)
    acoustic_backward, semantic_backward = None, None
    if inputs.backward_flows:
        acoustic_backward = model.flow_acoustic.inverse(z_s, mask, style)
        semantic_backward = model.flow_semantic.inverse(prior.sample(mask=mask), mask, style)
    prosody = None
    if model.prosody_decoder is not None:
        prosody = model.prosody_decoder(z_s, mask, style)
    # The encoders and flows keep the style. Every row passes through the choice, so that the null style has a gradient
    # (of zero) in a batch without one, which distributed training needs.
    spoken = torch.where(inputs.null_style[:, None], model.unconditional_style(len(style)), style)
    start, frames = inputs.window_start, inputs.window_frames
    wav, log_f0 = model.decode(
        windows(z_a, start, frames),
        spoken,
        windows(inputs.log_f0, start * F0_PER_FRAME, frames * F0_PER_FRAME),
    )
    return VariationalOutput(
        wav=wav,
        log_f0=log_f0,
        prosody=prosody,
        acoustic=acoustic,
        semantic=semantic,
        prior=prior,
        acoustic_forward=model.flow_acoustic(z_a, mask, style),
        semantic_forward=model.flow_semantic(z_s, mask, style),
        acoustic_backward=acoustic_backward,
        semantic_backward=semantic_backward,
    )


def windows(x: Tensor, start: Tensor, length: int) -> Tensor:
    """x [B, C, time] -> [B, C, length], row b from start[b] on, which must leave `length` steps."""
    index = start[:, None] + torch.arange(length, device=x.device)  # [B, length]
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))
