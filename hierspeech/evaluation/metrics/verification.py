"""Speaker verification over a list: equal error rate and the nearest-reference rate, from cosine scores.

Every item is tried against its own reference (or those of its speaker: target trials) and against all other speakers'
references (impostor trials).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hierspeech.evaluation.items import Item, file_digest
from hierspeech.evaluation.metrics.card import MetricCard, Row, Summary, mean_of_items

Embed = Callable[[np.ndarray], np.ndarray]  # wav float32 [T] at 16 kHz -> embedding [C]
SAMPLE_RATE = 16000
FEW = "the items have one voice only"


class Similarity:
    """Cosines of speaker embeddings; `begin` takes the references of all items."""

    def __init__(self, embed: Embed, name: str):
        self.embed, self.name = embed, name
        self.voices: dict[
            str, tuple[str, Item]
        ] = {}  # by digest of the reference: its speaker, an item that has it
        self.known: dict[str, np.ndarray] = {}

    def begin(self, items: Sequence[Item]) -> None:
        """Notes who is to be told from whom; references are embedded when they are first needed."""
        for item in items:
            self.voices.setdefault(file_digest(item.reference), (item.voice, item))

    def _reference(self, digest: str, item: Item) -> np.ndarray:
        if digest not in self.known:
            self.known[digest] = self._unit(item.load("reference", SAMPLE_RATE)[0])
        return self.known[digest]

    def _unit(self, wav: np.ndarray) -> np.ndarray:
        vector = np.asarray(self.embed(wav), dtype=np.float64).ravel()
        if not np.isfinite(vector).all() or not np.linalg.norm(vector) > 0:
            raise ValueError("the speaker embedding is not finite, or zero")
        return vector / np.linalg.norm(vector)

    def measure(self, item: Item) -> Row:
        """Similarity to the own reference, whether it is the nearest of all voices, and the scores of the trials."""
        own = self._unit(item.load("wav", SAMPLE_RATE)[0])
        digest = file_digest(item.reference)
        similarity = float(own @ self._reference(digest, item))
        row: Row = {f"sim_{self.name}": similarity}
        targets, impostors = [similarity], []
        for other, (voice, holder) in self.voices.items():
            if other == digest:
                continue
            score = float(own @ self._reference(other, holder))
            (targets if voice == item.voice else impostors).append(score)
        if not impostors:
            return row | {"why": {f"nearest_{self.name}": FEW, f"eer_{self.name}": FEW}}
        row[f"nearest_{self.name}"] = 100.0 * (max(targets) > max(impostors))
        return row | {
            "targets": np.round(targets, 5).tolist(),
            "impostors": np.round(impostors, 5).tolist(),
        }


def similarity_and_eer(card: MetricCard, rows: list[Row]) -> Summary:
    """Means of the items' figures, and the equal error rate of all their trials."""
    means = mean_of_items(card, rows)
    scores, is_target, owner = [], [], []
    for number, row in enumerate(rows):
        for name in ("targets", "impostors"):
            scores += row.get(name, [])
            is_target += [name == "targets"] * len(row.get(name, []))
            owner += [number] * len(row.get(name, []))
    if not scores:
        return means
    trials = Trials(np.array(scores), np.array(is_target))
    eer_name = next(column.name for column in card.columns if column.name.startswith("eer_"))
    items = np.array(owner)

    def summarise(counts: np.ndarray) -> dict[str, np.ndarray]:
        return means(counts) | {eer_name: np.array([100 * trials.eer(row[items]) for row in counts])}

    return summarise


class Trials:
    """Scores [N] and which of them are of the same speaker [N], sorted once for many resamples."""

    def __init__(self, scores: np.ndarray, is_target: np.ndarray):
        order = np.argsort(scores, kind="stable")
        self.order, self.is_target = order, is_target[order]
        # a threshold lies between two different scores only: equal scores are accepted or refused together
        self.ends = np.flatnonzero(np.append(np.diff(scores[order]) > 0, True))

    def eer(self, weights: np.ndarray | None = None) -> float:
        """Where false rejections and false acceptances are equally frequent; NaN without trials of both kinds.

        Between two thresholds both rates are joined by a straight line (the ROC's own, as a random choice between the two
        thresholds would give).
        """
        weights = np.ones(len(self.order)) if weights is None else weights[self.order]
        target, impostor = weights * self.is_target, weights * ~self.is_target
        if not target.sum() > 0 or not impostor.sum() > 0:
            return float("nan")
        refused = np.append(0.0, np.cumsum(target)[self.ends]) / target.sum()
        accepted = 1 - np.append(0.0, np.cumsum(impostor)[self.ends]) / impostor.sum()
        gap = refused - accepted  # from -1 upwards to 1
        k = int(np.argmax(gap >= 0))
        part = -gap[k - 1] / (gap[k] - gap[k - 1])
        return float(refused[k - 1] + part * (refused[k] - refused[k - 1]))


def equal_error_rate(targets: Sequence[float], impostors: Sequence[float]) -> float:
    """The equal error rate, 0 to 1, of scores of same-speaker and different-speaker trials."""
    scores = np.array([*targets, *impostors], dtype=float)
    return Trials(scores, np.arange(len(scores)) < len(targets)).eer()
