"""The masked model: its schedule, its passes, prompts that stay, self-conditioning and critic."""

import pytest
import torch
from make_token_pack import CODEC
from test_spear_s2a import GREEDY, make, mel, some_codes, some_tokens

from spear.sampling import Sampling
from spear.semantic_to_acoustic.masked import FIRST_PASSES, number_of_passes


def watched(model):
    """The model, and a list of the codes and the level of every pass to come."""
    passes, forward = [], model.forward

    def watch(tokens, codes, mask, level, *args, **kwargs):
        passes.append((codes.clone(), int(level[0]), kwargs.get("previous") is not None))
        return forward(tokens, codes, mask, level, *args, **kwargs)

    model.forward = watch
    return passes


def test_passes_are_16_for_the_first_codebook_and_one_for_each_other():
    assert number_of_passes(None, 8) == [FIRST_PASSES] + [1] * 7 and FIRST_PASSES == 16
    assert number_of_passes(4, 3) == [4, 1, 1] and number_of_passes([3, 2, 1], 3) == [3, 2, 1]
    for wrong in (0, [1, 2], [1, 0, 1]):
        with pytest.raises(ValueError, match="steps: expected 1 or more for each of 3 codebooks"):
            number_of_passes(wrong, 3)


def test_every_pass_masks_fewer_by_the_cosine_and_levels_follow_each_other():
    model = make("masked")
    passes = watched(model)
    tokens, _ = some_tokens(20)
    model.generate(tokens, sampling=Sampling(1.0), steps=8, seed=0)
    levels = [level for _, level, _ in passes]
    assert levels == [0] * 8 + [1, 2, 3]
    masked = [int((codes[0, level] == model.mask_id).sum()) for codes, level, _ in passes]
    assert masked[:8] == [40, *(int(40 * torch.cos(torch.tensor(torch.pi / 2 * k / 8))) for k in range(1, 8))]
    assert masked[8:] == [40, 40, 40]
    for codes, level, _ in passes:
        assert (codes[0, :level] != model.mask_id).all() and (codes[0, level + 1 :] == model.mask_id).all()


def test_codes_once_kept_stay_and_the_surest_are_kept_first():
    model = make("masked")
    passes = watched(model)
    tokens, _ = some_tokens(20)
    final = model.generate(tokens, sampling=GREEDY, steps=6)
    for codes, level, _ in passes:
        kept = codes[0, level] != model.mask_id
        assert torch.equal(codes[0, level, kept], final[0, level, kept])
    sureness = model(tokens, *_all_masked(model, 40)).logits.softmax(-1).amax(-1)[0]
    kept = passes[1][0][0, 0] != model.mask_id
    assert sureness[kept].min() >= sureness[~kept].max()


def _all_masked(model, n_frames):
    codes = torch.full((1, 4, n_frames), model.mask_id)
    return codes, torch.ones(1, n_frames, dtype=torch.bool), torch.zeros(1, dtype=torch.long)


def test_prompt_frames_are_never_masked():
    model = make("masked")
    passes = watched(model)
    tokens, n_tokens = some_tokens(8, 5)
    known = some_codes(1, 6)
    model.generate(tokens, n_tokens, prompt=(some_tokens(3)[0], known), sampling=Sampling(1.0), steps=3)
    for codes, _, _ in passes:
        assert torch.equal(codes[..., :6], known.expand(2, -1, -1))


def test_what_is_padded_changes_nothing():
    model = make("masked")
    tokens, _ = some_tokens(8)
    codes = some_codes(1, 16)
    mask = torch.ones(1, 16, dtype=torch.bool)
    level = torch.tensor([1])
    with torch.no_grad():
        short = model(tokens, codes, mask, level, mel(1)).logits
        padded = torch.nn.functional.pad(codes, (0, 9), value=3), torch.nn.functional.pad(mask, (0, 9))
        long = model(torch.nn.functional.pad(tokens, (0, 5), value=7), *padded, level, mel(1)).logits
    assert torch.allclose(short, long[:, :16], atol=1e-5)


def test_self_conditioning_hands_on_what_the_pass_before_thought():
    model = make("masked", self_conditioning=True)
    passes = watched(model)
    tokens, _ = some_tokens(8)
    model.generate(tokens, sampling=GREEDY, steps=3)
    assert [previous for *_, previous in passes] == [False] + [True] * 5
    a = model(tokens, *_all_masked(model, 16))
    b = model(tokens, *_all_masked(model, 16), previous=a.hidden)
    assert not torch.allclose(a.logits, b.logits, atol=1e-3)
    assert make("masked").recall is None


def test_the_critic_decides_what_is_kept():
    model = make("masked", critic=True)
    passes = watched(model)
    tokens, _ = some_tokens(8)
    codes = model.generate(tokens, sampling=GREEDY, steps=4)
    assert len(passes) == 4 + 3 + 3, "a pass of the critic follows every pass but the last of a codebook"
    filled = passes[1][0]
    assert (filled[0, 0] != model.mask_id).all()
    real = model(tokens, filled, torch.ones(1, 16, dtype=torch.bool), torch.zeros(1, dtype=torch.long)).real[
        0
    ]
    kept = passes[2][0][0, 0] != model.mask_id
    assert real[kept].min() >= real[~kept].max()
    assert codes.max() < CODEC.codebook_size


def test_more_passes_of_a_codebook_may_be_asked_for():
    model = make("masked")
    passes = watched(model)
    model.generate(some_tokens(6)[0], sampling=Sampling(1.0), steps=[3, 2, 1, 1], seed=0)
    assert [level for _, level, _ in passes] == [0, 0, 0, 1, 1, 2, 3]
