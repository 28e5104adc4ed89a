"""One decoding: the cache, the rows (beams and unguided twins included), the prompt and the step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from spear.sampling import Generators, Sampling, guide, sample
from speech.modules.one_token import OneToken


class Session:
    """The state of decoding `batch * beams` rows; with guidance every row has a twin that does not see the source.

    Args:
        model: TextToSemantic. encoded: what it made of the sources.
        kind: of the target.
        limit: new tokens at most; `spare` further slots are kept for drafts.
        prompt, n_prompt: [B, P], [B], which the target begins with; None = none.
    """

    def __init__(
        self,
        model,
        encoded,
        kind: str,
        rate: Tensor | None,
        limit: int,
        prompt: Tensor | None = None,
        n_prompt: Tensor | None = None,
        beams: int = 1,
        guidance: float = 1.0,
        compiled: bool = False,
        spare: int = 0,
    ) -> None:
        self.model, self.kind, self.beams, self.guidance = model, kind, beams, guidance
        self.table = model.tables[kind]
        self.eos = self.table.eos
        self.device = encoded.context.device
        self.batch = len(encoded.context)
        self.rows = self.batch * beams
        self.compiled, self.steps = compiled, 0
        context, mask, positions = encoded.context, encoded.mask, encoded.positions
        if compiled:  # every call has the same sizes, or it would be compiled anew
            pad = max(model.config.max_text, model.config.max_semantic) + 1 - mask.shape[1]
            context, mask = F.pad(context, (0, 0, 0, pad)), F.pad(mask, (0, pad))
            positions = None if positions is None else F.pad(positions, (0, pad))
        context, mask, rate = self._spread(context), self._spread(mask), self._spread(rate)
        if guidance != 1:
            mask = torch.cat([mask[: self.rows], torch.zeros_like(mask[: self.rows])])
        self.rate = rate
        self.inputs, self.n_inputs, self.input_runs = self._inputs(prompt, n_prompt)
        length = self.inputs.shape[1] + limit + spare
        if compiled:
            length = max(length, max(model.config.max_text, model.config.max_semantic) + 1 + spare)
        self.cache = model.decoder.make_cache(len(mask), length, context, mask, self._spread(positions))
        # all rows at one place: the quick step serves (drafts go back, and compiled steps are quick themselves)
        self.alike = not (compiled or spare or self.keeps_runs) and bool(
            (self.n_inputs == self.n_inputs[0]).all()
        )
        self.quick: OneToken | None = None
        self.place: Tensor | None = None  # of the next token in time, where tokens come without repeats

    @property
    def keeps_runs(self) -> bool:
        return self.model.runs is not None and self.kind == "semantic"

    def _spread(self, x: Tensor | None) -> Tensor | None:
        """A row for each beam, and twins."""
        if x is None:
            return None
        x = x.repeat_interleave(self.beams, 0)
        return x if self.guidance == 1 else torch.cat([x, x])

    def _inputs(self, prompt: Tensor | None, n_prompt: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Start token and prompt [rows, P + 1], how many are valid, and the repeats of each."""
        if prompt is None:
            prompt = torch.zeros(self.batch, 0, dtype=torch.long, device=self.device)
            n_prompt = torch.zeros(self.batch, dtype=torch.long, device=self.device)
        runs = None
        if self.keeps_runs:
            prompt, runs, n_prompt = runs_of(prompt, n_prompt, self.model.config.max_run)
            runs = self._spread(F.pad(runs, (1, 0)))
        inputs = F.pad(prompt, (1, 0), value=self.table.start)
        return self._spread(inputs), self._spread(n_prompt + 1), runs

    def prefill(self) -> tuple[Tensor, Tensor]:
        """Take in start and prompt -> logits of the first new token [rows, V + 1], hidden [rows, W]."""
        model, n = self.model, self.inputs.shape[1]
        x = model.embed(self.inputs, self.kind, self.rate, self.input_runs)
        mask = torch.arange(n, device=self.device) < self.n_inputs[:, None]
        places, last, last_runs = None, self.n_inputs[:, None] - 1, None
        if self.input_runs is not None:
            places = self.input_runs.cumsum(1)
            self.place = places.gather(1, last)[:, 0]
            last_runs = self.input_runs.gather(1, last)[:, 0]
        if not self.compiled:
            self.cache.reach = n
        hidden = model.decoder(x, mask, positions=places, cache=self.cache)
        hidden = hidden.gather(1, (self.n_inputs - 1)[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]
        self.steps = 1
        logits = self._guided(self.table.logits(hidden))
        return self._without_repeats(logits, self.inputs.gather(1, last)[:, 0], last_runs), hidden[
            : self.rows
        ]

    def step(self, tokens: Tensor, runs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take in the rows' tokens [rows] and their repeats -> logits of the next, hidden."""
        if self.guidance != 1:
            tokens = torch.cat([tokens, tokens])
            runs = None if runs is None else torch.cat([runs, runs])
        before = tokens, runs
        if runs is not None:
            self.place = self.place + runs
        if self.alike:
            return self._quick_step(tokens)
        if not self.compiled:
            self.cache.reach = min(self.inputs.shape[1] + self.steps, self.cache.max_len)
        step = self.model.compiled_step() if self.compiled else self.model.step
        logits, hidden = step(tokens, self.kind, self.rate, runs, self.place, self.cache)
        self.steps += 1
        return self._without_repeats(self._guided(logits), *before), hidden[: self.rows]

    def _quick_step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`step` by `OneToken`, with the table of inputs made once."""
        if self.quick is None:
            self.quick = OneToken(self.model.decoder, self.cache, self.inputs.shape[1])
            self.rows_in = self.table(
                torch.arange(self.table.start, device=self.device)
            )  # tokens and the end
            self.added = self.model.condition(self.kind, self.rate, tokens)
        x = F.embedding(tokens, self.rows_in)
        hidden = self.quick(x if self.added is None else x + self.added)
        self.steps += 1
        return self._guided(self.table.logits(hidden)), hidden[: self.rows]

    def _without_repeats(self, logits: Tensor, tokens: Tensor, runs: Tensor | None) -> Tensor:
        """A token follows itself only where its run was as long as runs are."""
        if runs is None:
            return logits
        tokens, runs = tokens[: self.rows, None], runs[: self.rows, None]
        free = (runs == self.model.config.max_run) | (tokens >= self.eos)
        tokens = tokens.clamp(max=self.eos)
        return logits.scatter(1, tokens, torch.where(free, logits.gather(1, tokens), -torch.inf))

    def draw_runs(
        self, hidden: Tensor, tokens: Tensor, sampling: Sampling, noise: Generators = None
    ) -> Tensor | None:
        """How often each of the tokens [rows] is repeated, 1 to max_run; None for a target with its repeats."""
        if not self.keeps_runs:
            return None
        logits = self.model.runs(hidden, self.table(tokens))
        return 1 + sample(logits, replace(sampling, top_k=None), noise)

    def reorder(self, rows: Tensor) -> None:
        """Row r becomes a copy of row `rows[r]`, of the same source."""
        if self.guidance != 1:
            rows = torch.cat([rows, rows + self.rows])
        self.cache.reorder(rows)
        if self.place is not None:
            self.place = self.place[rows]

    def _guided(self, logits: Tensor) -> Tensor:
        if self.guidance == 1:
            return logits
        return guide(*logits.float().chunk(2), self.guidance)


def runs_of(tokens: Tensor, n_tokens: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens without repeats, how often each is repeated (runs longer than `longest` are several), how many: [B, R], [B, R], [B]."""
    rows, repeats = [], []
    for row, n in zip(tokens, n_tokens.tolist(), strict=True):
        kept, counts = torch.unique_consecutive(row[:n], return_counts=True)
        pieces = -(-counts // longest)
        last = counts - (pieces - 1) * longest
        runs = torch.full((int(pieces.sum()),), longest, dtype=torch.long, device=row.device)
        if len(runs):
            runs[pieces.cumsum(0) - 1] = last
        rows.append(kept.repeat_interleave(pieces))
        repeats.append(runs)
    number = torch.tensor([len(row) for row in rows], device=tokens.device)
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), pad(repeats, batch_first=True), number
