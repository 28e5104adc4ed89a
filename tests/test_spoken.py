"""An encoder that learns what a voice itself says: the pack of spoken texts, and the loss that follows text-to-vec's features."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from make_pack import make_pack
from tiny_voice import SEMANTIC, build_voice, recording

import train
from hierspeech.pipelines import spoken
from speech.checkpoint import folded_state_dict
from speech.packs import Pack
from speech.semantic.phonetic import PhoneticEncoder
from speech.semantic.phonetic_recipe import in_room
from speech.starting import load_init
from speech.training import seed_everything

TEXTS = "The old clock stopped just before midnight.\n\nShe counted apples, and he counted pears.\n"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken")
    make_pack(folder / "pack", semantic_dim=SEMANTIC.dim, seconds=2.4)
    build_voice(folder / "voice", "lite")
    (folder / "texts.txt").write_text(TEXTS)
    return folder


@pytest.fixture(scope="module")
def pack(workplace):
    assert spoken.main(command(workplace, workplace / "spoken", "--hours=0.004")) == 0
    return Pack(workplace / "spoken")


def command(workplace, out, *more):
    return [
        str(workplace / "pack"),
        str(workplace / "texts.txt"),
        str(out),
        f"--voice={workplace / 'voice'}",
        *more,
    ]


def test_a_pack_holds_speech_and_the_features_it_was_spoken_from(pack):
    seconds = sum(pack.length("wav", i) for i in range(len(pack))) / 16000
    assert 0.004 * 3600 <= seconds < 0.004 * 3600 + 10 and len(pack) > 2
    for index, utterance in enumerate(pack.utterances):
        wav, features = pack.read("wav", index), pack.read("predicted", index)
        assert (
            len(wav) == 320 * len(features)
            and features.shape[1] == SEMANTIC.dim
            and features.dtype == np.float16
        )
        assert 500 < np.abs(wav.astype(float)).mean() < 8000  # levelled, as recordings are
        assert utterance["split"] == "train" and utterance["source"] == "spoken"


def test_equal_seeds_give_equal_packs_and_others_do_not(workplace, pack, tmp_path):
    for seed, same in ((0, True), (1, False)):
        assert spoken.main(command(workplace, tmp_path / str(seed), "--hours=0.002", f"--seed={seed}")) == 0
        other = Pack(tmp_path / str(seed))
        assert np.array_equal(other.read("predicted", 0), pack.read("predicted", 0)) == same


def test_sentences_with_words_of_held_out_recordings_are_not_spoken(workplace, tmp_path, capsys):
    def pack(dev):
        splits = {"dev": dev, "train": "she counted apples and pears"}
        return SimpleNamespace(utterances=[{"split": split, "text": text} for split, text in splits.items()])

    texts = [
        "She said: a girl\u2019s old cousin was late.",  # five words in a row, however they are written
        "A girl's old cousin sat there.",  # four
        "Old cousin!",
        "She counted apples and pears.",  # of a training recording
    ]
    assert spoken.unheard(texts, pack("AND A GIRL'S OLD COUSIN WAS THERE")) == texts[1:]
    assert spoken.unheard(texts, pack("OLD COUSIN")) == [*texts[:2], texts[3]]
    assert spoken.unheard(texts, pack("")) == texts
    (tmp_path / "texts.txt").write_text("Hello, world!\n")  # what the pack's speakers say
    arguments = command(workplace, tmp_path / "out")
    arguments[1] = str(tmp_path / "texts.txt")
    assert spoken.main(arguments) == 2
    assert "every sentence has words of" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        ("\n \n", [], "expected one sentence a line, got none"),
        (TEXTS, ["--hours=0"], "hours 0: expected a number above 0"),
        ("...\n", [], "a thousand texts in a row cannot be spoken"),
        (None, [], "not a readable text"),
    ],
)
def test_what_cannot_be_spoken_is_one_sentence_and_leaves_nothing(
    workplace, tmp_path, capsys, texts, more, said
):
    if texts is not None:
        (tmp_path / "texts.txt").write_text(texts)
    arguments = command(workplace, tmp_path / "out", *more)
    arguments[1] = str(tmp_path / "texts.txt")
    assert spoken.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.glob("*out*"))


def recipe_of(workplace, *more):
    arguments = [
        f"train.init={workplace / 'voice'}",
        f"data.pack={workplace / 'pack'}",
        f"data.spoken={workplace / 'spoken'}",
        "data.seconds=0.6",
        "train.batch_size=8",
        "train.num_workers=0",
        "recipe.perturbation.masks=0",
        "recipe.perturbation.noise=0.0",
        *more,
    ]
    _, cls, sections, losses, config = train.read("configs/lite/phonetic_match.yaml", arguments)
    seed_everything(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config), config, losses


def test_a_batch_mixes_recordings_with_what_the_voice_spoke(workplace, pack):
    recipe, _, _ = recipe_of(workplace)
    wav, labels, features, lengths = next(recipe.batches(0))
    phones, known = (labels >= 0).any(1), ~features[..., 0].isnan()
    assert 0 < phones.sum() < 8  # recordings know their phones, spoken texts do not
    assert known.any(1).all()  # and both know features
    assert torch.equal(known.sum(1), lengths // 320)
    place = int((~phones).nonzero()[0])
    rows = torch.cat(
        [torch.from_numpy(pack.read("predicted", i).astype(np.float32)) for i in range(len(pack))]
    )
    piece = features[place][known[place]]
    windows = rows.unfold(0, len(piece), 1).transpose(1, 2)
    assert (windows == piece).all((1, 2)).any()  # they are a piece of the pack's


def test_batches_without_phones_or_features_give_numbers(workplace, pack):
    recipe, _, _ = recipe_of(workplace, "data.spoken_share=1.0")
    batch = next(recipe.batches(0))
    ((_, turn),) = recipe.turns(batch, 0)
    assert float(turn["phones"].detach()) == 0 and float(turn["features"].detach()) > 0
    nothing = (batch[0], batch[1], torch.full_like(batch[2], torch.nan), batch[3])
    ((_, turn),) = recipe.turns(nothing, 0)
    assert float(turn["features"].detach()) == 0


def test_the_features_are_learnt_and_the_classifier_stays(workplace, pack, tmp_path):
    recipe, _, _ = recipe_of(workplace)
    batch = next(recipe.batches(0))
    recipe.recipe.perturbation = None
    optimizer = torch.optim.Adam(
        [p for n, p in recipe.modules["encoder"].named_parameters() if "classifier" not in n], 1e-2
    )
    errors = []
    for _ in range(40):
        ((_, turn),) = recipe.turns(batch, 0)
        errors.append(float(turn["features"].detach()))
        optimizer.zero_grad()
        turn["features"].backward()
        optimizer.step()
    assert errors[-1] < 0.8 * errors[0]
    arguments = [
        f"data.pack={workplace / 'pack'}", f"data.spoken={workplace / 'spoken'}", f"train.runs_folder={tmp_path}",
        f"train.init={workplace / 'voice'}", "train.max_steps=2", "train.batch_size=2", "train.num_workers=0",
        "data.seconds=0.6", "train.device=cpu", "train.save_every=2", "train.ema=0", "train.precision=fp32",
    ]  # fmt: skip
    assert train.main(["configs/lite/phonetic_match.yaml", *arguments]) == 0
    trained = PhoneticEncoder.from_pretrained(tmp_path / "lite_phonetic_match/step_00000002")
    before = folded_state_dict(PhoneticEncoder.from_pretrained(workplace / "voice/phonetic"))
    changed = {k for k, v in folded_state_dict(trained).items() if not torch.equal(v, before[k])}
    assert "stem.weight" in changed and not {"classifier.weight", "classifier.bias"} & changed


def test_a_deeper_encoder_starts_as_the_one_it_grew_from(workplace):
    shallow = PhoneticEncoder.from_pretrained(workplace / "voice/phonetic").eval()
    deep = PhoneticEncoder(replace(shallow.config, layers=shallow.config.layers + 2)).eval()
    load_init(deep, workplace / "voice")
    wav = torch.from_numpy(recording())[None]
    with torch.no_grad():
        assert torch.equal(deep(wav), shallow(wav))
    deep.train()(wav).square().sum().backward()
    assert all(block.contract.weight.grad.any() for block in deep.blocks)  # what was added can learn
    flat = PhoneticEncoder(replace(shallow.config, layers=shallow.config.layers - 1))
    with pytest.raises(ValueError, match="layers"):
        load_init(flat, workplace / "voice")


def test_a_room_echoes_and_keeps_the_direct_sound():
    click = np.zeros(16000, np.float32)
    click[1000] = 0.5
    heard = in_room(click, np.random.default_rng(0))
    tail = heard[1001 : 1000 + int(0.35 * 16000)]
    assert heard.dtype == np.float32 and heard.shape == click.shape and heard[1000] == pytest.approx(0.5)
    assert np.abs(heard[:1000]).max() < 1e-6 and np.abs(heard[1000 + int(0.36 * 16000) :]).max() < 1e-6
    level = 10 * np.log10(np.square(tail).sum() / 0.25)
    assert -15 < level < -1.5 and np.square(tail[:500]).sum() > 2 * np.square(tail[1000:1500]).sum()


def test_reverberant_examples_keep_their_features(workplace, pack):
    dry, room = (
        recipe_of(workplace, "data.spoken_share=1.0", f"data.spoken_reverberant={share}")[0].example(
            0, np.random.default_rng(3)
        )
        for share in (0.0, 1.0)
    )
    assert not torch.equal(dry[0], room[0]) and dry[3] == room[3]
    n = dry[3] // 320
    assert torch.equal(dry[2][:n], room[2][:n])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("losses.encoder={phones: 1.0}", "data.spoken has no phones"),
        ("data.spoken=nowhere", "nowhere: not a pack"),
    ],
)
def test_what_does_not_fit_is_refused(workplace, change, said):
    with pytest.raises(ValueError, match=said):
        recipe_of(workplace, change)
