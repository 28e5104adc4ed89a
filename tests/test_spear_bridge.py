"""The bridge: tokens become features and F0 in the shapes that the hierarchical synthesizer takes, and training fits them."""

import pytest
import torch
from make_pack import make_pack
from tiny_voice import build_voice

import train
from hierspeech.preparation.tokens import add_semantic_tokens, fit_tokenizer
from spear.bridge import Bridge, BridgeConfig
from speech.masks import lengths_to_mask
from speech.modules.style_pooling import StylePoolingConfig
from speech.packs import Pack
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import TokenSpec

SPEC = SemanticSpec("phonetic", 1, 12, 50)
PITCH = torch.tensor([[4.8, 0.2]])


def tiny(rate_hz=25, style=None, n_tokens=9):
    torch.manual_seed(0)
    tokens = TokenSpec(SPEC, n_tokens, rate_hz)
    config = BridgeConfig(tokens, style=style, width=16, token_layers=1, layers=1, pitch_layers=1)
    return Bridge(config).eval()


@pytest.fixture
def pack(tmp_path):
    folder = make_pack(tmp_path / "pack", seconds=1.0)
    quantizer = fit_tokenizer(folder, 8)
    add_semantic_tokens(folder, quantizer)
    return folder, quantizer


def open_recipe(folder, *more):
    arguments = [f"data.pack={folder}", f"train.runs_folder={folder}/runs", *more]
    _, cls, sections, losses, config = train.read("configs/tiny/spear_bridge.yaml", arguments)
    torch.manual_seed(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses


@pytest.mark.parametrize("rate_hz", [25, 50])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 13)])
def test_shapes_are_those_of_a_text_to_vec(rate_hz, batch, length):
    bridge, frames = tiny(rate_hz), length * 50 // rate_hz
    tokens = torch.randint(9, (batch, length))
    out = bridge.infer(tokens, PITCH.expand(batch, 2))
    assert out.semantic.shape == (batch, 12, frames)
    assert out.log_f0.shape == (batch, 1, 4 * frames) and out.frame_mask.shape == (batch, frames)
    spoken = out.log_f0[out.log_f0 > 0]
    assert len(spoken) and 40 <= float(spoken.exp().min()) - 1 + 1e-3 and float(spoken.exp().max()) < 1102


@pytest.mark.parametrize("styled", [False, True])
def test_a_row_of_a_batch_comes_out_as_alone_whatever_the_padding_holds(styled):
    config = StylePoolingConfig(width=8, layers=1, out=4) if styled else None
    bridge = tiny(style=config)
    style = torch.randn(2, 4) if styled else None
    tokens = torch.randint(9, (2, 11))
    mask = lengths_to_mask(torch.tensor([11, 6]))
    batch = bridge.infer(tokens, PITCH.expand(2, 2), style, mask)
    tokens[1, 6:] = 3
    again = bridge.infer(tokens, PITCH.expand(2, 2), style, mask)
    alone = bridge.infer(tokens[1:, :6], PITCH, style[1:] if styled else None)
    for out in (batch, again):
        assert torch.allclose(out.semantic[1, :, :12], alone.semantic[0], atol=1e-5)
        assert torch.allclose(out.log_f0[1, :, :48], alone.log_f0[0], atol=1e-5)
        assert not out.semantic[1, :, 12:].any() and not out.log_f0[1, :, 48:].any()


def test_pitch_follows_the_speaker_s_range():
    bridge, tokens = tiny(), torch.randint(9, (1, 20))
    low, high = (bridge.infer(tokens, torch.tensor([[mean, 0.2]])).log_f0 for mean in (4.6, 5.3))
    voiced = low > 0
    assert torch.equal(voiced, high > 0)
    difference = torch.expm1(high[voiced]).log() - torch.expm1(low[voiced]).log()
    assert torch.allclose(difference, torch.full_like(difference, 0.7), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((torch.tensor([[9]]), PITCH), "semantic token 9: expected 0 to 8"),
        ((torch.zeros(1, 0).long(), PITCH), "no semantic token"),
        ((torch.zeros(2, 3).long(), PITCH), r"pitch \[1, 2\]: expected .* \[2, 2\]"),
        ((torch.zeros(1, 3).long(), PITCH, torch.zeros(1, 4)), "style of 4 numbers: expected None"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, says):
    with pytest.raises(ValueError, match=says):
        tiny().infer(*arguments)
    with pytest.raises(ValueError, match="tokens of 30/s: expected a divisor"):
        BridgeConfig(TokenSpec(SPEC, 8, 30))


def test_every_loss_falls_on_one_batch(pack):
    recipe, losses = open_recipe(pack[0], "model.dropout=0.0", "model.style.dropout=0.0")
    batch = next(recipe.batches(0))
    assert batch.tokens.shape[1] == 25 and batch.semantic.shape[-1] == 50
    optimizer = torch.optim.AdamW(recipe.modules["bridge"].parameters(), 1e-2)
    values = []
    for step in range(80):
        ((name, turn),) = recipe.turns(batch, step)
        optimizer.zero_grad()
        sum(losses[name][key] * value for key, value in turn.items()).backward()
        optimizer.step()
        values.append({key: value.item() for key, value in turn.items()})
    first, last = values[0], values[-1]
    assert first.keys() == losses["bridge"].keys()
    # the features are noise: of every two that share a token only the mean can be learnt
    for key, limit in {"semantic": 0.95, "contour": 0.5, "voiced": 0.5}.items():
        assert last[key] < limit * first[key], (key, first, last)


def test_it_trains_and_remembers_whose_tokens_it_was_trained_on(pack):
    folder, quantizer = pack
    arguments = [f"data.pack={folder}", f"train.runs_folder={folder}/runs"]
    assert train.train("configs/tiny/spear_bridge.yaml", arguments) == 2
    bridge = Bridge.from_pretrained(folder / "runs" / "tiny_spear_bridge" / "step_00000002")
    assert bridge.config.tokens == quantizer.spec and bridge.config.tokens.codebook


def test_a_pack_without_its_tokens_or_with_others_is_refused(pack, tmp_path):
    folder, _ = pack
    with pytest.raises(
        ValueError, match="holds semantic tokens of .*n_tokens=8.* the model wants .*n_tokens=16"
    ):
        open_recipe(folder, "model.tokens.n_tokens=16")
    with pytest.raises(ValueError, match="no 'semantic_tokens'; run prepare.py tokens"):
        open_recipe(make_pack(tmp_path / "bare", seconds=0.5))


def test_generated_tokens_are_not_all_right_so_some_of_training_are_not(pack):
    recipe, _ = open_recipe(pack[0], "data.token_noise=0.5", "train.batch_size=8")
    clean, _ = open_recipe(pack[0], "train.batch_size=8")
    true = {tuple(row) for i in range(6) for row in [Pack(pack[0]).read("semantic_tokens", i).tolist()]}
    noisy = [tuple(row.tolist()) for row in next(recipe.batches(0)).tokens]
    assert not true & set(noisy) and all(tuple(row.tolist()) in true for row in next(clean.batches(0)).tokens)
    assert max(map(max, noisy)) < 8


@torch.inference_mode()
def test_tokens_speak_through_the_hierarchical_synthesizer_and_superresolution(tmp_path):
    from hierspeech.pipelines.voice import load_voice

    voice = load_voice(build_voice(tmp_path / "voice", "lite", speechsr=True), "cpu")
    bridge = tiny()
    assert bridge.config.tokens.semantic == voice.synthesizer.config.semantic
    out = bridge.infer(torch.randint(9, (1, 12)), PITCH)
    style = torch.randn(1, voice.synthesizer.config.style.out)
    wav = voice.synthesizer.infer(out.semantic, out.log_f0, style, out.frame_mask)
    assert wav.shape == (1, 1, 24 * 320) and wav.isfinite().all()
    assert voice.speechsr(48000)(wav).shape == (1, 1, 3 * 24 * 320)
