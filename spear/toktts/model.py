"""TokTTS: an encoder-decoder transformer from the bytes of a text to the flattened codes of a clip (after toktts; spec section 7).

No phonemes, no normalisation, no alignment: one byte is one token, codes follow frame after frame with a frame's codebooks in turn, and an end. The
encoder looks both ways over the bytes; the original's looks back only (`causal_encoder`). All codebooks share their ids; a row for each
codebook says which one is meant. Shapes: batch B, bytes S, codes L = Q * frames (+ 1 for the end), codes of a codebook K.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spear.bpe import embed
from spear.codec.codec import CodecSpec
from spear.layouts import Codes, special_ids
from spear.sampling import Generators, Sampling
from spear.semantic_to_acoustic.drawing import sources
from spear.text_tokens import TextTokenizer, text_tokenizer
from spear.toktts.generation import beam_search, draw_tokens
from speech.checkpoint import Pretrained
from speech.masks import lengths_to_mask
from speech.modules.one_token import OneToken
from speech.modules.transformer import Transformer, TransformerConfig


@dataclass
class TokTTSConfig:
    """Sizes; `codec` says whose codes these are."""

    codec: CodecSpec = field(default_factory=CodecSpec)
    n_codebooks: int = 2  # the first of the codec's
    text: str = "bytes"  # key of TEXT_TOKENIZERS, or the file of a BPE (spear/bpe.py)
    encoder_width: int = 128
    encoder_heads: int = 4
    encoder_layers: int = 4
    causal_encoder: bool = False
    width: int = 192
    heads: int = 6
    layers: int = 6
    ff_mult: float = 4.0
    dropout: float = 0.1
    max_text: int = 600  # tokens of text
    max_frames: int = 1500

    def __post_init__(self):
        self.text = embed(self.text)
        if not 1 <= self.n_codebooks <= self.codec.n_codebooks:
            raise ValueError(f"n_codebooks: expected 1 to {self.codec.n_codebooks}, got {self.n_codebooks}")


class TokTTS(nn.Module, Pretrained):
    """text -> codes."""

    Config = TokTTSConfig

    def __init__(self, config: TokTTSConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = text_tokenizer(config.text)
        self.start, self.end = special_ids(config.codec.codebook_size)
        # the last id ends a text, so that its end can be heard
        self.text_embedding = nn.Embedding(self.tokenizer.n_tokens + 1, config.encoder_width)
        self.encoder = Transformer(
            TransformerConfig(
                width=config.encoder_width,
                heads=config.encoder_heads,
                layers=config.encoder_layers,
                ff_mult=config.ff_mult,
                dropout=config.dropout,
                causal=config.causal_encoder,
            )
        )
        self.embedding = nn.Embedding(config.codec.codebook_size + 2, config.width)
        self.levels = nn.Embedding(config.n_codebooks, config.width)  # of the code that comes next
        self.decoder = Transformer(
            TransformerConfig(
                width=config.width,
                heads=config.heads,
                layers=config.layers,
                ff_mult=config.ff_mult,
                dropout=config.dropout,
                causal=True,
                cross_width=config.encoder_width,
            )
        )
        self.out = nn.Linear(config.width, config.codec.codebook_size + 2)
        for table in (self.text_embedding, self.embedding, self.levels):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, text_ids: Tensor, text_mask: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the code after each code.

        Args:
            text_ids: [B, S]; text_mask: [B, S].
            tokens: flattened codes [B, L] and ends (`Codes.flattened`), what the model is to say.
        Returns:
            [B, L, K + 2], ids as in `spear.layouts`.
        """
        context = self.encoder(self.text_embedding(text_ids), mask=text_mask)
        x = self.embed(torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=self.start), 0)
        return self.out(self.decoder(x, context=context, context_mask=text_mask))

    def embed(self, tokens: Tensor, first: int) -> Tensor:
        """The codes before places `first` .. [B, L] -> [B, L, W]."""
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        return self.embedding(tokens) + self.levels(places % self.config.n_codebooks)

    def step(self, tokens: Tensor, place: int, decode: OneToken) -> Tensor:
        """Codes [R] before `place` -> logits of it [R, K + 2]; ends come between frames only, starts never."""
        logits = self.out(decode(self.embed(tokens[:, None], place)[:, 0])).float()
        logits[:, self.start] = -torch.inf
        if place % self.config.n_codebooks:
            logits[:, self.end] = -torch.inf
        return logits

    @torch.inference_mode()
    def generate(
        self,
        texts: Sequence[str],
        sampling: Sampling | None = None,
        *,
        beams: int = 1,
        max_frames: int | None = None,
        callback: Callable[[Tensor], None] | None = None,
        seed: int | Sequence[int] | None = None,
        generator: Generators = None,
    ) -> Codes:
        """Say texts; a row of a batch is what it is alone.

        Args:
            sampling: temperature 0 takes the likeliest.
            beams: histories kept a text; with a temperature they are drawn (as the original does), without it the best are kept.
            max_frames: longest clip; None = the context's.
            callback: called with the frames so far [B, Q, m] after each, without beams; may raise to stop.
            seed: a number (row b: seed + b) or one a row; or a `generator`.
        Returns:
            codes, each row as long as it was found to be.
        Raises:
            ValueError: a text that does not fit, more frames than the context holds, or fewer beams than one.
        """
        config = self.config
        frames = config.max_frames if max_frames is None else max_frames
        if not 1 <= frames <= config.max_frames:
            raise ValueError(f"max_frames: expected 1 to {config.max_frames}, got {frames}")
        if beams < 1:
            raise ValueError(f"beams: expected 1 or more, got {beams}")
        text_ids, n_text = encode_texts(texts, self.tokenizer, config.max_text)
        text_ids, n_text = text_ids.to(self.out.weight.device), n_text.to(self.out.weight.device)
        mask = lengths_to_mask(n_text, text_ids.shape[1])
        context = self.encoder(self.text_embedding(text_ids), mask=mask)
        length = frames * config.n_codebooks
        rows = context.repeat_interleave(beams, 0), mask.repeat_interleave(beams, 0)
        cache = self.decoder.make_cache(len(rows[0]), length + 1, *rows)
        generator = sources(len(texts), seed, generator)
        sampling = sampling or Sampling()
        if beams > 1:
            tokens = beam_search(self, cache, len(texts), beams, length, sampling, generator)
        else:
            tokens = draw_tokens(self, cache, len(texts), length, sampling, generator, callback)
        said = Codes.from_flattened(tokens, config.n_codebooks, config.codec.codebook_size)
        longest = int(said.n_frames.max())
        return Codes(said.frames[..., :longest], said.n_frames, config.codec.codebook_size)


def encode_texts(texts: Sequence[str], tokenizer: TextTokenizer, limit: int) -> tuple[Tensor, Tensor]:
    """texts -> ids [B, S], each with an end of its own (the id behind the tokenizer's), 0 where padded; and how many, [B].

    Raises:
        ValueError: an empty text, or one longer than `limit` tokens; nothing is cut silently.
    """
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        if not ids:
            raise ValueError(f"text {text!r}: expected something to say")
        if len(ids) + 1 > limit:
            raise ValueError(
                f"a text of {len(ids)} tokens ({text[:40]!r} ...): this model reads {limit - 1} at once"
            )
        rows.append(torch.tensor([*ids, tokenizer.n_tokens]))
    n_text = torch.tensor([len(row) for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), n_text
