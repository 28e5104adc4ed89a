"""Training the Whisper bottleneck at micro size: losses fall, Whisper stays as it is, codes are used; tokens go into packs."""

import json

import numpy as np
import pytest
import torch
from make_pack import make_pack
from tiny_whisper import make_whisper

import prepare
import train
from spear.tokenizers import load_tokenizer
from spear.tokens import token_use
from spear.whisper_tokens.data import IGNORED, collate
from spear.whisper_tokens.model import BottleneckOutput
from speech.packs import Pack
from speech.token_arrays import require_semantic_tokens


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return make_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture
def pack(tmp_path):
    """Utterances whose texts differ, so that something has to be heard."""
    folder = make_pack(tmp_path / "pack", seconds=1.6)
    path = folder / "utterances.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, text in zip(lines, ("one", "TWO THREE", "four", "five", "six", "one"), strict=True):
        line["text"] = text
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def settings(pack, whisper, *more):
    return [f"data.pack={pack}", f"train.runs_folder={pack}/runs", f"model.whisper={whisper}", *more]


def open_recipe(pack, whisper, *more):
    path = "configs/tiny/spear_whisper_tokens.yaml"
    _, cls, sections, losses, config = train.read(path, settings(pack, whisper, *more))
    torch.manual_seed(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses["bottleneck"]


def steps(recipe, weights, batch, number, lr=3e-3):
    """Losses of `number` steps on one batch."""
    optimizer = torch.optim.AdamW(recipe.modules["bottleneck"].parameters(), lr)
    recipe.modules["bottleneck"].train()
    values = []
    for step in range(number):
        ((_, turn),) = recipe.turns(batch, step)
        optimizer.zero_grad()
        sum(weights[key] * value for key, value in turn.items()).backward()
        optimizer.step()
        values.append({key: value.item() for key, value in turn.items()})
    return values


def test_losses_fall_codes_are_used_evenly_and_whisper_stays_as_it_is(pack, whisper):
    recipe, weights = open_recipe(pack, whisper, "train.batch_size=4", "model.dead_below=0.5")
    before = {name: p.clone() for name, p in recipe.whisper.model.state_dict().items()}
    batch = next(recipe.batches(0))
    values = steps(recipe, weights, batch, 60)
    assert values[0].keys() == weights.keys()
    for key in ("cross_entropy", "kl", "commitment"):
        assert values[-1][key] < 0.95 * values[0][key], key  # a random teacher and the texts pull apart
    assert all(torch.equal(p, before[name]) for name, p in recipe.whisper.model.state_dict().items())
    bottleneck = recipe.modules["bottleneck"].eval()
    states = recipe.whisper.encode_mel(batch.mel)
    first, second = (bottleneck.quantize(states, batch.n_frames) for _ in range(2))
    assert torch.equal(first, second)
    use = token_use([first[first != bottleneck.padding_code]], 16)
    assert use.entropy_share > 0.7, use  # of steady tones, which have little to tell apart


@pytest.mark.parametrize(("key", "share"), [("cross_entropy", 0.85), ("kl", 0.05)])
def test_each_loss_alone_is_learnt_through_the_frozen_decoder(pack, whisper, key, share):
    recipe, weights = open_recipe(pack, whisper, "train.batch_size=4")
    only = {name: float(name in (key, "commitment")) for name in weights}
    values = steps(recipe, only, next(recipe.batches(0)), 60)
    assert values[-1][key] < share * values[0][key], (values[0], values[-1])


def test_padding_of_texts_counts_in_no_loss(pack, whisper):
    recipe, _ = open_recipe(pack, whisper)
    short, long = (recipe.utterances.read(i) for i in (0, 1))
    recipe.modules["bottleneck"].eval()

    def losses(examples):
        ((_, turn),) = recipe.turns(collate(examples), 0)
        return {key: value.item() for key, value in turn.items()}

    padded, other = collate([short, long]), collate([long])
    assert (padded.targets[0] != IGNORED).sum() == 1 + len(recipe.whisper.text_ids("one"))
    assert other.targets[0, :3].tolist() == [IGNORED] * 3 and other.targets[0, -1] == recipe.whisper.end
    assert recipe.whisper.text(other.targets[0, 3:-1].tolist()) == "two three"
    alone, together, batch = losses([short]), losses([long]), losses([short, long])
    n = [int((collate([e]).targets != IGNORED).sum()) for e in (short, long)]
    for key in ("cross_entropy", "kl"):
        mean = (alone[key] * n[0] + together[key] * n[1]) / sum(n)
        assert batch[key] == pytest.approx(mean, rel=1e-4)


def test_without_codes_the_decoder_expects_what_the_teacher_does(pack, whisper):
    recipe, _ = open_recipe(pack, whisper)

    class Through(torch.nn.Module):
        padding_code = 16
        config = recipe.modules["bottleneck"].config

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, states, n_frames):
            return BottleneckOutput(states, torch.zeros(len(states), 50).long(), torch.zeros(()))

    recipe.modules["bottleneck"] = Through()
    found = recipe.validate()
    assert found["kl"] == pytest.approx(0, abs=1e-6)
    assert found["accuracy"] == found["accuracy_without_codes"] and found["entropy_share"] == 0


def test_it_trains_and_its_tokens_go_into_a_pack(pack, whisper, capsys):
    assert train.train("configs/tiny/spear_whisper_tokens.yaml", settings(pack, whisper)) == 2
    folder = pack / "runs" / "tiny_spear_whisper_tokens" / "step_00000002"
    arguments = ["tokens", str(pack), "--tokenizer", str(folder)]
    assert prepare.main(arguments) == 0
    tokenizer = load_tokenizer(folder)  # its config says where Whisper lies
    read = Pack(pack)
    assert require_semantic_tokens(read, tokenizer.spec) == tokenizer.spec
    for i in range(len(read)):
        wav = read.read("wav", i).astype(np.float32) / 32768
        assert np.array_equal(read.read("semantic_tokens", i), tokenizer.encode_audio(wav)[0].numpy())
    assert prepare.main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert prepare.main([*arguments, "--check"]) == 0
    assert "word error rate: " in capsys.readouterr().out


def test_whisper_s_own_transcripts_are_targets_too(pack, whisper, capsys):
    with pytest.raises(ValueError, match="no 'whisper_text'; run prepare.py tokens"):
        open_recipe(pack, whisper, "data.transcripts=whisper")
    command = ["tokens", str(pack), "--transcribe", "--whisper", str(whisper)]
    assert prepare.main(command[:3]) == 2
    assert "--transcribe expects --whisper" in capsys.readouterr().err
    assert prepare.main(command) == 0
    recipe, weights = open_recipe(pack, whisper, "data.transcripts=whisper")
    read = Pack(pack)
    for i in recipe.indices:
        wav = read.read("wav", i).astype(np.float32) / 32768
        heard = recipe.whisper.transcribe(recipe.whisper.encode_mel(recipe.whisper.mel(wav)[None]), "en-us")[
            0
        ]
        assert read.read("whisper_text", i).tolist() == heard == recipe.utterances.text_ids(i)
    # what Whisper said greedily is what it expects, so without codes it is right about every token
    assert recipe.validate()["accuracy_without_codes"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("data.transcripts=guessed", "data.transcripts 'guessed': expected 'whisper' or 'given'"),
        ("data.max_text=1", "no utterance of at most 2 s and 1 text tokens"),
        ("model.window=50", "windows of 100 frames, the bottleneck was made for 50"),
        ("model.semantic.dim=8", "Whisper gives .*dim=16"),
        ("recipe.whisper=/no/such/folder", "no whisper weights could be read from /no/such/folder"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(pack, whisper, more, says):
    with pytest.raises(ValueError, match=says):
        open_recipe(pack, whisper, more)
