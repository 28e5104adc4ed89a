"""What listeners answered: opinion scores with intervals, preferences with a binomial test, and how far listeners agree.

    results = analyse("page.key.json", ["listening-1a2b-anna.csv", ...])
    print(results.markdown())

Agreement is Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"): 1 is full agreement, 0 that of chance;
it takes lists in which not everybody answered everything.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hierspeech.evaluation.tables import markdown_table

COLUMNS = ("page", "listener", "kind", "number", "first", "second", "answer", "seconds", "plays")
RESAMPLES = 2000
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Score:
    """Mean opinion of a system, its 95 % interval (bootstrap over listeners and items), and what it stands on."""

    mean: float
    low: float | None
    high: float | None
    ratings: int
    listeners: int
    items: int


@dataclass(frozen=True)
class Preference:
    """How often the first of two systems was chosen, Wilson's 95 % interval of the share, and the two-sided exact binomial p.

    `p_holm` is p corrected for the number of pairs in the test (Holm 1979).
    """

    systems: tuple[str, str]
    chosen: int
    answers: int
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def share(self) -> float:
        """Of the first one."""
        return self.chosen / self.answers


@dataclass
class Results:
    """Of one page.

    Attributes:
        scores: by system (kind mos). preferences: by pair (kinds ab and abx).
        agreement: Krippendorff's alpha; None where no sound or pair was heard by two listeners.
        listeners: answers by listener. notes: what a reader should know.
    """

    kind: str
    question: str
    scores: dict[str, Score] = field(default_factory=dict)
    preferences: list[Preference] = field(default_factory=list)
    agreement: float | None = None
    listeners: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Tables for a report."""
        lines = [f"{self.question} ({self.kind}; {len(self.listeners)} listeners, {sum(self.listeners.values())} answers)", ""]  # fmt: skip
        if self.scores:
            rows = [["system", "mean [95 %]", "ratings", "listeners", "items"]]
            for name, score in sorted(self.scores.items(), key=lambda entry: -entry[1].mean):
                interval = "" if score.low is None else f" [{score.low:.2f}, {score.high:.2f}]"
                rows.append([name, f"{score.mean:.2f}{interval}", *map(str, (score.ratings, score.listeners, score.items))])  # fmt: skip
            lines += markdown_table(rows)
        if self.preferences:
            rows = [["pair", "chosen", "share of the first [95 %]", "p", "p (Holm)"]]
            for one in self.preferences:
                share = f"{100 * one.share:.0f} % [{100 * one.low:.0f}, {100 * one.high:.0f}]"
                rows.append([" / ".join(one.systems), f"{one.chosen} of {one.answers}", share, f"{one.p:.4f}", f"{one.p_holm:.4f}"])  # fmt: skip
            lines += markdown_table(rows)
        agreement = "not known, nothing was heard by two listeners" if self.agreement is None else f"{self.agreement:.2f} (1: full, 0: chance)"  # fmt: skip
        return "\n".join([*lines, "", f"Agreement of listeners (Krippendorff's alpha): {agreement}.", *self.notes, ""])  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "question": self.question,
            "scores": {name: vars(score) for name, score in self.scores.items()},
            "preferences": [
                vars(p) | {"systems": list(p.systems), "share": p.share} for p in self.preferences
            ],
            "agreement": self.agreement,
            "listeners": self.listeners,
            "notes": self.notes,
        }


def analyse(key: str | os.PathLike, files: Sequence[str | os.PathLike], seed: int = 0) -> Results:
    """Reads the key and the listeners' files.

    Raises:
        ValueError: a file that is no result of this page, or no answer at all.
    """
    description = _read_key(Path(key))
    answers, notes = _read_answers(files, description)
    results = Results(description["kind"], description["question"], notes=notes)
    for listener, _ in answers:
        results.listeners[listener] = results.listeners.get(listener, 0) + 1
    if description["kind"] == "mos":
        _score(results, answers, description["sounds"], seed)
    else:
        _prefer(results, answers, description)
    return results


def _read_key(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != 1 or not {"page", "kind", "question", "systems", "sounds"} <= set(values):
            raise KeyError("format")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the key of a listening page ({error}).") from error
    return values


Answers = dict[tuple[str, tuple[str, ...]], str]  # (listener, sounds of the trial, sorted) -> answer


def _read_answers(files: Sequence[str | os.PathLike], key: Mapping[str, Any]) -> tuple[Answers, list[str]]:
    answers: Answers = {}
    twice = 0
    for name in files:
        try:
            with open(name, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if not set(COLUMNS) <= set(reader.fieldnames or ()):
                    raise ValueError(f"its columns are {reader.fieldnames}, expected {', '.join(COLUMNS)}")
                rows = list(reader)
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(f"{name}: not a file of a listening page ({error}).") from error
        for number, row in enumerate(rows, 2):
            where = f"{name}, line {number}"
            if row["page"] != key["page"]:
                raise ValueError(f"{where}: is of the page {row['page']!r}, the key of {key['page']!r}.")
            sounds = tuple(sorted(filter(None, (row["first"], row["second"]))))
            choices = ("1", "2", "3", "4", "5") if key["kind"] == "mos" else sounds
            if not sounds or not set(sounds) <= set(key["sounds"]) or row["answer"] not in choices:
                raise ValueError(f"{where}: its sounds or its answer are not of this page.")
            twice += (row["listener"], sounds) in answers
            answers[row["listener"], sounds] = row["answer"]  # who saved twice is counted once
    if not answers:
        raise ValueError("no answers in these files, expected some.")
    return answers, [f"{twice} answers came twice, the last one counts."] if twice else []


def _score(results: Results, answers: Answers, sounds: Mapping[str, Any], seed: int) -> None:
    by_system: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    by_sound: dict[str, dict[str, float]] = defaultdict(dict)
    for (listener, (code,)), answer in answers.items():
        by_system[sounds[code]["system"]].append((listener, sounds[code]["item"], float(answer)))
        by_sound[code][listener] = float(answer)
    for system, ratings in by_system.items():
        low, high = _interval(ratings, seed)
        listeners, items = ({rating[k] for rating in ratings} for k in (0, 1))
        mean = sum(value for _, _, value in ratings) / len(ratings)
        results.scores[system] = Score(mean, low, high, len(ratings), len(listeners), len(items))
    results.agreement = krippendorff_alpha(
        [list(values.values()) for values in by_sound.values()], lambda a, b: (a - b) ** 2
    )
    if len(results.listeners) < 2:
        results.notes.append("One listener: the intervals say nothing of other people.")


def _interval(ratings: list[tuple[str, str, float]], seed: int) -> tuple[float | None, float | None]:
    """Listeners and items are drawn anew, both, since either may be others next time (Owen 2007, "The pigeonhole bootstrap")."""
    who = {name: k for k, name in enumerate(dict.fromkeys(rating[0] for rating in ratings))}
    what = {name: k for k, name in enumerate(dict.fromkeys(rating[1] for rating in ratings))}
    if len(what) < 2:
        return None, None
    listener = np.array([who[rating[0]] for rating in ratings])
    item = np.array([what[rating[1]] for rating in ratings])
    value = np.array([rating[2] for rating in ratings])
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(what), np.full(len(what), 1 / len(what)), RESAMPLES)[:, item].astype(float)
    if len(who) > 1:
        weight *= rng.multinomial(len(who), np.full(len(who), 1 / len(who)), RESAMPLES)[:, listener]
    total = weight.sum(axis=1)
    means = (weight @ value)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _prefer(results: Results, answers: Answers, key: Mapping[str, Any]) -> None:
    order = {system: k for k, system in enumerate(key["systems"])}
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    by_trial: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    for (_, sounds), answer in answers.items():
        systems = sorted((key["sounds"][code]["system"] for code in sounds), key=order.__getitem__)
        pair = (systems[0], systems[1])
        first = key["sounds"][answer]["system"] == pair[0]
        counts[pair][1] += 1
        counts[pair][0] += first
        by_trial[sounds].append(first)
    ps = {pair: binomial_p(chosen, n) for pair, (chosen, n) in counts.items()}
    corrected = holm(ps)
    for pair, (chosen, n) in counts.items():
        low, high = wilson(chosen, n)
        results.preferences.append(Preference(pair, chosen, n, low, high, ps[pair], corrected[pair]))
    results.agreement = krippendorff_alpha(list(by_trial.values()), lambda a, b: float(a != b))
    if any(n > 1 for n in results.listeners.values()):
        results.notes.append(
            "The binomial test takes answers as independent; those of one listener are not quite."
        )


def binomial_p(successes: int, trials: int) -> float:
    """Two-sided exact test of a share of one half: the probability of a result at least as far from it."""
    far = max(successes, trials - successes)
    tail = sum(math.comb(trials, k) for k in range(far, trials + 1))
    return min(1.0, 2 * tail / 2**trials)  # whole numbers until the end: no rounding, however many


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Interval of a share (Wilson 1927), which stays within 0 and 1 and holds for few answers too."""
    share, square = successes / trials, z * z
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(ps: Mapping[Any, float]) -> dict[Any, float]:
    """p values corrected for their number (Holm 1979)."""
    corrected: dict[Any, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(ps.items(), key=lambda entry: entry[1])):
        highest = max(highest, min(1.0, (len(ps) - rank) * p))
        corrected[name] = highest
    return corrected


def krippendorff_alpha(
    units: Sequence[Sequence[Any]], difference: Callable[[Any, Any], float]
) -> float | None:
    """Reliability of ratings.

    Args:
        units: what was rated, each with the values that it got, one a rater.
        difference: of two values: 0 where equal; its square for numbers.
    Returns:
        alpha; None where no unit has two values, or all values are the same, which leaves nothing to agree about.
    """
    pairable = [list(unit) for unit in units if len(unit) > 1]
    if not pairable:
        return None
    counts: dict[Any, float] = defaultdict(float)
    observed = 0.0
    for unit in pairable:
        for value in unit:
            counts[value] += 1
        observed += sum(difference(a, b) for a in unit for b in unit) / (len(unit) - 1)
    total = sum(counts.values())
    expected = sum(n * m * difference(a, b) for a, n in counts.items() for b, m in counts.items())
    if expected == 0:
        return None
    return 1 - (total - 1) * observed / expected
