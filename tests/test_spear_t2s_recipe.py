"""The recipe of TextToSemantic: losses, data, and training through train.py."""

import math

import numpy as np
import pytest
import torch
from spear_pack import SPEC, make_token_pack

import train
from spear.sampling import Sampling
from spear.text_to_semantic.data import DataConfig, Mixture, PackPairs, open_packs
from spear.text_to_semantic.losses import accuracy, align_regularization, cross_entropy, log_sum_exp_pool
from spear.text_to_semantic.model import MupConfig, TextToSemantic, TextToSemanticConfig
from spear.text_to_semantic.recipe import Recipe, RecipeConfig, masked_places
from speech.masks import lengths_to_mask
from speech.optimization import OptimizerConfig, make_optimizer, update
from speech.semantic.quantizer import SemanticQuantizer, SemanticQuantizerConfig
from speech.training import TrainConfig


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_token_pack(tmp_path_factory.mktemp("t2s") / "pack")


def small(**changes):
    sizes = {"width": 16, "heads": 2, "layers": 2, "tokens": SPEC, "dropout": 0.0}
    return TextToSemanticConfig(**(sizes | changes))


@pytest.mark.parametrize("name", ["spear_t2s", "spear_t2s_masked"])
def test_the_recipe_trains_through_train_py(name, pack, tmp_path):
    arguments = [f"configs/tiny/{name}.yaml", f"data.pack={pack}", f"train.runs_folder={tmp_path}"]
    assert train.main(arguments) == 0
    folder = tmp_path / f"tiny_{name}" / "step_00000002"
    model = TextToSemantic.from_pretrained(folder)
    assert model.config.tokens.codebook == "abc", "the published model names the codebook it was trained with"
    languages = {"languages": torch.zeros(1, 4, dtype=torch.long)} if model.config.languages else {}
    model.generate(torch.tensor([[8, 9, 10, 11]]), max_tokens=5, n_tokens=None, **languages)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"deduplicate": True, "max_run": 4},
        {"positions": "durations"},
        {"kind": "masked", "positions": "durations"},
    ],
)
def test_a_tiny_model_learns_what_follows_from_the_text(changes, pack):
    """Tokens are a function of the aligned phones: after a few steps the loss has fallen well below guessing."""
    torch.manual_seed(0)
    model = small(width=32, **changes)
    names = {"semantic"} | ({"runs"} if model.deduplicate else set())
    names |= {"durations"} if model.positions == "durations" else set()
    recipe = Recipe(
        model, DataConfig(str(pack)), RecipeConfig(), {}, TrainConfig(batch_size=4, num_workers=0)
    )
    module = recipe.modules["t2s"].train()
    optimizer = make_optimizer(module, OptimizerConfig(lr=1e-2))
    batches = recipe.batches(0)
    for step in range(60):
        (name, losses), *_ = list(recipe.turns(next(batches), step))
        assert name == "t2s" and losses.keys() == names
        sum(losses.values()).backward()
        update(optimizer, 1e-2, 1.0)
        module.zero_grad()
    module.eval()
    with torch.no_grad():
        figures = recipe.validate()
    assert figures["semantic"] < 0.5 * math.log(16) and figures["accuracy_of_10"] > 0.9
    batch = next(recipe.dev.all(2))
    out = module.generate(batch.text, batch.n_text, sampling=Sampling(0), rate=batch.rate, max_tokens=80)
    assert out.finished.all()
    for said, recorded, n in zip(out.rows(), batch.tokens, batch.n_tokens.tolist(), strict=True):
        assert model.kind != "masked" or abs(len(said) - n) < 0.2 * n
        order = [row[row != row.roll(1)].tolist() for row in (said, recorded[:n])]
        assert len(set(order[0]) & set(order[1])) > 0.5 * len(set(order[1])), "it says the phones of the text"


def test_losses_count_valid_places_only():
    logits, targets = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    mask = lengths_to_mask(torch.tensor([5, 2]), 5)
    loss = cross_entropy(logits, targets, mask)
    changed = logits.clone()
    changed[1, 2:] = 50
    assert torch.allclose(loss, cross_entropy(changed, targets, mask))
    assert float(cross_entropy(logits, targets, torch.zeros_like(mask))) == 0
    certain = torch.nn.functional.one_hot(targets, 7).float() * 9
    assert float(accuracy(certain, targets, mask)) == 1 and float(accuracy(-certain, targets, mask)) == 0


def test_align_regularization_is_of_pairs_without_their_source():
    states, mask = torch.randn(4, 6, 8), lengths_to_mask(torch.tensor([6, 6, 3, 2]), 6)
    other = torch.randn(4, 6, 8)
    all_rows = torch.ones(4, dtype=torch.bool)
    assert float(align_regularization(states, mask, states, mask, all_rows)) < 1e-9
    assert float(align_regularization(states, mask, other, mask, all_rows)) > 1e-3
    assert (
        float(align_regularization(states, mask, other, mask, torch.tensor([True, False, False, False]))) == 0
    )
    changed = other.clone()
    changed[3, 2:] += 5  # padding
    assert torch.allclose(
        align_regularization(states, mask, other, mask, all_rows),
        align_regularization(states, mask, changed, mask, all_rows),
    )
    flat = torch.full((1, 6, 8), 2.0)
    assert torch.allclose(log_sum_exp_pool(flat, mask[:1]), torch.full((1, 8), 2.0))


def test_masked_places_hide_at_least_one_and_never_padding():
    n = torch.tensor([9, 4, 1] * 50)
    valid = lengths_to_mask(n, 9)
    torch.manual_seed(0)
    hidden = masked_places(n, valid, 0.5)
    assert hidden.any(1).all() and not (hidden & ~valid).any()
    shares = hidden.sum(1)[::3].float() / 9
    assert 0.4 < shares.mean() < 0.85 and shares.std() > 0.15
    assert (
        masked_places(n, valid, 1.0)[::3, 0].float().mean()
        < masked_places(n, valid, 0.0)[::3, 0].float().mean()
    )


def test_pairs_are_aligned_cut_at_words_and_padded_with_the_first_language(pack):
    model = small(languages=["pl", "en"], positions="durations")
    data = DataConfig(str(pack), max_seconds=1.0)
    pairs = PackPairs(str(pack), model, data)
    rng = np.random.default_rng(0)
    whole = PackPairs(str(pack), model, DataConfig(str(pack)))
    complete = whole.read(0, rng)
    assert len(complete.tokens) == 40 and abs(complete.durations.sum() - 40) < 1.5
    assert complete.languages.tolist() == [1] * len(complete.text)
    lengths = set()
    for _ in range(20):
        piece = pairs.read(0, rng)
        assert 0 < len(piece.tokens) <= 26 and len(piece.text) == len(piece.durations)
        assert abs(piece.durations.sum() - len(piece.tokens)) < 2
        first = complete.text.tolist().index(int(piece.text[0]))
        assert complete.text[first : first + len(piece.text)].tolist() == piece.text.tolist()
        lengths.add(len(piece.text))
    assert len(lengths) > 1
    mixture = Mixture([pairs], model, TrainConfig())
    batch = mixture.collate([complete, pairs.read(1, rng)])
    assert batch.languages[1].eq(1).all() and batch.durations[1].isnan().any()
    spoken = [t for t in complete.text.tolist() if mixture.spoken[t]]
    speech = sum(d for t, d in zip(complete.text, complete.durations, strict=True) if mixture.spoken[t])
    assert math.isclose(mixture.rate(complete), len(spoken) * 25 / speech, rel_tol=1e-5), (
        "pauses are no speech"
    )


def test_recordings_of_a_speaker_are_joined(pack):
    pairs = PackPairs(str(pack), small(), DataConfig(str(pack), join_share=1.0))
    joined = pairs.read(0, np.random.default_rng(0))
    assert len(joined.tokens) == 80 and len(joined.text) % 2 == 0


def test_bytes_of_the_text_do_without_alignment(pack):
    model = small(tokenizer="bytes")
    example = PackPairs(str(pack), model, DataConfig(str(pack))).read(0, np.random.default_rng(0))
    assert bytes(example.text.tolist()).decode() == "hello world" and np.isnan(example.durations).all()
    short = open_packs(DataConfig(str(pack), max_seconds=9), model)
    assert Mixture(short, model, TrainConfig()).rate(example) == pytest.approx(10 / 1.6)
    with pytest.raises(ValueError, match=r"no utterance with text and 0.3 to 1 s .*\(4 are longer\)"):
        open_packs(DataConfig(str(pack), max_seconds=1), model)


def test_batches_of_like_lengths_and_several_packs(pack, tmp_path):
    other = make_token_pack(tmp_path / "other", n_utterances=4, seconds=0.6)
    model = small()
    data = DataConfig(str(pack), more_packs={str(other): 3.0})
    mixture = Mixture(open_packs(data, model), model, TrainConfig(batch_seconds=4.0, num_workers=0, seed=1))
    assert len(mixture) == 4 + 2
    batches = mixture.batches(0)
    seen = []
    for _ in range(30):
        batch = next(batches)
        assert batch.n_tokens.unique().numel() == 1 and int(batch.n_tokens.sum()) <= 100
        seen += batch.n_tokens.tolist()
    # weights: 4 items of 1.6 s once, 2 of 0.6 s three times
    assert 0.2 < seen.count(15) / len(seen) < 0.6
    again = Mixture(
        open_packs(data, model), model, TrainConfig(batch_seconds=4.0, num_workers=0, seed=1)
    ).batches(3)
    expected = mixture.batches(0)
    for _ in range(3):
        next(expected)
    assert torch.equal(next(again).tokens, next(expected).tokens), "a function of the step"


def test_what_does_not_fit_is_refused(pack, tmp_path):
    wrong = TextToSemanticConfig(width=16, heads=2, layers=2)
    with pytest.raises(ValueError, match="holds semantic tokens of"):
        open_packs(DataConfig(str(pack)), wrong)
    tight = Mixture(open_packs(DataConfig(str(pack)), small()), small(max_semantic=20), TrainConfig())
    with pytest.raises(ValueError, match="40 tokens, the model's window is 20"):
        tight.example(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="codebook"):
        Recipe(small(codebook_dim=8), DataConfig(str(pack)), RecipeConfig(), {}, TrainConfig())


def test_the_table_can_be_the_tokenizers_codebook(tmp_path):
    quantizer = SemanticQuantizer(SemanticQuantizerConfig(SPEC.semantic, 16, 1, 25, codebook="abc"))
    torch.nn.init.normal_(quantizer.codes.levels[0].codebook)
    quantizer.save_pretrained(tmp_path / "tokenizer")
    folder = make_token_pack(tmp_path / "pack")
    recipe = Recipe(
        small(codebook_dim=8),
        DataConfig(str(folder)),
        RecipeConfig(codebook=str(tmp_path / "tokenizer")),
        {},
        TrainConfig(),
    )
    table = recipe.modules["t2s"].tables["semantic"].codebook
    vectors = quantizer.features(torch.arange(16)[None])[0].T[::2]
    assert torch.allclose(table, (vectors - vectors.mean()) / vectors.std(), atol=1e-5)
    assert not table.requires_grad


def test_the_optimizer_obeys_the_factors_of_the_learning_rate():
    model = TextToSemantic(small(mup=MupConfig()))
    optimizer = make_optimizer(model, OptimizerConfig())
    sum(p.sum() for p in model.parameters()).backward()
    update(optimizer, 0.01, None)
    scales = model.lr_scales()
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert math.isclose(group["lr"], 0.01 * scales.get(names[id(parameter)], 1.0))
    assert len(optimizer.param_groups) > 2


def test_full_configurations_are_built(monkeypatch):
    from spear.text_to_semantic.recipe import Recipe as Loaded

    for name in ("t2s", "t2s_masked"):
        _, recipe, sections, losses, _ = train.read(f"configs/spear/{name}.yaml", [])
        assert recipe is Loaded
        parameters = sum(p.numel() for p in TextToSemantic(sections.model).parameters())
        assert parameters < 3.3e6
        assert losses["t2s"]["semantic"] == 1.0
