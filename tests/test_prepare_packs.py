"""Packs: plain and sharded ones read alike, an index never shows half of anything, interrupted stages leave nothing."""

import json
import pickle

import numpy as np
import pytest
from make_pack import make_pack

import train
from speech.pack_index import forget_arrays, write_index
from speech.packs import Pack, SpeakerIndex, Utterances, shard_name, write_arrays, write_utterances
from speech.semantic.encoder import SemanticSpec

ARRAYS = ["wav", "f0", "token_ids", "token_ends", "phone_ids", "phone_ends", "semantic", "predicted"]


def shard(plain: Pack, folder, sizes):
    """The pack `plain` again, in shards of `sizes` utterances."""
    start = 0
    for k, size in enumerate(sizes):
        place = folder / shard_name(k)
        write_utterances(place, plain.utterances[start : start + size])
        for name in ARRAYS if size else ():
            write_arrays(place, [name], [(plain.read(name, i),) for i in range(start, start + size)])
        (place / "semantic.spec.json").write_text(json.dumps(plain.semantic_spec))
        start += size
    write_index(folder, len(sizes))
    return Pack(folder)


@pytest.fixture
def plain(tmp_path):
    return Pack(make_pack(tmp_path / "plain"))


@pytest.mark.parametrize("sizes", [(6,), (2, 3, 1), (0, 4, 0, 0, 2, 0)])
def test_a_sharded_pack_reads_like_a_plain_one(plain, tmp_path, sizes):
    sharded = shard(plain, tmp_path / "sharded", sizes)
    assert len(sharded) == len(plain) == 6
    assert list(sharded.utterances) == list(plain.utterances)
    for field in ("speaker", "split", "source", "language", "text"):
        assert sharded.utterances.column(field) == [u[field] for u in plain.utterances]
    assert [SpeakerIndex(sharded).recordings(i).tolist() for i in (0, 3)] == [[0, 1], [2, 3]]
    for name in ARRAYS:
        assert sharded.has(name) and (sharded.lengths(name) == plain.lengths(name)).all()
        for i in range(6):
            assert np.array_equal(sharded.read(name, i), plain.read(name, i))
            assert np.array_equal(sharded.read(name, i, 3, 7), plain.read(name, i, 3, 7))
            assert sharded.length(name, i) == plain.length(name, i)
    sharded.require_semantic(SemanticSpec("phonetic", 1, 8, 50))
    with pytest.raises(ValueError, match="holds semantic features of"):
        sharded.require_semantic(SemanticSpec("phonetic", 2, 8, 50))
    draws = [
        SpeakerIndex(pack).prompt(3, 400, np.random.default_rng(0)) for pack in (plain, sharded)
    ]  # resumed runs draw what they drew
    assert np.array_equal(*draws)
    assert np.array_equal(pickle.loads(pickle.dumps(sharded)).read("f0", 5), plain.read("f0", 5))


def test_arrays_can_be_added_to_a_sharded_pack_and_taken_off(plain, tmp_path):
    sharded = shard(plain, tmp_path / "sharded", (2, 0, 4))
    write_arrays(sharded.folder, ["x"], ((np.full(i, i, np.int16),) for i in range(6)))
    pack = Pack(sharded.folder)
    assert [pack.read("x", i).tolist() for i in range(6)] == [[i] * i for i in range(6)]
    forget_arrays(sharded.folder, ["x", "semantic"])
    pack = Pack(sharded.folder)
    assert not pack.has("x") and pack.semantic_spec is None and pack.has("f0")
    with pytest.raises(ValueError, match="of 1 utterances, not 2"):
        write_arrays(sharded.folder, ["x"], [(np.zeros(1),)])


def test_an_array_that_a_shard_lacks_or_has_of_another_kind_is_not_shown(plain, tmp_path):
    folder = shard(plain, tmp_path / "sharded", (3, 3)).folder
    (folder / shard_name(1) / "f0.json").unlink()
    write_index(folder, 2)
    assert not Pack(folder).has("f0") and Pack(folder).has("wav")
    write_arrays(folder / shard_name(1), ["f0"], [(np.zeros(4, np.float64),)] * 3)
    with pytest.raises(ValueError, match="'f0' has .* the shards before have"):
        write_index(folder, 2)
    assert not Pack(folder).has("f0")  # the index before is still there
    write_arrays(folder / shard_name(1), ["f0"], [(np.zeros(4, np.float16),)] * 3)
    (folder / shard_name(1) / "semantic.spec.json").write_text("{}")
    with pytest.raises(ValueError, match="several encoders"):
        write_index(folder, 2)


def test_a_shard_that_does_not_fit_the_index_is_named(plain, tmp_path):
    folder = shard(plain, tmp_path / "sharded", (3, 3)).folder
    write_arrays(folder / shard_name(1), ["f0"], [(np.zeros(4, np.float16),)] * 3)
    with pytest.raises(ValueError, match="00001/f0.bin: .* do not fit the index"):
        Pack(folder).read("f0", 5)


def test_utterances_are_a_sequence_of_records(tmp_path):
    rows = [{"id": f"ü{i}", "speaker": "a\u2028b" * (i % 2)} for i in range(5)]
    write_utterances(tmp_path, rows)
    found = Utterances(tmp_path / "utterances.jsonl")
    assert list(found) == rows and found[-1] == rows[-1] and found[1:4] == rows[1:4]
    assert found.column("speaker") == ["", "a\u2028b", "", "a\u2028b", ""]
    with pytest.raises(IndexError):
        found[5]
    write_utterances(tmp_path, [])
    assert list(Utterances(tmp_path / "utterances.jsonl")) == []


def test_what_is_no_pack_or_not_finished_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a pack made by prepare.py"):
        Pack(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ValueError, match="not finished"):
        Pack(tmp_path)


def test_an_interrupted_stage_leaves_nothing_under_its_name(tmp_path):
    write_utterances(tmp_path, [{"id": "a", "speaker": "s"}, {"id": "b", "speaker": "s"}])

    def rows():
        yield (np.zeros((3, 2), np.float32),)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path, ["x"], rows())
    assert not Pack(tmp_path).has("x") and not list(tmp_path.glob("x*"))
    with pytest.raises(ValueError, match="run prepare.py"):
        Pack(tmp_path).read("x", 0)
    write_arrays(tmp_path, ["x"], iter([(np.ones((3, 2), np.float32),), (np.zeros((1, 2), np.float32),)]))
    pack = Pack(tmp_path)
    assert pack.read("x", 0, 1).shape == (2, 2) and pack.read("x", 1).sum() == 0 and pack.length("x", 0) == 3


def test_a_prompt_is_another_recording_of_the_speaker(tmp_path):
    write_utterances(tmp_path, [{"id": str(i), "speaker": s} for i, s in enumerate("aab")])
    write_arrays(tmp_path, ["wav"], [(np.full(1000, value, np.int16),) for value in (3277, 6554, 9830)])
    index, rng = SpeakerIndex(Pack(tmp_path)), np.random.default_rng(0)
    assert index.prompt(0, 400, rng) == pytest.approx(0.2, abs=1e-3)
    assert index.prompt(1, 400, rng) == pytest.approx(0.1, abs=1e-3)
    assert index.prompt(2, 4000, rng).shape == (1000,)  # alone: a piece of itself


@pytest.mark.parametrize("name", ["phonetic", "aligned_ttv"])
def test_training_on_a_sharded_pack_gives_the_weights_of_the_plain_one(plain, tmp_path, name):
    sharded = shard(plain, tmp_path / "sharded", (1, 0, 3, 2))
    weights = []
    for pack in (plain, sharded):
        runs = tmp_path / f"runs-{pack.folder.name}"
        arguments = [f"data.pack={pack.folder}", f"train.runs_folder={runs}", "train.num_workers=0"]
        assert train.main([f"configs/tiny/{name}.yaml", *arguments]) == 0
        weights.append((runs / f"tiny_{name}" / "step_00000002" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
