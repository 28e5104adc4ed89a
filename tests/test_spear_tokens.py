"""Semantic tokens: k-means on features, codes that are all used, streams without repeats, bad input refused by name."""

import math

import pytest
import torch

from spear.tokens import deduplicate, repeat, token_use
from speech.semantic.encoder import SemanticSpec
from speech.semantic.kmeans import fit_kmeans
from speech.semantic.quantizer import SemanticQuantizer, SemanticQuantizerConfig, TokenSpec, pool_neighbours

SPEC = SemanticSpec("phonetic", 1, 6, 50)


def blobs(n_clusters=8, rows=400, spread=0.05, seed=0):
    """Rows around `n_clusters` places far apart, mixed."""
    generator = torch.Generator().manual_seed(seed)
    places = 3 * torch.randn(n_clusters, 6, generator=generator)
    names = torch.randint(n_clusters, (rows,), generator=generator)
    return places[names] + spread * torch.randn(rows, 6, generator=generator), names, places


def fitted(rate_hz=50, size=8, levels=1, **options):
    rows, _, _ = blobs()
    quantizer = SemanticQuantizer(SemanticQuantizerConfig(SPEC, size, levels, rate_hz, **options)).eval()
    quantizer.fit(lambda: [piece.T for piece in rows.split(50)], batch_frames=100)
    return quantizer, rows


def test_kmeans_finds_clusters_that_are_there_and_is_the_same_twice():
    rows, names, places = blobs()
    centres, error = fit_kmeans(lambda: rows.split(64), 8)
    nearest = torch.cdist(places, centres).min(1)
    assert float(nearest.values.max()) < 0.1 and len(nearest.indices.unique()) == 8
    assert error < 6 * 0.05**2 * 1.2
    again, _ = fit_kmeans(lambda: rows.split(64), 8)
    assert torch.equal(centres, again)


def test_every_code_is_used_even_where_the_start_repeats_one():
    # nine tenths of the start are one row, so centres coincide until empty ones are placed anew
    rows, _, _ = blobs(rows=600)
    rows = torch.cat([rows[:1].repeat(900, 1), rows])
    centres, _ = fit_kmeans(lambda: rows.split(64), 16, passes=10)
    assert len(torch.cdist(rows, centres).argmin(1).unique()) == 16


def test_entropy_is_near_the_vocabulary_s_after_a_toy_fit_and_distortion_falls_with_codes():
    generator = torch.Generator().manual_seed(3)
    rows = torch.rand(4000, 6, generator=generator)
    errors = []
    for size in (4, 16, 64):
        quantizer = SemanticQuantizer(SemanticQuantizerConfig(SPEC, size, rate_hz=50)).eval()
        errors.append(quantizer.fit(lambda: [rows.T], passes=5))
        assert token_use([quantizer.tokens(rows.T[None])], size).entropy_share > 0.9
    assert errors[0] > errors[1] > errors[2]


def test_residual_levels_make_one_stream_of_their_product_and_come_closer():
    one, rows = fitted(size=4)
    two, _ = fitted(size=4, levels=2)
    assert two.spec.kind == "rvq" and two.spec.n_tokens == 16 and one.spec.kind == "kmeans"
    x = rows.T[None]
    tokens = two.tokens(x)
    assert 0 <= int(tokens.min()) and int(tokens.max()) < 16
    assert (two.features(tokens) - x).square().mean() < 0.7 * (
        one.features(one.tokens(x)) - x
    ).square().mean()


@pytest.mark.parametrize("rate_hz", [50, 25])
@pytest.mark.parametrize("frames", [1, 7, 50, 123])
def test_there_are_rate_tokens_a_second_and_features_come_back_at_50(rate_hz, frames):
    quantizer, rows = fitted(rate_hz)
    x = rows[:frames].T[None]
    tokens = quantizer.tokens(x)
    assert tokens.shape == (1, math.ceil(frames * rate_hz / 50)) and tokens.dtype == torch.long
    back = quantizer.features(tokens)
    assert back.shape == (1, 6, tokens.shape[1] * 50 // rate_hz)
    # what a token stands for is named by that token
    assert torch.equal(quantizer.tokens(back), tokens)
    assert torch.equal(quantizer.tokens(x), tokens)


def test_a_padded_batch_gives_what_each_row_gives_alone_whatever_the_padding_holds():
    quantizer, rows = fitted(25)
    x = torch.stack([rows[:30].T, rows[40:70].T])
    lengths = torch.tensor([30, 13])
    alone = [quantizer.tokens(x[i : i + 1, :, :n])[0] for i, n in enumerate(lengths)]
    for filler in (0.0, 100.0):
        x[1, :, 13:] = filler
        batch = quantizer.tokens(x, lengths)
        assert torch.equal(batch[0], alone[0])
        assert torch.equal(batch[1, :7], alone[1]) and not batch[1, 7:].any()


def test_neighbours_are_averaged_the_last_one_over_what_is_left():
    x = torch.tensor([[[1.0, 3, 5, 7, 9]]])
    means, valid = pool_neighbours(x, 2)
    assert means.tolist() == [[[2, 6, 9]]] and valid.tolist() == [[True, True, True]]
    means, valid = pool_neighbours(x, 2, torch.tensor([3]))
    assert means.tolist() == [[[2, 5, 0]]] and valid.tolist() == [[True, True, False]]


def test_a_saved_quantizer_gives_the_same_tokens_and_names_its_codebook(tmp_path):
    quantizer, rows = fitted(25)
    quantizer.save_pretrained(tmp_path)
    loaded = SemanticQuantizer.from_pretrained(tmp_path)
    assert loaded.spec == quantizer.spec and len(loaded.spec.codebook) == 8
    assert torch.equal(loaded.tokens(rows.T[None]), quantizer.tokens(rows.T[None]))
    other, _ = fitted(25, normalize=False)
    assert other.spec.codebook != quantizer.spec.codebook
    assert TokenSpec(SPEC, 8, 25).accepts(quantizer.spec) and not other.spec.accepts(quantizer.spec)
    assert not TokenSpec(SPEC, 8, 50).accepts(quantizer.spec)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda q: q.features(torch.tensor([[0, 8]])), "semantic token 8: expected 0 to 7 of the 8 kmeans tokens"),
        (lambda q: q.features(torch.tensor([[-1]])), "semantic token -1"),
        (lambda q: q.features(torch.zeros(1, 2, 3, dtype=torch.long)), r"tokens \[B, N\], got"),
        (lambda q: q.features(torch.zeros(1, 2)), "whole-number tokens"),
        (lambda q: q.tokens(torch.zeros(1, 5, 9)), r"features \[1, 5, 9\]: expected \[B, 6, N\]"),
        (lambda q: q.tokens(torch.zeros(1, 6, 9), spec=SemanticSpec("mms-300m", 7, 6)), "mms-300m"),
        (lambda q: q.fit(lambda: [torch.zeros(6, 3)]), "3 frames: expected at least 8"),
        (lambda q: q.fit(lambda: []), "no frames to make codes of"),
        (lambda q: SemanticQuantizerConfig(SPEC, rate_hz=30), "rate_hz 30: expected 50 or 25"),
        (lambda q: SemanticQuantizerConfig(SPEC, 1024, 2), "expected at most 32767 tokens"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(act, says):
    quantizer, _ = fitted()
    with pytest.raises(ValueError, match=says):
        act(quantizer)


def test_repeats_are_taken_out_and_put_back():
    tokens = torch.tensor([[4, 4, 4, 0, 0, 7, 4], [2, 2, 9, 9, 9, 9, 9]])
    short, durations, number = deduplicate(tokens, torch.tensor([7, 3]))
    assert short.tolist() == [[4, 0, 7, 4], [2, 9, 0, 0]]
    assert durations.tolist() == [[3, 2, 1, 1], [2, 1, 0, 0]] and number.tolist() == [4, 2]
    back, lengths = repeat(short, durations)
    assert lengths.tolist() == [7, 3]
    assert torch.equal(back[0], tokens[0]) and back[1].tolist() == [2, 2, 9, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_the_round_trip_of_any_stream_is_the_stream(seed):
    tokens = torch.randint(3, (3, 40), generator=torch.Generator().manual_seed(seed))
    short, durations, number = deduplicate(tokens)
    assert all((row[1:n] != row[: n - 1]).all() for row, n in zip(short, number, strict=True))
    assert torch.equal(repeat(short, durations)[0], tokens)


def test_repeating_refuses_what_has_no_meaning():
    with pytest.raises(ValueError, match="expected one shape"):
        repeat(torch.zeros(1, 3).long(), torch.zeros(1, 2).long())
    with pytest.raises(ValueError, match="duration -1"):
        repeat(torch.zeros(1, 2).long(), torch.tensor([[1, -1]]))


def test_entropy_of_even_and_of_single_use():
    even = token_use([torch.arange(8), torch.arange(8)], 8)
    assert even.entropy_bits == pytest.approx(3) and even.entropy_share == pytest.approx(1)
    assert (even.used, even.counted) == (8, 16)
    single = token_use([torch.zeros(9).long()], 8)
    assert single.entropy_bits == 0 and single.used == 1
    with pytest.raises(ValueError, match="token 8: expected 0 to 7"):
        token_use([torch.tensor([8])], 8)
