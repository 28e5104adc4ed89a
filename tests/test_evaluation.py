"""evaluate(): estimates whose intervals cover, rows to go on from, and metrics that fail alone."""

import json
import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from tiny_voice import recording

from hierspeech.evaluation import METRICS, Item, differences, evaluate
from hierspeech.evaluation.estimates import bootstrap_mean, estimate, expanded_tail
from hierspeech.evaluation.items import load_cached
from hierspeech.evaluation.kept_rows import KeptRows
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, mean_of_items
from speech.audio import save_audio


def card(name, *columns, better="higher"):
    columns = columns or (Column(name, name, "", better),)
    return MetricCard(name, "meaning", "scale", "source", None, "MIT", f"pip install {name}", columns)


class Given:
    """A metric whose figures are given by the item's id; an exception among them is raised."""

    def __init__(self, name, values):
        self.name, self.values, self.asked = name, values, []

    def measure(self, item):
        self.asked.append(item.id)
        value = self.values[item.id]
        if isinstance(value, BaseException):
            raise value
        return {self.name: value}


def given(name, values, needs=(), **more):
    judge = Given(name, values)
    return judge, Metric(card(name), needs, lambda model, device: judge, **more)


@pytest.fixture
def items(tmp_path):
    for k in range(4):
        save_audio(tmp_path / f"{k}.wav", recording(0.2, 100 + 20 * k), 16000)
    return [Item(str(k), tmp_path / f"{k}.wav", text="one two") for k in range(4)]


def test_figures_are_means_with_percentiles(items):
    _, metric = given("m", {"0": 1.0, "1": 2.0, "2": 3.0, "3": 6.0})
    found = evaluate(items, ["m"], metrics={"m": metric}, header={"system": "toy"})
    value = found.summary["m"]
    assert (value.mean, value.n) == (3.0, 4)
    assert value.p5 == pytest.approx(1.15)
    assert value.p95 == pytest.approx(5.55)
    assert value.low < 3 < value.high
    assert found.missing == {}
    assert found.rows[3]["values"] == {"m": 6.0}
    assert found.header["system"] == "toy"
    assert found.header["items"] == 4
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("n", "draw"), [(8, "normal"), (20, "normal"), (60, "exponential")])
def test_the_interval_covers_as_often_as_it_says(n, draw):
    """95 % over many data sets: within what 1500 of them let one tell, and skew costs a few points (as it does Student's)."""
    rng, trials = np.random.default_rng(1), 1500
    data = rng.standard_normal((trials, n)) if draw == "normal" else rng.exponential(1.0, (trials, n)) - 1
    inside = 0
    for values in data:
        low, high = bootstrap_mean(values, resamples=400, seed=int(rng.integers(1 << 30)))
        inside += low <= 0 <= high
    coverage = inside / trials
    assert 0.925 <= coverage <= 0.97


def test_the_expanded_interval_is_students_in_the_middle():
    """Quantiles of Student's t from a printed table (Abramowitz and Stegun 26.10), 97.5 %."""
    for n, t in ((6, 2.571), (11, 2.228), (31, 2.042)):
        from statistics import NormalDist

        z = -NormalDist().inv_cdf(expanded_tail(n))
        assert z * math.sqrt((n - 1) / n) == pytest.approx(t, abs=0.005)
    assert expanded_tail(100000) == pytest.approx(0.025, abs=1e-5)


def test_one_item_has_a_mean_but_no_interval(items):
    _, metric = given("m", {"0": 1.0})
    value = evaluate(items[:1], ["m"], metrics={"m": metric}).summary["m"]
    assert (value.mean, value.low, value.high, value.n) == (1.0, None, None, 1)


def test_equal_seeds_give_equal_intervals():
    rows = [{"m": float(value)} for value in np.random.default_rng(0).standard_normal(30)]
    one, two, other = (
        estimate(card("m"), rows, mean_of_items(card("m"), rows), seed=seed)["m"] for seed in (0, 0, 1)
    )
    assert one == two
    assert one.mean == other.mean
    assert one != other


def test_a_metric_that_fails_leaves_the_others(items):
    _, good = given("good", dict.fromkeys("0123", 1.0))
    _, crashes = given("crashes", dict.fromkeys("0123", RuntimeError("boom")))
    absent = replace(good, card=card("absent"), packages=("package_that_is_not_there",))

    def explode(model, device):
        raise MemoryError("no room")

    broken = replace(good, card=card("broken"), make=explode)
    needs = replace(good, card=card("needs"), needs=("target",))
    metrics = {metric.card.name: metric for metric in (crashes, absent, broken, needs, good)}
    found = evaluate(items, list(metrics), metrics=metrics)
    assert list(found.summary) == ["good"]
    assert found.missing["crashes"] == "RuntimeError: boom"
    assert "pip install absent" in found.missing["absent"]
    assert "no room" in found.missing["broken"]
    assert found.missing["needs"] == "no item has a target recording"
    assert found.rows[0]["values"] == {"good": 1.0}
    assert set(found.rows[0]["failed"]) == {"crashes", "absent", "broken", "needs"}


def test_an_item_that_fails_is_no_zero(items):
    _, metric = given("m", {"0": 4.0, "1": NotMeasured("too short"), "2": math.nan, "3": 2.0})
    found = evaluate(items, ["m"], metrics={"m": metric})
    assert found.summary["m"].mean == 3.0
    assert found.summary["m"].n == 2
    assert found.rows[1]["failed"] == {"m": "too short"}
    assert "m" not in found.rows[2]["values"]
    assert found.notes["m"] == "1 of 4 items not measured: too short"


def test_a_broken_sound_file_loses_its_own_figures_only(items):
    items[1].wav.write_text("no sound")
    found = evaluate(items, ["timing"])
    assert found.summary["seconds"].n == 3
    assert "1.wav" in found.rows[1]["failed"]["timing"]


def test_an_interrupted_run_goes_on(items, tmp_path):
    judge, metric = given("m", {"0": 1.0, "1": 2.0, "2": KeyboardInterrupt(), "3": 4.0})
    with pytest.raises(KeyboardInterrupt):
        evaluate(items, ["m"], metrics={"m": metric}, rows=tmp_path / "rows.jsonl")
    judge.values["2"] = 3.0
    found = evaluate(items, ["m"], metrics={"m": metric}, rows=tmp_path / "rows.jsonl")
    assert judge.asked == ["0", "1", "2", "2", "3"]
    assert found.summary["m"].mean == 2.5


def test_kept_rows_are_not_taken_for_what_changed(items, tmp_path):
    judge, metric = given("m", dict.fromkeys("0123", 1.0))
    rows = tmp_path / "rows.jsonl"
    evaluate(items, ["m"], metrics={"m": metric}, rows=rows)
    save_audio(items[0].wav, recording(0.3, 90), 16000)
    changed = [items[0], replace(items[1], text="three"), *items[2:]]
    evaluate(changed, ["m"], metrics={"m": metric}, rows=rows)
    assert judge.asked == [*"0123", "0", "1"]
    newer = replace(metric, card=replace(metric.card, version=2))
    evaluate(changed, ["m"], metrics={"m": newer}, rows=rows)
    evaluate(changed, ["m"], metrics={"m": newer}, rows=rows, models={"m": "another"})
    assert judge.asked[6:] == [*"0123"] * 2


def test_a_cut_line_is_measured_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    with KeptRows(path) as kept:
        kept.add("a", "m", "0", {"m": 1.0})
        kept.add("b", "m", "1", {"m": 2.0})
    path.write_text(path.read_text()[:-9])
    with KeptRows(path) as kept:
        assert (kept.get("a"), kept.get("b")) == ({"m": 1.0}, None)
        kept.add("b", "m", "1", {"m": 3.0})
    assert KeptRows(path).get("b") == {"m": 3.0}


def test_a_change_of_the_references_measures_the_whole_list_anew(items):
    judge, metric = given("m", dict.fromkeys("0123", 1.0), needs=("reference",), whole_list=True)
    first = [replace(item, reference=items[0].wav) for item in items]
    second = [*first[:3], replace(first[3], reference=items[1].wav)]
    seen = []
    with_keys = MappingProxyType({"m": metric})
    for chosen in (first, second):
        evaluate(chosen, ["m"], metrics=with_keys)
        seen.append(len(judge.asked))
    assert seen == [4, 8]


def test_progress_counts_every_item(items):
    _, metric = given("m", dict.fromkeys("0123", 1.0))
    calls = []
    evaluate(items, ["m"], metrics={"m": metric}, progress=lambda *call: calls.append(call))
    assert calls == [("m", k, 4) for k in (1, 2, 3, 4)]


def test_bad_requests_are_one_sentence(items):
    with pytest.raises(ValueError, match="empty"):
        evaluate([], ["timing"])
    with pytest.raises(ValueError, match="'0' is there twice"):
        evaluate([items[0], items[0]], ["timing"])
    with pytest.raises(ValueError, match="'no_metric'"):
        evaluate(items, ["no_metric"])
    with pytest.raises(ValueError, match="'no_model'"):
        evaluate(items, ["timing"], models={"no_model": "x"})


def test_audio_is_loaded_once_and_kept_from_harm(items):
    wav, rate = items[0].load()
    assert items[0].load()[0] is wav
    assert rate == 16000
    assert len(items[0].load("wav", 8000)[0]) == len(wav) // 2
    with pytest.raises(ValueError, match="read-only"):
        wav[0] = 1
    with pytest.raises(ValueError, match="no reference"):
        items[0].load("reference")
    save_audio(items[0].wav, recording(0.5), 16000)
    assert len(load_cached(items[0].wav)[0]) == 8000


def test_every_metric_has_a_whole_card():
    columns = [column.name for metric in METRICS.values() for column in metric.card.columns]
    assert len(set(columns)) == len(columns)
    assert not set(columns) & (set(METRICS) - {c.name for m in METRICS.values() for c in m.card.columns[:1]})
    for name, metric in METRICS.items():
        assert metric.card.name == name
        texts = vars(metric.card)
        assert all(texts[field] for field in ("meaning", "scale", "source", "licence", "install")), name
        assert metric.card.better == metric.card.columns[0].better
        assert metric.card.better in ("higher", "lower", None)
        assert set(metric.needs) <= {"text", "reference", "target", "seconds"}


def test_a_small_difference_is_clear_item_by_item(items):
    """Items 100 apart, systems 1 apart: the intervals of the means overlap, that of the difference leaves out 0."""
    found = []
    for extra in (0.0, 1.0):
        values = {name: 100.0 * k + extra + 0.1 * k * extra for k, name in enumerate("0123")}
        if extra:
            values["3"] = NotMeasured("lost")
        _, metric = given("m", values)
        found.append(evaluate(items, ["m"], metrics={"m": metric}))
    first, second = found
    assert second.summary["m"].low < first.summary["m"].mean < second.summary["m"].high
    difference = differences(second, first)["m"]
    assert difference.mean == pytest.approx(1.1)
    assert difference.n == 3
    assert difference.clear
    same = differences(first, first)["m"]
    assert (same.mean, same.clear) == (0, False)
