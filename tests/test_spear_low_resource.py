"""The low-resource recipe: deletion, freezing, the store of pseudo-labels, and all stages one after the other."""

import json
import math

import numpy as np
import pytest
import torch
from spear_pack import SPEC, make_token_pack

import prepare
import train
from spear.low_resource.deletion import choose, compact, delete
from spear.low_resource.frozen import freeze_for
from spear.low_resource.labels import Pseudo, PseudoPairs, PseudoStore, Selection
from spear.low_resource.recipe import LowResourceData, PseudoConfig, Recipe, RecipeConfig
from spear.low_resource.speech_only import SpeechOnly, subset
from spear.low_resource.store import _begin, _write_manifest, _write_shard, generate
from spear.text_to_semantic.data import DataConfig, PackPairs
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from speech.freezing import trained_parameters
from speech.training import TrainConfig


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_token_pack(tmp_path_factory.mktemp("low") / "pack")


def small(**changes):
    sizes = {"width": 16, "heads": 2, "layers": 6, "encoder_share": 0.5, "tokens": SPEC, "rate_bins": 0}
    return TextToSemanticConfig(**(sizes | changes))


# --- deletion


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_exactly_that_share_of_each_row_is_removed_and_order_is_kept(share):
    n = torch.tensor([10, 7, 5, 1])
    tokens = torch.arange(10).expand(4, -1) * (torch.arange(10) < n[:, None])
    seen = set()
    for seed in range(20):
        out = delete(tokens, n, share, generator=torch.Generator().manual_seed(seed))
        for row, length in enumerate(n.tolist()):
            count = math.ceil(round(share * length, 9))
            assert int(out.removed[row].sum()) == count and int(out.n_source[row]) == length - count
            assert not out.removed[row, length:].any(), "padding is nothing to remove"
            survivors = out.source[row, : length - count].tolist()
            assert survivors == sorted(survivors) and len(set(survivors)) == len(survivors)
            assert survivors == [t for t in range(length) if not out.removed[row, t]]
            assert (out.source[row, length - count :] == 0).all()
        assert torch.equal(out.target, tokens) and torch.equal(out.n_target, n)
        seen.add(tuple(out.removed[0].tolist()))
    assert len(seen) > 1 or share in (0.0, 1.0)


def test_the_other_kinds_of_deletion():
    tokens, n = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 0, 0, 0]]), torch.tensor([5, 2])
    missing = delete(tokens, n, 0.6, target="deleted", generator=torch.Generator().manual_seed(0))
    assert missing.n_source.tolist() == [2, 0] and missing.n_target.tolist() == [3, 2]
    assert sorted(missing.source[0, :2].tolist() + missing.target[0].tolist()) == [1, 1, 3, 4, 5]
    masked = delete(tokens, n, 0.6, "mask", mask_id=99)
    assert (masked.source == 99).sum(1).tolist() == [3, 2] and torch.equal(masked.target, tokens)
    assert torch.equal(masked.source[~masked.removed], tokens[~masked.removed])
    moved, number = compact(tokens, torch.tensor([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]).bool())
    assert moved.tolist() == [[1, 1, 5], [0, 0, 0]] and number.tolist() == [3, 0]
    assert choose(torch.tensor([4, 9]), 9, 0.6).sum(1).tolist() == [3, 6]
    for wrong in (
        {"share": 1.1},
        {"kind": "swap"},
        {"kind": "mask"},
        {"kind": "mask", "mask_id": 9, "target": "deleted"},
    ):
        with pytest.raises(ValueError, match="expected|needs"):
            delete(tokens, n, **wrong)


# --- freezing


@pytest.mark.parametrize("lower", [0, 1, 2, 3])
def test_the_papers_freezing_leaves_text_embeddings_and_the_lower_layers(lower):
    model = TextToSemantic(small(languages=["en", "pl"]))
    freeze_for(model, "paper", lower)
    tops = {
        ".".join(name.split(".")[: 3 if name.startswith("encoder.layers") else 2])
        for name in trained_parameters(model)
    }
    assert tops == {"tables.text", "languages.weight"} | {f"encoder.layers.{i}" for i in range(lower)}


def test_the_other_freezings():
    model = TextToSemantic(small(early_exit_layer=1))
    freeze_for(model, "lucidrains", 2)
    parts = {name.split(".")[0] for name in trained_parameters(model)}
    assert parts == {"tables", "encoder", "early_exit"}
    assert not any(n.startswith(("encoder.layers.0", "encoder.layers.1")) for n in trained_parameters(model))
    assert any(n.startswith("encoder.layers.2") for n in trained_parameters(model))
    back = TextToSemantic(small())
    freeze_for(back, "backtranslate")
    assert {n.split(".")[0] for n in trained_parameters(back)} == {"decoder", "tables"}
    assert "tables.semantic.rows" not in trained_parameters(back)
    everything = TextToSemantic(small())
    freeze_for(everything, "none")
    assert len(trained_parameters(everything)) == len(list(everything.parameters()))
    with pytest.raises(ValueError, match="the encoder has 3 layers, got 4"):
        freeze_for(TextToSemantic(small()), "paper", 4)
    with pytest.raises(ValueError, match="freezing: expected one of"):
        freeze_for(TextToSemantic(small()), "most")


# --- the store


def item(name, tokens, text, score, finished=True):
    return Pseudo(name, "en-us", np.array(tokens), np.array(text, np.int64), score, finished)


def write_store(folder, shards):
    manifest = _begin(folder, SPEC, "phones", {"beams": 1}, 0)
    for number, items in enumerate(shards):
        _write_shard(folder, f"shard-{number:05d}", items, 25, "phones")
        manifest["shards"].append(f"shard-{number:05d}")
        _write_manifest(folder, manifest)
    return PseudoStore(folder)


def test_what_is_read_is_what_was_stored_whatever_the_ids(tmp_path):
    """No id stands for a border: the lowest and the highest of both vocabularies, in every place."""
    text_top = TextToSemantic(small()).tables["text"].n_tokens - 1
    rng = np.random.default_rng(0)
    shards = [
        [
            item(
                f"u{s}{i}",
                rng.choice([0, 15, 7], rng.integers(1, 9)),
                rng.choice([0, text_top], i),
                -0.1 * i,
                i != 2,
            )
            for i in range(5)
        ]
        for s in range(3)
    ]
    store = write_store(tmp_path / "store", shards)
    assert len(store) == 15
    for place, expected in enumerate(x for shard in shards for x in shard):
        found = store.read(place)
        assert found.id == expected.id and found.language == "en-us" and found.finished == expected.finished
        assert np.array_equal(found.tokens, expected.tokens) and np.array_equal(found.text, expected.text)
        assert found.score == pytest.approx(expected.score)
    lines = (tmp_path / "store" / "shard-00001.jsonl").read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[3])["id"] == "u13"


def test_labels_are_selected_by_score_length_and_rate(tmp_path):
    items = [
        item("good", range(10), [8] * 5, -0.1),
        item("poor", range(10), [8] * 5, -2.0),
        item("cut", range(10), [8] * 5, -0.2, finished=False),
        item("long", list(range(16)) * 4, [8] * 30, -0.3),
        item("babble", range(5), [8] * 40, -0.05),
        item("empty", range(10), [], -0.01),
    ]
    store = write_store(tmp_path / "store", [items[:4], items[4:]])

    def chosen(**wanted):
        return [store.read(p).id for p in store.select(Selection(**wanted))]

    assert chosen() == ["good", "poor", "long", "babble"]
    assert chosen(unfinished=True) == ["good", "poor", "cut", "long", "babble"]
    assert chosen(min_score=-0.5) == ["good", "long", "babble"]
    assert chosen(max_rate=30) == ["good", "poor", "long"]
    assert chosen(max_rate=30, keep_best=0.6) == ["good", "long"]
    assert chosen(min_seconds=0.3, max_seconds=1.0) == ["good", "poor"]
    pairs = PseudoPairs(store, small(), Selection(max_rate=30), weight=2.0)
    example = pairs.read(2, np.random.default_rng(0))
    assert example.tokens.tolist() == list(range(16)) * 4 and example.text.tolist() == [8] * 30
    assert np.isnan(example.durations).all() and pairs.weights[2] == pytest.approx(2 * 64 / 25)
    with pytest.raises(ValueError, match="none of 6 labels passes"):
        PseudoPairs(store, small(), Selection(min_score=0.5))
    with pytest.raises(ValueError, match="the model reads bytes"):
        PseudoPairs(store, small(tokenizer="bytes"), Selection())
    with pytest.raises(ValueError, match="labels of tokens"):
        PseudoPairs(store, TextToSemanticConfig(), Selection())
    with pytest.raises(ValueError, match="keep_best"):
        Selection(keep_best=0)


def test_an_interrupted_run_goes_on_and_gives_the_same(pack, tmp_path):
    torch.manual_seed(0)
    model = TextToSemantic(small()).eval()
    options = {"beams": 2, "shard_items": 1, "splits": ("train", "dev"), "batch_size": 4}
    whole = generate(model, pack, tmp_path / "whole", **options)
    assert len(whole) == 6 and len(whole.manifest["shards"]) == 6

    def stop(line):
        if line.startswith("shard-00002"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model, pack, tmp_path / "parts", **options, say=stop)
    assert len(PseudoStore(tmp_path / "parts")) == 3
    written = (tmp_path / "parts" / "shard-00001.npz").stat().st_mtime_ns
    lines = []
    again = generate(model, pack, tmp_path / "parts", **options, say=lines.append)
    assert len(lines) == 3 and (tmp_path / "parts" / "shard-00001.npz").stat().st_mtime_ns == written
    for place in range(6):
        a, b = whole.read(place), again.read(place)
        assert a.id == b.id and np.array_equal(a.text, b.text) and a.score == pytest.approx(b.score)
    with pytest.raises(ValueError, match="made with other settings"):
        generate(model, pack, tmp_path / "parts", **(options | {"beams": 3}))
    with pytest.raises(ValueError, match="not a store"):
        PseudoStore(tmp_path)


# --- data and recipe


def test_speech_alone_and_minutes_of_pairs(pack):
    alone = SpeechOnly(str(pack), small(), DataConfig(str(pack), max_seconds=1.0), ("train",))
    pieces = [alone.read(0, np.random.default_rng(i)) for i in range(10)]
    assert all(len(p.tokens) == 25 for p in pieces) and len({tuple(p.tokens) for p in pieces}) > 1
    pairs = PackPairs(str(pack), small(), DataConfig(str(pack)))
    part = subset(pairs, 4 / 60, seed=1)
    assert len(part) == 2 and part.seconds.sum() <= 4
    assert np.array_equal(part.places, subset(pairs, 4 / 60, seed=1).places)
    assert subset(pairs, None) is pairs
    with pytest.raises(ValueError, match="not one of 4 utterances"):
        subset(pairs, 0.001)


@pytest.mark.parametrize(
    "options",
    [
        {"stage": "pretrain"},
        {"stage": "pretrain", "deletion_kind": "mask"},
        {"stage": "pretrain", "deletion_target": "deleted"},
        {"stage": "backtranslate"},
        {"stage": "final", "condition_dropout": 0.2},
    ],
)
def test_every_stage_has_finite_losses_and_figures(options, pack):
    recipe = Recipe(
        small(),
        LowResourceData(str(pack)),
        RecipeConfig(**options),
        {},
        TrainConfig(batch_size=3, num_workers=0),
    )
    ((name, losses),) = recipe.turns(next(recipe.batches(0)), 0)
    assert set(losses) == {"text" if options["stage"] == "backtranslate" else "semantic"}
    sum(losses.values()).backward()
    recipe.modules["t2s"].eval()
    with torch.no_grad():
        first, second = recipe.validate(), recipe.validate()
    assert math.isfinite(first["loss"]) and 0 <= first["accuracy"] <= 1
    assert first == second, "the same tokens are deleted each time"


def test_what_does_not_go_together_is_refused(pack):
    build = lambda stage, model=None, **data: Recipe(  # noqa: E731
        model or small(), LowResourceData(str(pack), **data), RecipeConfig(stage), {}, TrainConfig()
    )
    with pytest.raises(ValueError, match="stage: expected one of"):
        RecipeConfig("warm-up")
    with pytest.raises(ValueError, match="whose positions are none or rate"):
        build("final", small(positions="durations"))
    with pytest.raises(ValueError, match="or pseudo-labels"):
        build("finetune", parallel_minutes=0)
    with pytest.raises(ValueError, match="learns from real pairs"):
        build("backtranslate", pseudo=PseudoConfig("nowhere"))


def test_all_stages_one_after_the_other(pack, tmp_path, capsys):
    def stage(name, *more):
        arguments = [
            f"data.pack={pack}",
            f"train.runs_folder={tmp_path}",
            f"train.run={name}",
            f"recipe.stage={name}",
            *more,
        ]
        assert train.main(["configs/tiny/spear_low_resource.yaml", *arguments]) == 0
        return tmp_path / name / "step_00000002"

    def changed(before, after):
        a, b = (TextToSemantic.from_pretrained(f).state_dict() for f in (before, after))
        return {n for n in a if not torch.equal(a[n], b[n])}

    first = stage("pretrain")
    back = stage("backtranslate", f"init={first}", "model=init", "losses={t2s: {text: 1.0}}")
    assert all(n.startswith(("decoder.", "tables.text")) for n in changed(first, back))
    labels = ["pseudo", str(pack), "--model", str(back), "--out", str(tmp_path / "store"), "--beams", "2"]
    assert prepare.main(labels) == 0
    assert "4 labels of 0.00 h" in capsys.readouterr().out
    assert prepare.main([*labels[:-1], "3"]) == 2 and "other settings" in capsys.readouterr().err
    store = PseudoStore(tmp_path / "store")
    assert len(store) == 4
    pseudo = f"data.pseudo={{folder: {store.folder}, weight: 2.0, select: {{unfinished: true}}}}"
    tuned = stage("finetune", f"init={first}", "model=init", pseudo, "data.parallel_minutes=1.0")
    moved = changed(first, tuned)
    assert moved and all(n.startswith(("encoder.layers.0.", "tables.text")) for n in moved)
    last = stage("final", f"init={tuned}", "model=init", "data.parallel_minutes=0.1")
    assert any(n.startswith("decoder.") for n in changed(tuned, last))
    TextToSemantic.from_pretrained(last).generate(torch.tensor([[8, 9, 10]]), max_tokens=5)


def test_full_configurations_are_read(tmp_path):
    model = TextToSemantic(small())
    model.save_pretrained(tmp_path)
    for name in ("backtranslate", "finetune", "final"):
        _, _, sections, losses, _ = train.read(
            f"configs/spear/low_resource_{name}.yaml", [f"init={tmp_path}"]
        )
        assert sections.recipe.stage == name and set(losses["t2s"]) == {
            "text" if name == "backtranslate" else "semantic"
        }
    _, _, sections, _, _ = train.read("configs/spear/low_resource_pretrain.yaml", [])
    assert sections.model.encoder_layers == 4 and sections.recipe.deletion == 0.6
