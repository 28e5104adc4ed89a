"""EnCodec at 24 kHz as a codec, through transformers' `EncodecModel` (Defossez et al. 2022; spec sections 4.1 and 4.2).

75 frames a second of up to 32 codebooks of 1024 codes; 2, 4, 8, 16 or 32 of them are 1.5, 3, 6, 12 or 24 kbit/s. Sound comes back through EnCodec's
own decoder or, better at few codebooks, through a Vocos head (`spear/codec/vocos.py`). Its weights are CC-BY-NC: nothing of them is shipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spear.codec.codec import CodecSpec, check_codes
from spear.codec.vocos import Vocos
from speech.hub import is_hub_id
from speech.semantic.loading import load_strictly

PUBLIC = "facebook/encodec_24khz"
NAME = "encodec-24khz"


class EncodecCodec(nn.Module):
    """wav [B, 1, T] at 24 kHz <-> codes [B, Q, N], N = ceil(T / 320).

    Args:
        model: transformers' `EncodecModel`, mono, without chunks and without normalisation of its input.
        vocos: decodes in its place where given.
    Raises:
        ValueError: a model of another kind (that of 48 kHz), or a head of other codebooks.
    """

    def __init__(self, model: nn.Module, vocos: Vocos | None = None) -> None:
        super().__init__()
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise ValueError(
                f"expected the mono EnCodec of 24 kHz, got one of {config.sampling_rate} Hz with {config.audio_channels} channels"
            )
        if vocos is not None:
            head, own = vocos.config, (config.codebook_size, config.hop_length)
            if (head.codebook_size, head.hop_length) != own:
                raise ValueError(
                    f"the Vocos head has codebooks of {head.codebook_size} codes and a hop of {head.hop_length}, EnCodec {own[0]} "
                    f"and {own[1]}"
                )
        self.model, self.vocos = model, vocos
        quantizer = model.quantizer
        # number of codebooks -> kbit/s: transformers would take the least of them where none is named
        self.bandwidths = {quantizer.get_num_quantizers_for_bandwidth(b): b for b in config.target_bandwidths}
        rate_hz = config.sampling_rate // config.hop_length
        self.spec = CodecSpec(NAME, config.sampling_rate, rate_hz, max(self.bandwidths), config.codebook_size)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        head: Literal["encodec", "vocos"] = "encodec",
        vocos: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> EncodecCodec:
        """Load from a folder in transformers' format or a hub id.

        Args:
            source: None = the public weights.
            head: what makes the sound.
            vocos: folder or hub id of the Vocos head's weights; None = the public ones.
        Raises:
            ValueError: no such weights, weights that do not fit, or an unknown head.
        """
        from transformers import (
            EncodecConfig,
            EncodecModel,
        )  # seconds to import, and no shipped voice needs it

        if head not in ("encodec", "vocos"):
            raise ValueError(f"unknown head {head!r}: expected encodec or vocos")
        source = PUBLIC if source is None else str(source)
        if not Path(source).is_dir() and not is_hub_id(source):
            raise ValueError(f"there is no folder {source} to load EnCodec from")
        model = load_strictly(EncodecModel, EncodecConfig, source, lambda config: None, lambda key: False)
        codec = cls(model, Vocos.from_public(vocos) if head == "vocos" else None)
        return codec.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def encode(self, wav: Tensor, n_codebooks: int | None = None, sample_rate: int | None = None) -> Tensor:
        """wav [B, 1, T] in [-1, 1] -> codes [B, Q, N], coarsest first; rows of a padded batch are those they have alone.

        Args:
            n_codebooks: 2, 4, 8, 16 or 32 (None = all).
            sample_rate: of the wav where the caller knows it: another than the codec's is refused.
        Raises:
            ValueError: another shape or rate, no samples, or a number of codebooks that has no bandwidth.
        """
        if sample_rate not in (None, self.spec.sample_rate):
            raise ValueError(
                f"a wav of {sample_rate} Hz: the codec {self.spec.name} expects {self.spec.sample_rate} Hz"
            )
        if wav.dim() != 3 or wav.shape[1] != 1 or not wav.shape[-1]:
            raise ValueError(f"expected a waveform [B, 1, T], got {list(wav.shape)}")
        number = self.spec.n_codebooks if n_codebooks is None else n_codebooks
        if number not in self.bandwidths:
            raise ValueError(
                f"n_codebooks: expected one of {sorted(self.bandwidths)} of the codec {self.spec.name}, got {number}"
            )
        # whole frames of silence, not reflections, so that what is behind the end of a clip changes nothing in it
        wav = F.pad(wav, (0, -wav.shape[-1] % self.spec.hop_length))
        out: Any = self.model.encode(wav, bandwidth=self.bandwidths[number])
        return out.audio_codes[0]

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """codes [B, Q', N] -> wav [B, 1, N * hop].

        Raises:
            ValueError: codes that this codec or its head does not have.
        """
        codes = check_codes(codes, self.spec)
        if self.vocos is not None:
            return self.vocos(codes)
        wav = self.model.decode(codes[None], [None]).audio_values
        return wav[..., : codes.shape[-1] * self.spec.hop_length]
