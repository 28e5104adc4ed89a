"""Whisper whole, through transformers, frozen: its encoder hears, its decoder says what can still be understood.

Not an `nn.Module` on purpose: a model that holds one neither trains, saves nor counts its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speech.semantic.encoder import SemanticSpec
from speech.semantic.loading import load_strictly
from speech.semantic.whisper import WhisperEncoder

MEL_SILENCE = -1.5
"""Whisper's log-mel of no sound at all."""


class FrozenWhisper:
    """Encoder, decoder and text tokens of one Whisper.

    Args:
        model: transformers' `WhisperForConditionalGeneration`.
        extractor: its `WhisperFeatureExtractor`. tokenizer: its `WhisperTokenizer`.
        name: of the semantic spec.
    """

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, name: str) -> None:
        config = model.config
        self.model = model.eval().requires_grad_(False)
        self.extractor, self.tokenizer = extractor, tokenizer
        self.spec = SemanticSpec(name, config.encoder_layers, config.d_model, 50)
        self.hear = WhisperEncoder(model.model.encoder, extractor, self.spec)
        vocabulary = tokenizer.get_vocab()
        for needed in ("<|startoftranscript|>", "<|notimestamps|>"):
            if needed not in vocabulary:
                raise ValueError(f"the tokenizer of {name} has no {needed}, which Whisper's have")
        self.vocabulary, self.end = vocabulary, tokenizer.eos_token_id
        told = getattr(model.generation_config, "is_multilingual", None)
        self.multilingual = "<|transcribe|>" in vocabulary if told is None else bool(told)
        # of the tokens that are not text, only the end may be said
        silent = [i for i in tokenizer.get_added_vocab().values() if i != self.end and i < config.vocab_size]
        self._silent = torch.tensor(sorted(silent), dtype=torch.long)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, name: str | None = None, device: str | torch.device = "cpu"
    ) -> FrozenWhisper:
        """Load from a folder in transformers' format (tokenizer and `preprocessor_config.json` included) or a hub id.

        Args:
            source: folder or hub id.
            name: of its semantic spec; None = the last part of `source`.
        Raises:
            ValueError: weights, tokenizer or mel settings that cannot be read or do not fit.
        """
        from transformers import (
            WhisperConfig,
            WhisperFeatureExtractor,
            WhisperForConditionalGeneration,
            WhisperTokenizer,
        )

        model = load_strictly(
            WhisperForConditionalGeneration,
            WhisperConfig,
            source,
            lambda config: None,
            lambda key: key == "proj_out.weight",  # tied to the decoder's embedding
        )
        try:
            extractor = WhisperFeatureExtractor.from_pretrained(source)
            tokenizer = WhisperTokenizer.from_pretrained(source)
        except (OSError, TypeError) as error:  # TypeError: transformers' answer to missing vocabulary files
            raise ValueError(f"no tokenizer and mel settings could be read from {source}: {error}") from error
        if extractor.feature_size != model.config.num_mel_bins:
            raise ValueError(
                f"{source}: {extractor.feature_size} mel bins, expected {model.config.num_mel_bins}"
            )
        return cls(model, extractor, tokenizer, name or Path(str(source)).name).to(device)

    def to(self, device: str | torch.device) -> FrozenWhisper:
        """Move it."""
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def max_text(self) -> int:
        """Most text tokens a window, prefix included."""
        return self.model.config.max_target_positions

    def mel(self, wav: np.ndarray) -> Tensor:
        """wav [T] at 16 kHz -> log-mel of a window of 30 s [M, 3000], cut or padded with silence."""
        rate = self.extractor.sampling_rate
        return self.extractor(wav, sampling_rate=rate, return_tensors="pt").input_features[0]

    @torch.no_grad()
    def encode_mel(self, mel: Tensor) -> Tensor:
        """log-mel [B, M, up to 3000] -> states [B, C, 1500]; a short one is padded with silence.

        Raises:
            ValueError: more frames than a window has, or another number of bins.
        """
        most = 2 * self.model.config.max_source_positions
        if mel.dim() != 3 or mel.shape[1] != self.model.config.num_mel_bins or mel.shape[-1] > most:
            raise ValueError(
                f"log-mel {list(mel.shape)}: expected [B, {self.model.config.num_mel_bins}, up to {most}]"
            )
        mel = torch.nn.functional.pad(mel, (0, most - mel.shape[-1]), value=MEL_SILENCE)
        parameter = next(self.model.parameters())
        states = self.model.model.encoder(mel.to(parameter.device, parameter.dtype)).last_hidden_state
        return states.transpose(1, 2)

    def prefix(self, language: str = "en") -> list[int]:
        """Start of a transcript without time stamps; `language` ("pl", "en-us") counts for a multilingual Whisper.

        Raises:
            ValueError: a language that this Whisper does not know.
        """
        names = ["<|startoftranscript|>"]
        if self.multilingual:
            names += [f"<|{language.split('-')[0].lower()}|>", "<|transcribe|>"]
        names.append("<|notimestamps|>")
        unknown = [name for name in names if name not in self.vocabulary]
        if unknown:
            raise ValueError(f"language {language!r}: this Whisper has no token {unknown[0]}")
        return [self.vocabulary[name] for name in names]

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a text, without prefix and end; Whisper's transcripts begin with a space."""
        return self.tokenizer(f" {text.strip()}", add_special_tokens=False).input_ids

    def text(self, ids: list[int]) -> str:
        """The text of tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """What the decoder expects after each token: states [B, C, 1500], ids [B, S] -> [B, S, vocabulary].

        The weights are frozen, the gradient reaches `states`.
        """
        hidden = self.model.model.decoder(input_ids=ids, encoder_hidden_states=states.transpose(1, 2))
        return self.model.proj_out(hidden.last_hidden_state)

    @torch.no_grad()
    def transcribe(
        self, states: Tensor, language: str = "en", max_tokens: int | None = None
    ) -> list[list[int]]:
        """Greedy transcripts of states [B, C, 1500]: text tokens of each row, without prefix and end."""
        prefix = self.prefix(language)
        room = self.max_text - len(prefix)
        length = room if max_tokens is None else min(max_tokens, room)
        ids = torch.tensor([prefix], device=states.device).expand(len(states), -1)
        context, past = states.transpose(1, 2), None
        said, over = [], torch.zeros(len(states), dtype=torch.bool, device=states.device)
        for _ in range(length):
            out = self.model.model.decoder(
                input_ids=ids, encoder_hidden_states=context, past_key_values=past, use_cache=True
            )
            past = out.past_key_values
            logits = self.model.proj_out(out.last_hidden_state[:, -1])
            logits[:, self._silent.to(logits.device)] = -torch.inf
            ids = torch.where(over[:, None], self.end, logits.argmax(-1, keepdim=True))
            over = over | (ids[:, 0] == self.end)
            said.append(ids[:, 0])
            if over.all():
                break
        rows = torch.stack(said, 1).tolist() if said else [[] for _ in states]
        return [row[: row.index(self.end)] if self.end in row else row for row in rows]
