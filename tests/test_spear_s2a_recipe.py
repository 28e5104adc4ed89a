"""The recipes of both semantic-to-acoustic models: they train through train.py, learn what a pack holds, and refuse packs that do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from make_token_pack import CODEC, TOKENS, codes_of, make_token_pack

import train
from spear.codec.codec import CodecSpec
from spear.sampling import Sampling
from spear.semantic_to_acoustic import MaskedSemanticToAcoustic, SemanticToAcoustic
from spear.semantic_to_acoustic.data import collate
from speech.packs import Pack, write_arrays

CONFIGS = {"s2a": "configs/tiny/spear_s2a.yaml", "soundstorm": "configs/tiny/spear_soundstorm.yaml"}
CLASSES = {"s2a": SemanticToAcoustic, "soundstorm": MaskedSemanticToAcoustic}
KINDS = sorted(CONFIGS)


def open_recipe(kind, folder, *more):
    arguments = [f"data.pack={folder}", f"train.runs_folder={folder}/runs", *more]
    _, cls, sections, losses, config = train.read(CONFIGS[kind], arguments)
    torch.manual_seed(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_through_train_py_and_a_resume(kind, tmp_path):
    make_token_pack(tmp_path)
    arguments = [f"data.pack={tmp_path}", f"train.runs_folder={tmp_path}/runs"]
    assert train.train(CONFIGS[kind], arguments) == 2
    assert train.train(CONFIGS[kind], [*arguments, "train.max_steps=3"]) == 3
    model = CLASSES[kind].from_pretrained(tmp_path / "runs" / f"tiny_spear_{kind}" / "step_00000003")
    assert model.config.tokens == TOKENS, "the codebook of the pack's tokens is written down"
    codes = model.generate(torch.zeros(1, 5, dtype=torch.long), sampling=Sampling(1.0), seed=0)
    assert codes.shape == (1, 4, 10)


SMALL = ["model.width=48", "model.dropout=0.0", "model.code_dim=16", "data.join_share=0.0", "data.truncate_share=0.0",
         "recipe.drop_tokens=0.0", "recipe.drop_style=0.0"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_the_pack_are_learnt_from_tokens_and_voice(kind, tmp_path):
    """The made-up codes follow from token and speaker; a few dozen steps find that, and speech from tokens then has them."""
    make_token_pack(tmp_path)
    more = {
        "s2a": [],
        "soundstorm": ["recipe.prompt_share=0.0", "model.critic=false", "model.self_conditioning=false"],
    }
    recipe, _ = open_recipe(kind, tmp_path, *SMALL, *more[kind], "train.batch_size=8")
    model = recipe.modules[kind]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, betas=(0.9, 0.98))
    batches, values = recipe.batches(0), []
    for step in range(160):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 160) + 1e-4
        ((_, losses),) = recipe.turns(next(batches), step)
        optimizer.zero_grad()
        losses["codes"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        values.append(losses["codes"].item())
    assert np.mean(values[-10:]) < 0.15 * values[0], values[-10:]
    model.eval()
    rng = np.random.default_rng(3)
    examples = [recipe.pieces.example(i, rng, plain=True) for i in (0, 2)]  # two speakers
    batch = collate(examples)
    mel = recipe.mel(batch.prompt)
    codes = model.generate(batch.tokens, style=mel, sampling=Sampling(0.0), steps=2).numpy()
    truth = batch.codes.numpy()
    assert (codes[..., : truth.shape[-1]] == truth).mean() > 0.9
    swapped = model.generate(batch.tokens[:1], style=mel[1:], sampling=Sampling(0.0), steps=2).numpy()
    assert (swapped[0] == codes[0]).mean() < 0.7, "the same tokens in the other voice have other codes"


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_keep_tokens_and_codes_together(kind, tmp_path):
    make_token_pack(tmp_path)
    recipe, _ = open_recipe(kind, tmp_path, "data.min_seconds=0.3")
    pieces, rng = recipe.pieces, np.random.default_rng(0)
    seen = set()
    for turn in range(60):
        index = turn % 4
        example = pieces.example(index, rng)
        n_tokens, n_frames = len(example["tokens"]), example["codes"].shape[1]
        assert n_frames == 2 * n_tokens
        assert np.array_equal(example["codes"].T, codes_of(example["tokens"], index // 2, n_frames))
        assert n_frames <= 50 and int(example["n_known"]) % 2 == 0
        seen |= {("joined", example["n_known"] > 0), ("short", n_tokens < 20)}
    assert len(seen) == 4, "pieces with and without another recording in front, cut short and not"
    plain = pieces.example(5, rng, plain=True)
    assert plain["n_known"] == 0 and len(plain["tokens"]) == 25


def test_codes_of_75_a_second_start_where_a_token_of_50_a_second_does(tmp_path):
    codec = CodecSpec("encodec-24khz", 24000, 75, 4, 128)
    make_token_pack(tmp_path, tokens=replace(TOKENS, rate_hz=50, n_tokens=128), codec=codec)
    rows = [(np.arange(80, dtype=np.int16), np.arange(120, dtype=np.int16)[:, None].repeat(4, 1))] * 6
    write_arrays(tmp_path, ["semantic_tokens", "acoustic_tokens"], rows)
    codec_section = (
        "{name: encodec-24khz, sample_rate: 24000, rate_hz: 75, codebook_size: 128, n_codebooks: 4}"
    )
    more = ["model.tokens.rate_hz=50", "model.tokens.n_tokens=128", f"model.codec={codec_section}"]
    recipe, _ = open_recipe("s2a", tmp_path, *more)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(20):
        example = recipe.pieces.example(0, rng, plain=True)
        first = int(example["tokens"][0])
        starts.add(first)
        assert first % 2 == 0 and example["codes"][0, 0] == first * 3 // 2
        assert example["codes"].shape[1] == len(example["tokens"]) * 3 // 2
    assert len(starts) > 3


def test_what_is_left_out_in_training_is_left_out_by_row(tmp_path):
    make_token_pack(tmp_path)
    recipe, _ = open_recipe(
        "s2a", tmp_path, "recipe.drop_style=1.0", "recipe.drop_conditions=1.0", "model.dropout=0.0"
    )
    batch = next(recipe.batches(0))
    assert batch.rows["language"].tolist() == [1] * 4 and batch.rows["snr"].tolist() == [0] * 4
    asked = []
    recipe.modules["s2a"].register_forward_pre_hook(
        lambda m, args, kwargs: asked.append((args, kwargs)), with_kwargs=True
    )
    list(recipe.turns(batch, 0))
    args, kwargs = asked[0]
    assert not kwargs["keep_style"].any() and not args[5]["language"].any()


def test_the_first_codebook_weighs_as_configured(tmp_path):
    make_token_pack(tmp_path)
    values = []
    for weight in (0.0, 1.0, 1e6):
        recipe, _ = open_recipe("s2a", tmp_path, f"recipe.q0_weight={weight}", "model.dropout=0.0", "recipe.drop_style=0.0", "recipe.drop_tokens=0.0", "recipe.drop_conditions=0.0")  # fmt: skip
        ((_, losses),) = recipe.turns(next(recipe.batches(0)), 0)
        values.append(float(losses["codes"]))
    rest, mean, first = values
    assert mean == pytest.approx((3 * rest + first) / 4, rel=1e-3) and abs(rest - first) > 1e-4


def test_the_masked_task_hides_its_level_in_part_and_the_finer_ones_whole(tmp_path):
    make_token_pack(tmp_path)
    recipe, _ = open_recipe("soundstorm", tmp_path)
    batch = next(recipe.batches(0))
    torch.manual_seed(0)
    level, known = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 4, 4, 0])
    task = recipe._task(batch, level, torch.tensor([0.5, 1.0, 0.0, 0.5]), known)
    mask_id = CODEC.codebook_size
    for row in range(4):
        n, q, t = int(batch.n_frames[row]), int(level[row]), int(known[row])
        assert torch.equal(task.codes[row, :, :t], batch.codes[row, :, :t]), "the prompt is never masked"
        assert torch.equal(task.codes[row, :q], batch.codes[row, :q]), "coarser codebooks are given"
        assert (task.codes[row, q + 1 :, t:n] == mask_id).all()
        hidden = task.codes[row, q] == mask_id
        assert torch.equal(hidden, task.asked[row]) and not hidden[n:].any() and not hidden[:t].any()
        assert torch.equal(task.targets[row], batch.codes[row, q])
    assert (
        task.asked[1].sum() == batch.n_frames[1] - 4
        and task.asked[2].sum() == 1
        and 0 < task.asked[0].sum() < batch.n_frames[0]
    )


def test_a_codec_gives_previews_to_hear(tmp_path):
    from spear.codec.model import CompactCodec, CompactCodecConfig

    make_token_pack(tmp_path)
    CompactCodec(CompactCodecConfig(encoder_width=16, encoder_layers=3, latent=16, n_codebooks=4, codebook_size=16, codebook_dim=4, width=16, layers=1)).save_pretrained(tmp_path / "codec")  # fmt: skip
    for kind in KINDS:
        recipe, _ = open_recipe(kind, tmp_path, f"recipe.preview_codec={tmp_path / 'codec'}")
        recipe.modules[kind].eval()
        written = {}

        class Writer:
            def add_audio(self, name, wav, step, rate, written=written):
                written[name] = wav

            def add_image(self, name, picture, step, dataformats, written=written):
                written[name] = picture

        recipe.preview(Writer(), 0)
        assert written["spoken/0"].shape == written["recorded/0"].shape == (1, 50 * 320)
        assert written["codes_spoken/1"].shape == (4, 50)
        figures = recipe.validate()
        assert all(np.isfinite(v) for v in figures.values()) and any(
            k.startswith("accuracy") for k in figures
        )


@pytest.mark.parametrize("kind", KINDS)
def test_packs_that_do_not_fit_are_refused_by_name(kind, tmp_path):
    make_token_pack(tmp_path)
    refused = {
        "holds semantic tokens of .*n_tokens=24": ["model.tokens.n_tokens=25"],
        "holds acoustic tokens of .*'rate_hz': 50": ["model.codec.rate_hz=75"],
        "data.max_seconds: 5, model.max_frames holds 4 s": ["data.max_seconds=5.0"],
        r"expected less than max_seconds \(1\), got 1": ["data.prompt_seconds=1.0"],
        "n_codebooks: expected 1 to 4, got 5": ["model.n_codebooks=5"],
        "data.style_array: 'ecapa'": ["data.style_array=ecapa"],
        "style.n_mels: expected 80 of audio, got 64": ["model.conditioning.style.n_mels=64"],
    }
    for sentence, more in refused.items():
        with pytest.raises(ValueError, match=sentence):
            open_recipe(kind, tmp_path, *more)
    note = json.loads((tmp_path / "acoustic_tokens.spec.json").read_text())
    (tmp_path / "acoustic_tokens.spec.json").write_text(json.dumps(note | {"codebooks": 2}))
    with pytest.raises(ValueError, match="acoustic tokens of 2 codebooks, the model wants 4"):
        open_recipe(kind, tmp_path)


def test_style_vectors_from_elsewhere_are_read_from_the_pack(tmp_path):
    make_token_pack(tmp_path)
    write_arrays(tmp_path, ["ecapa"], [(np.full((2, 5), i, np.float32),) for i in range(6)])
    more = ["model.conditioning={style: null, style_channels: 5}", "data.style_array=ecapa"]
    recipe, _ = open_recipe("s2a", tmp_path, *more)
    batch = next(recipe.batches(0))
    assert batch.prompt.shape == (4, 5)
    ((_, losses),) = recipe.turns(batch, 0)
    assert torch.isfinite(losses["codes"])


def test_tokens_of_predicted_features_are_learnt_from_where_asked_for(tmp_path):
    make_token_pack(tmp_path)
    with pytest.raises(ValueError, match="the pack has no 'predicted_tokens'"):
        open_recipe("s2a", tmp_path, "data.predicted_rate=1.0")
    pack = Pack(tmp_path)
    write_arrays(
        tmp_path, ["predicted_tokens"], [(pack.read("semantic_tokens", i) * 0 + 23,) for i in range(6)]
    )
    note = (tmp_path / "semantic_tokens.spec.json").read_text()
    (tmp_path / "predicted_tokens.spec.json").write_text(note)
    recipe, _ = open_recipe("s2a", tmp_path, "data.predicted_rate=1.0")
    batch = next(recipe.batches(0))
    assert (batch.tokens[batch.token_mask] == 23).all()
