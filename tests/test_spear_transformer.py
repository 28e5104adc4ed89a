"""The token models' transformer: cached == uncached, rotary positions, grouped queries, masks, null context."""

import pytest
import torch
from torch.nn import functional as F

from speech.modules.one_token import OneToken
from speech.modules.transformer import Transformer, TransformerConfig, rotary, rotate


def build(**changes) -> Transformer:
    torch.manual_seed(0)
    values = {"width": 32, "heads": 4, "layers": 3, "causal": True} | changes
    return Transformer(TransformerConfig(**values)).eval()


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@torch.no_grad()
def test_cached_equals_uncached(kv_heads, crossing, scaled):
    model = build(kv_heads=kv_heads, cross_width=24 if crossing else None, null_kv=crossing)
    x = torch.randn(2, 9, 32)
    given = {}
    if crossing:
        given = {
            "context": torch.randn(2, 5, 24),
            "context_mask": torch.tensor([[True] * 5, [True] * 3 + [False] * 2]),
        }
        if scaled:
            given["context_positions"] = 3.0 * torch.arange(5)
    whole = model(x, **given)
    cache = model.make_cache(2, 12)
    parts = [model(x[:, :4], cache=cache, **given)]  # a prompt, then token after token
    cache.reach = 9
    parts += [model(x[:, i : i + 1], cache=cache) for i in range(4, 9)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)
    assert cache.position.tolist() == [9, 9]


@torch.no_grad()
def test_the_context_is_projected_once():
    model = build(cross_width=24)
    calls = []
    for layer in model.layers:
        layer.cross.to_kv.register_forward_hook(lambda *_: calls.append(1))
    cache = model.make_cache(1, 8, context=torch.randn(1, 5, 24))
    for _ in range(4):
        model(torch.randn(1, 1, 32), cache=cache)
    assert len(calls) == len(model.layers)


@torch.no_grad()
def test_rows_with_prompts_of_different_lengths_do_not_disturb_each_other():
    model = build()
    x = torch.randn(2, 10, 32)
    lengths = torch.tensor([6, 3])
    cache = model.make_cache(2, 16)
    mask = torch.arange(6) < lengths[:, None]
    first = model(x[:, :6], mask, cache=cache)
    after = model(torch.stack([x[0, 6:8], x[1, 3:5]]), cache=cache)
    for row, n in enumerate(lengths.tolist()):
        alone = model(x[row : row + 1, : n + 2])
        assert torch.allclose(first[row, :n], alone[0, :n], atol=1e-5)
        assert torch.allclose(after[row], alone[0, n:], atol=1e-5)


@torch.no_grad()
def test_a_row_goes_back_and_writes_again():
    model = build()
    x, other = torch.randn(1, 6, 32), torch.randn(1, 2, 32)
    cache = model.make_cache(1, 8)
    model(x, cache=cache)
    cache.rewind(torch.tensor([4]))
    again = model(other, cache=cache)
    assert torch.allclose(again, model(torch.cat([x[:, :4], other], 1))[:, 4:], atol=1e-5)


@torch.no_grad()
def test_reorder_copies_rows():
    model = build()
    x = torch.randn(2, 5, 32)
    cache = model.make_cache(2, 8)
    model(x[:, :4], cache=cache)
    cache.reorder(torch.tensor([1, 1]))
    out = model(x[1:, 4:].expand(2, -1, -1), cache=cache)
    assert torch.allclose(out[0], out[1]) and torch.allclose(out[:1], model(x[1:])[:, 4:], atol=1e-5)


@torch.no_grad()
def test_a_causal_stack_sees_nothing_to_come_and_a_bidirectional_one_sees_no_padding():
    x = torch.randn(1, 8, 32)
    changed = x.clone()
    changed[:, 5:] += 1
    causal, both = build(), build(causal=False)
    mask = torch.arange(8)[None] < 5
    assert torch.allclose(causal(x)[:, :5], causal(changed)[:, :5], atol=1e-6)
    assert torch.allclose(both(x, mask)[:, :5], both(changed, mask)[:, :5], atol=1e-6)
    assert not torch.allclose(both(x)[:, :5], both(changed)[:, :5], atol=1e-3)


@torch.no_grad()
def test_grouped_queries_equal_repeated_keys():
    """A model of two key heads gives what a model of four gives whose key heads are the two, each twice."""
    grouped, full = build(kv_heads=2), build()
    state = grouped.state_dict()
    for name in [n for n in state if n.endswith("to_qkv.weight")]:
        q, k, v = state[name].split([32, 16, 16])
        k, v = (x.unflatten(0, (2, 8)).repeat_interleave(2, 0).flatten(0, 1) for x in (k, v))
        state[name] = torch.cat([q, k, v])
    full.load_state_dict(state)
    x = torch.randn(2, 7, 32)
    assert torch.allclose(grouped(x), full(x), atol=1e-5)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    assert torch.allclose(grouped(x, mask)[1, :4], full(x[1:, :4])[0], atol=1e-5)


def test_rotary_scores_depend_on_distance_only_and_scaled_keys_align():
    q, k = torch.randn(2, 1, 1, 1, 16)

    def score(at, key_at):
        turned = (
            rotate(q, rotary(torch.tensor([float(at)]), 16)),
            rotate(k, rotary(torch.tensor([float(key_at)]), 16)),
        )
        return (turned[0] * turned[1]).sum()

    assert torch.allclose(score(5, 2), score(105, 102), atol=1e-4)
    # a key at position 3i, seen by a query at 3i, scores as one at its own place: the two rates meet in time
    assert torch.allclose(score(3 * 7, 3 * 7), (q * k).sum(), atol=1e-4)
    assert not torch.allclose(score(7, 3 * 7), (q * k).sum(), atol=1e-2)


@torch.no_grad()
def test_scaled_context_positions_change_the_answer():
    model = build(cross_width=24)
    x, context = torch.randn(1, 6, 32), torch.randn(1, 4, 24)
    places = torch.arange(4)
    plain = model(x, context=context, context_positions=places)
    assert torch.allclose(plain, model(x, context=context, context_positions=places[None].float()), atol=1e-6)
    assert not torch.allclose(plain, model(x, context=context, context_positions=3 * places), atol=1e-4)
    assert torch.allclose(  # only differences of positions count
        plain,
        model(x, context=context, positions=torch.arange(6) + 50, context_positions=places + 50),
        atol=1e-4,
    )


@torch.no_grad()
def test_with_all_context_masked_the_answer_is_finite_and_knows_nothing_of_it():
    model = build(cross_width=24, null_kv=True)
    x, none = torch.randn(2, 6, 32), torch.zeros(2, 5, dtype=torch.bool)
    out = model(x, context=torch.randn(2, 5, 24), context_mask=none)
    assert torch.isfinite(out).all()
    assert torch.allclose(out, model(x, context=torch.randn(2, 5, 24), context_mask=none))
    assert torch.isfinite(build(causal=False)(x, torch.zeros(2, 6, dtype=torch.bool))).all()


@torch.no_grad()
def test_layers_run_in_two_parts_equal_the_whole():
    model = build(cross_width=24)
    x, context = torch.randn(1, 6, 32), torch.randn(1, 4, 24)
    around, crossed = model.surroundings(x, context=context)
    middle = model.run(x, around, crossed, 0, 2)
    assert torch.allclose(model.norm(model.run(middle, around, crossed, 2)), model(x, context=context))


def test_gradients_reach_every_weight():
    model = build(cross_width=24, null_kv=True, kv_heads=2).train()
    out = model(torch.randn(2, 6, 32), context=torch.randn(2, 5, 24))
    F.mse_loss(out, torch.randn_like(out)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"width": 30}, "multiple"),
        ({"kv_heads": 3}, "divide"),
        ({"null_kv": True}, "cross_width"),
    ],
)
def test_impossible_sizes_are_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        TransformerConfig(**({"width": 32, "heads": 4} | changes))


def test_impossible_calls_are_refused():
    x = torch.randn(1, 4, 32)
    with pytest.raises(ValueError, match="cross-attention"):
        build(cross_width=8)(x)
    with pytest.raises(ValueError, match="without cross-attention"):
        build()(x, context=x)
    with pytest.raises(ValueError, match="causal"):
        model = build(causal=False)
        model(x, cache=model.make_cache(1, 8))
    with pytest.raises(ValueError, match="cache of 3"):
        model = build()
        model(x, cache=model.make_cache(1, 3))


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 2}, {"kv_heads": 1}, {"rope": False}])
@pytest.mark.parametrize("crossing", [None, "plain", "masked", "scaled"])
@torch.no_grad()
def test_the_quick_step_equals_the_plain_one(changes, crossing):
    """Merged operations against `forward`, before and after: behind a prompt, over a whole cache."""
    cross = {"cross_width": 24, "null_kv": crossing == "masked"} if crossing else {}
    model = build(**cross, **changes)
    x = torch.randn(2, 9, 32)
    given = {}
    if crossing:
        given = {"context": torch.randn(2, 5, 24)}
        if crossing == "masked":
            given["context_mask"] = torch.tensor([[True] * 5, [False] * 5])
        if crossing == "scaled":
            given["context_positions"] = 3.0 * torch.arange(5)
    whole = model(x, **given)
    cache = model.make_cache(2, 9)
    model(x[:, :4], cache=cache, **given)
    step = OneToken(model, cache, 4)
    parts = [step(x[:, i]) for i in range(4, 9)]
    torch.testing.assert_close(torch.stack(parts, 1), whole[:, 4:], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="10 tokens do not fit the cache of 9"):
        step(x[:, 0])


@torch.no_grad()
def test_the_quick_step_takes_positions_and_follows_reordered_rows():
    model = build()
    x, positions = torch.randn(2, 6, 32), torch.tensor([0.0, 2, 4, 6, 7, 9])
    whole = model(x, positions=positions)
    cache = model.make_cache(2, 6)
    model(x[:, :3], cache=cache, positions=positions[:3])
    step = OneToken(model, cache, 3, positions)
    assert torch.allclose(step(x[:, 3]), whole[:, 3], atol=1e-5)
    cache.reorder(torch.tensor([1, 1]))
    for i in (4, 5):
        assert torch.allclose(step(x[1:, i].expand(2, -1)), whole[1:, i].expand(2, -1), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_the_quick_step_in_half_precision_is_that_of_half_precision(dtype):
    model = build(cross_width=24)
    x, context = torch.randn(1, 6, 32), torch.randn(1, 5, 24)
    whole = model(x, context=context)
    model = model.to(dtype)
    x, context = x.to(dtype), context.to(dtype)
    cache = model.make_cache(1, 6)
    model(x[:, :2], context=context, cache=cache)
    step = OneToken(model, cache, 2)
    out = torch.stack([step(x[:, i]) for i in range(2, 6)], 1)
    assert out.dtype == dtype and torch.allclose(out.float(), whole[:, 2:], atol=0.1)


def test_the_quick_step_refuses_what_it_cannot_do():
    model = build()
    with pytest.raises(ValueError, match="eval mode"):
        OneToken(build().train(), model.make_cache(1, 4), 0)
    with pytest.raises(ValueError, match="causal"):
        OneToken(build(causal=False), model.make_cache(1, 4), 0)
    crossing = build(cross_width=24)
    with pytest.raises(ValueError, match="expected a cache with a context"):
        OneToken(crossing, crossing.make_cache(1, 4), 0)
