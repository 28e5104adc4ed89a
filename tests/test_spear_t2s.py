"""Text to semantic tokens: generation in all its ways, alone and in batches, what is refused."""

import math

import pytest
import torch

from spear.sampling import Sampling
from spear.text_to_semantic.model import MupConfig, TextToSemantic, TextToSemanticConfig
from spear.text_to_semantic.parts import append_eos, cut_after_eos
from spear.text_to_semantic.session import runs_of
from speech.semantic.quantizer import TokenSpec

VOCABULARY = 12
KINDS = {
    "plain": {},
    "runs": {"deduplicate": True, "max_run": 3},
    "rate": {"positions": "rate"},
    "durations": {"positions": "durations"},
    "grouped": {"kv_heads": 2},
    "frozen": {"codebook_dim": 4},
    "exit": {"early_exit_layer": 1},
    "masked": {"kind": "masked", "positions": "durations"},
    "languages": {"languages": ["en", "pl"], "encoder_causal": True},
}


def build(name="plain", seed=0, **changes) -> TextToSemantic:
    torch.manual_seed(seed)
    sizes = {"width": 32, "heads": 4, "layers": 4, "tokens": TokenSpec(n_tokens=VOCABULARY), "dropout": 0.0}
    sizes |= {"max_text": 20, "max_semantic": 30} | KINDS[name] | changes
    model = TextToSemantic(TextToSemanticConfig(**sizes)).eval()
    if model.durations is not None:  # an untrained predictor says that all tokens last no time
        torch.nn.init.constant_(model.durations.out.bias, math.log(2.5))
    return model


def sources(name):
    source = torch.randint(7, 60, (3, 8), generator=torch.Generator().manual_seed(1))
    n_source = torch.tensor([8, 5, 3])
    languages = {"languages": torch.tensor([[0, 1] * 4] * 3)} if name == "languages" else {}
    return source, n_source, languages


@pytest.mark.parametrize(
    "options", [{}, {"beams": 3}, {"sampling": Sampling(guidance=2.0)}, {"prompted": True}]
)
@pytest.mark.parametrize("name", KINDS)
def test_a_row_of_a_batch_gets_what_it_gets_alone(name, options):
    if name == "masked" and "beams" in options:
        return
    model, (source, n_source, languages) = build(name), sources(name)
    options = {"max_tokens": 14, "rate": 9.0} | options
    prompted = options.pop("prompted", False)
    prompt, n_prompt = torch.tensor([[1, 1, 2, 3], [4, 4, 4, 4], [5, 0, 0, 0]]), torch.tensor([4, 2, 0])
    given = {"prompt": prompt, "n_prompt": n_prompt} if prompted else {}
    together = model.generate(source, n_source, seed=[5, 6, 7], **languages, **given, **options)
    assert together.tokens.max() < VOCABULARY and together.n_tokens.max() <= 14
    for row, n in enumerate(n_source.tolist()):
        alone = model.generate(
            source[row : row + 1, :n], seed=[5 + row],
            **{k: v[row : row + 1, :n] for k, v in languages.items()},
            **({"prompt": prompt[row : row + 1, : n_prompt[row]]} if prompted else {}),
            **options,
        )  # fmt: skip
        assert torch.equal(alone.rows()[0], together.rows()[row])
        assert torch.allclose(alone.scores[0], together.scores[row], atol=1e-4)


@pytest.mark.parametrize("name", ["plain", "rate", "durations", "grouped", "frozen", "exit"])
@torch.no_grad()
def test_cached_logits_equal_those_of_the_training_pass(name):
    """Greedy generation, its tokens fed to `forward`: every next token is the likeliest there too, by the same log-probability."""
    model, (source, n_source, _) = build(name), sources(name)
    out = model.generate(source, n_source, sampling=Sampling(temperature=0), max_tokens=10, rate=10.0)
    rate = torch.full((3,), 10.0)
    logits = model(source, n_source, out.tokens, out.n_tokens, rate=rate).logits
    for row, n in enumerate(out.n_tokens.tolist()):
        n_drawn = n + int(out.finished[row])
        target = append_eos(out.tokens, out.n_tokens, VOCABULARY)[row, :n_drawn]
        logp = logits[row, :n_drawn].log_softmax(-1)
        assert torch.equal(logp.argmax(-1), target)
        mean = logp.gather(1, target[:, None]).mean()
        assert torch.allclose(mean, out.scores[row], atol=1e-4)


@torch.no_grad()
def test_cached_runs_equal_those_of_the_training_pass():
    model, (source, n_source, _) = build("runs"), sources("runs")
    out = model.generate(source, n_source, sampling=Sampling(temperature=0), max_tokens=12)
    tokens, runs, n = runs_of(out.tokens, out.n_tokens, 3)
    result = model(source, n_source, tokens, n, runs=runs)
    for row, length in enumerate((n - 1).tolist()):  # the last run may have been cut by the limit
        logits = result.logits[row, :length].clone()
        for place in range(1, length):  # a token follows itself after the longest run only
            if runs[row, place - 1] < 3:
                logits[place, tokens[row, place - 1]] = -torch.inf
        assert torch.equal(logits.argmax(-1), tokens[row, :length])
        assert torch.equal(result.run_logits[row, :length].argmax(-1) + 1, runs[row, :length])


def test_runs_are_lossless_and_none_is_longer_than_the_longest():
    tokens, n = torch.tensor([[1, 1, 1, 1, 1, 2, 2, 0], [3, 0, 0, 0, 0, 0, 0, 0]]), torch.tensor([7, 1])
    kept, runs, number = runs_of(tokens, n, 3)
    assert kept[0].tolist() == [1, 1, 2] and runs[0].tolist() == [3, 2, 2] and number.tolist() == [3, 1]
    assert kept[0].repeat_interleave(runs[0]).tolist() == tokens[0, :7].tolist()


def test_everything_after_the_end_is_padding_and_ends_are_told_apart_from_limits():
    eos = 9
    tokens, n = cut_after_eos(torch.tensor([[1, 9, 4, 9], [1, 2, 3, 4]]), eos)
    assert tokens.tolist() == [[1, 0, 0, 0], [1, 2, 3, 4]] and n.tolist() == [1, 4]
    longer = append_eos(torch.tensor([[1, 2, 7], [3, 7, 7]]), torch.tensor([2, 1]), eos)
    assert longer.tolist() == [[1, 2, 9, 0], [3, 9, 0, 0]]
    model, (source, n_source, _) = build(), sources("plain")
    model.tables["semantic"].rows.data[VOCABULARY] = 0  # the end: unlikely at first
    out = model.generate(source, n_source, max_tokens=4, sampling=Sampling(temperature=0))
    assert (out.n_tokens[~out.finished] == 4).all()


def exhaustive(model, source, limit, penalty):
    """The best sequence by trying all: (mean log-probability, tokens)."""
    best = (-math.inf, None)
    eos = model.tables["semantic"].eos

    def walk(prefix, total):
        nonlocal best
        target = torch.tensor([prefix], dtype=torch.long).view(1, -1)
        logits = model(source, torch.tensor([source.shape[1]]), target, torch.tensor([len(prefix)])).logits
        logp = logits[0, -1].log_softmax(-1).tolist()
        for token, value in enumerate(logp):
            sums, length = total + value, len(prefix) + 1
            if token == eos or length == limit:
                score = sums / length**penalty
                if score > best[0]:
                    best = (score, prefix + [token])
            else:
                walk(prefix + [token], sums)

    with torch.no_grad():
        walk([], 0.0)
    return best


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_a_wide_beam_finds_the_best_sequence_of_all(penalty):
    torch.manual_seed(3)
    config = TextToSemanticConfig(width=16, heads=2, layers=2, tokens=TokenSpec(n_tokens=3))
    model = TextToSemantic(config).eval()
    source = torch.randint(7, 60, (1, 4))
    score, tokens = exhaustive(model, source, 3, penalty)
    out = model.generate(source, beams=40, max_tokens=3, length_penalty=penalty)
    found = out.rows()[0].tolist() + ([3] if out.finished[0] else [])
    assert found == tokens
    assert math.isclose(float(out.scores[0]) * len(tokens) ** (1 - penalty), score, abs_tol=1e-4)


def test_an_ended_beam_stays_as_it_is():
    """The end is near certain from the first step: whatever other beams go on to do, the ended one is handed over unchanged."""
    model, (source, n_source, _) = build(), sources("plain")
    eos_row = model.tables["semantic"].rows
    with torch.no_grad():
        hidden = model(
            source[:1], n_source[:1], torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
        ).hidden
        eos_row[VOCABULARY] = 20 * hidden[0, 0] / hidden[0, 0].norm()
    out = model.generate(source[:1], n_source[:1], beams=4, max_tokens=10)
    assert out.finished[0] and out.n_tokens[0] == 0


def test_speculative_decoding_draws_from_the_distribution_of_plain_sampling():
    """Chi-square over all sequences of three tokens of a small vocabulary, 4000 draws each way."""
    torch.manual_seed(2)
    config = TextToSemanticConfig(
        width=16, heads=2, layers=4, tokens=TokenSpec(n_tokens=3), early_exit_layer=1, dropout=0.0
    )
    model = TextToSemantic(config).eval()
    torch.nn.init.normal_(model.early_exit.last.weight, 1.0, 1.0)  # drafts that are often wrong
    draws, limit = 4000, 3
    source = torch.randint(7, 60, (1, 4)).expand(draws, -1)
    sampling = Sampling(temperature=1.5)
    torch.manual_seed(0)
    counts = []
    for gamma in (0, 2):
        out = model.generate(source, max_tokens=limit, sampling=sampling, speculate=gamma)
        sequences = torch.nn.functional.pad(out.tokens, (0, limit - out.tokens.shape[1]), value=0)
        key = ((sequences * torch.tensor([16, 4, 1])).sum(1)) * 4 + out.n_tokens
        counts.append(torch.bincount(key, minlength=400).double())
    assert 0.05 < out.accepted < 0.99, "drafts are neither always kept nor never"
    seen = counts[0] + counts[1] > 10
    chi = ((counts[0] - counts[1])[seen].square() / (counts[0] + counts[1])[seen]).sum()
    freedom = int(seen.sum()) - 1
    assert freedom > 8
    assert chi < freedom + 4 * math.sqrt(2 * freedom), (float(chi), freedom)
    # the test can tell: what the exit alone would draw is another distribution
    skewed = model.generate(source, max_tokens=limit, sampling=sampling, speculate=2, lenience=1e6)
    sequences = torch.nn.functional.pad(skewed.tokens, (0, limit - skewed.tokens.shape[1]))
    key = ((sequences * torch.tensor([16, 4, 1])).sum(1)) * 4 + skewed.n_tokens
    other = torch.bincount(key, minlength=400).double()
    assert ((counts[0] - other)[seen].square() / (counts[0] + other)[seen]).sum() > 3 * freedom


def test_greedy_speculation_gives_the_greedy_tokens_in_fewer_passes():
    model, (source, n_source, _) = build("exit"), sources("exit")
    greedy = Sampling(temperature=0)
    plain = model.generate(source, n_source, sampling=greedy, max_tokens=15)
    quick = model.generate(source, n_source, sampling=greedy, max_tokens=15, speculate=4)
    assert torch.equal(plain.tokens, quick.tokens) and torch.equal(plain.n_tokens, quick.n_tokens)
    assert torch.allclose(plain.scores, quick.scores, atol=1e-4)
    assert torch.equal(plain.finished, quick.finished)
    assert quick.steps < plain.steps


def test_guidance_of_one_is_plain_and_the_unguided_twin_knows_nothing_of_the_text():
    model, (source, n_source, _) = build(), sources("plain")
    plain = model.generate(source, n_source, seed=1, max_tokens=8)
    assert torch.equal(
        plain.tokens,
        model.generate(source, n_source, seed=1, max_tokens=8, sampling=Sampling(guidance=1.0)).tokens,
    )
    # at 0 only the twin speaks: with one seed all texts give the same
    blind = model.generate(source, n_source, seed=[1, 1, 1], max_tokens=8, sampling=Sampling(guidance=0.0))
    assert torch.isfinite(blind.scores).all()
    assert torch.equal(blind.tokens[0], blind.tokens[1]) and torch.equal(blind.tokens[0], blind.tokens[2])
    hidden = torch.tensor([False, False, True])
    target = torch.zeros(3, 4, dtype=torch.long)
    out = model(source, n_source, target, torch.full((3,), 4), keep_source=hidden)
    assert torch.isfinite(out.logits).all() and torch.allclose(out.logits[0], out.logits[1], atol=1e-5)


def test_a_prompt_is_gone_on_from():
    """Tokens of a greedy generation as a prompt: what follows is what followed."""
    for name in ("plain", "runs", "durations"):
        model, (source, n_source, _) = build(name), sources(name)
        greedy = {"sampling": Sampling(temperature=0)}
        whole = model.generate(source[:1], n_source[:1], max_tokens=12, **greedy).rows()[0]
        change = torch.nonzero(whole[1:] != whole[:-1])  # a prompt without repeats ends where a run does
        at = 5 if name != "runs" else int(change[0]) + 1 if len(change) else len(whole)
        if at >= len(whole):
            continue
        rest = model.generate(source[:1], n_source[:1], prompt=whole[None, :at], max_tokens=12 - at, **greedy)
        assert torch.equal(rest.rows()[0], whole[at:])


@pytest.mark.parametrize("name", ["plain", "runs", "durations"])
def test_the_compiled_step_is_one_graph_and_gives_the_same(name, monkeypatch):
    model, (source, n_source, _) = build(name), sources(name)
    eager = model.generate(source, n_source, seed=1, max_tokens=6)
    plain_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **kw: plain_compile(f, backend="eager", **kw))
    compiled = model.generate(source, n_source, seed=1, max_tokens=6, compiled=True)
    assert torch.equal(eager.tokens, compiled.tokens)
    assert torch.allclose(eager.scores, compiled.scores, atol=1e-4)


def test_a_callback_sees_every_step_and_may_stop_the_generation():
    model, (source, n_source, _) = build(), sources("plain")
    seen = []
    out = model.generate(
        source, n_source, seed=1, max_tokens=6, callback=lambda step, tokens: seen.append((step, tokens))
    )
    assert [step for step, _ in seen] == list(range(len(seen)))
    assert torch.stack([t for _, t in seen], 1)[0, : out.n_tokens[0]].equal(out.rows()[0])

    def stop(step, tokens):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(source, n_source, seed=1, max_tokens=6, callback=stop)
    assert torch.equal(model.generate(source, n_source, seed=1, max_tokens=6).tokens, out.tokens)


def test_a_masked_model_fills_the_length_it_predicts_or_is_given():
    model, (source, n_source, _) = build("masked"), sources("masked")
    out = model.generate(source, n_source, seed=1)
    assert out.n_tokens.tolist() == sorted(out.n_tokens.tolist(), reverse=True) and out.finished.all(), (
        "longer text, longer speech"
    )
    given = model.generate(source, n_source, seed=1, n_tokens=torch.tensor([9, 4, 2]))
    assert given.n_tokens.tolist() == [9, 4, 2] and given.steps == 12
    settled = []
    model.generate(source, n_source, seed=1, steps=4, callback=lambda _, ids: settled.append(ids.clone()))
    assert (settled[-1] < VOCABULARY).all()
    mask = model.tables["semantic"].mask
    assert (settled[0] != mask).all(), "every step says something everywhere; masks are put back after it"
    with pytest.raises(ValueError, match="n_tokens"):
        model.generate(source, n_source, n_tokens=torch.tensor([9, 4, 31]))


@torch.no_grad()
def test_text_is_laid_along_the_prompt_that_speaks_it():
    for name in ("durations", "masked"):
        model, (source, n_source, _) = build(name), sources(name)
        n_prompt, n_text = torch.tensor([9, 4, 0]), torch.tensor([3, 2, 0])
        plain = torch.expm1(model.encode(source, n_source).log_durations)
        laid = model.durations_behind(source, n_source, {}, n_prompt, n_text)
        for row, (n, length) in enumerate(zip(n_text.tolist(), n_prompt.tolist(), strict=True)):
            assert torch.allclose(laid[row, :n].sum(), torch.tensor(float(length)), atol=1e-3)
            assert torch.allclose(laid[row, n:], plain[row, n:], atol=1e-5)
        prompt = torch.zeros(3, 9, dtype=torch.long)
        given = {"prompt": prompt, "n_prompt": n_prompt, "max_tokens": 12, "seed": 1}
        out = model.generate(source, n_source, **given, n_prompt_text=n_text)
        if name == "masked":
            rest = [
                float(plain[row, n:length].sum())
                for row, (n, length) in enumerate(zip(n_text, n_source, strict=True))
            ]
            assert all(abs(n - wanted) <= 1 for n, wanted in zip(out.n_tokens.tolist(), rest, strict=True))
        with pytest.raises(ValueError, match="n_prompt_text"):
            model.generate(source, n_source, **given, n_prompt_text=torch.tensor([9, 1, 1]))


def test_one_network_goes_every_way():
    model = build()
    semantic = torch.randint(0, VOCABULARY, (2, 9))
    text = model.generate(
        semantic, torch.tensor([9, 4]), source_kind="semantic", target_kind="text", max_tokens=7, beams=2
    )
    assert text.tokens.max() < model.tables["text"].n_tokens
    again = model.generate(
        semantic, torch.tensor([9, 4]), source_kind="semantic", target_kind="semantic", max_tokens=7
    )
    assert again.tokens.max() < VOCABULARY


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"source": torch.full((1, 3), 99)}, "text token 99: expected 0 to"),
        ({"source": torch.ones(1, 21, dtype=torch.long)}, "takes up to 20: split"),
        ({"source": torch.ones(1, 0, dtype=torch.long)}, "empty"),
        ({"prompt": torch.full((1, 3), VOCABULARY)}, "prompt token 12: expected 0 to 11"),
        ({"prompt": torch.zeros(1, 30, dtype=torch.long)}, "fewer than the model's window of 30"),
        ({"prompt": torch.zeros(1, 20, dtype=torch.long), "max_tokens": 11}, "max_tokens 11 and the prompt of 20"),
        ({"speculate": 2}, "early exit"),
        ({"speculate": 2, "beams": 2}, "neither"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"beams": 0}, "beams"),
        ({"n_tokens": torch.tensor([4])}, "autoregressive"),
        ({"target_kind": "sound"}, "target_kind"),
        ({"seed": [1, 2]}, "one seed or 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(options, word):
    options = {"source": torch.ones(1, 3, dtype=torch.long)} | options
    with pytest.raises(ValueError, match=word):
        build().generate(options.pop("source"), **options)
    if "languages" not in options:
        with pytest.raises(ValueError, match="expected languages"):
            build("languages").generate(torch.ones(1, 3, dtype=torch.long))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "diffusion"}, "kind"),
        ({"kind": "masked"}, "durations"),
        ({"kind": "masked", "positions": "durations", "deduplicate": True}, "deduplicate"),
        ({"early_exit_layer": 9}, "early_exit_layer"),
        ({"tokenizer": "bpe"}, "known are bytes, phones, ipa178"),
        ({"encoder_share": 1.0}, "encoder_share"),
    ],
)
def test_impossible_models_are_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        TextToSemanticConfig(**changes)


def test_a_model_is_saved_and_loaded(tmp_path):
    model, (source, n_source, _) = build("frozen"), sources("frozen")
    model.tables["semantic"].set_codebook(torch.randn(VOCABULARY, 4) * 3 + 1)
    model.save_pretrained(tmp_path)
    again = TextToSemantic.from_pretrained(tmp_path)
    assert torch.equal(
        model.generate(source, n_source, seed=1).tokens, again.generate(source, n_source, seed=1).tokens
    )
    with pytest.raises(ValueError, match="codebook of shape"):
        model.tables["semantic"].set_codebook(torch.randn(5, 4))


@torch.no_grad()
def test_mup_keeps_rates_and_sizes_from_width_to_width():
    sizes, residual = {}, {}
    for width in (64, 128):
        model = build(width=width, mup=MupConfig())
        scales = model.lr_scales()
        sizes[width] = {
            name: model.get_parameter(name).shape[1] for name in scales if "to_" in name or "ff_" in name
        }
        for name, fan_in in sizes[width].items():
            assert math.isclose(scales[name], 192 / fan_in)
        assert scales["tables.semantic.rows"] == 5.0
        source, n_source, _ = sources("plain")
        x = model.embed(torch.randint(0, VOCABULARY, (3, 16)), "semantic")
        context = model.encode(source, n_source)
        around, crossed = model.decoder.surroundings(x, context=context.context)
        residual[width] = model.decoder.run(x, around, crossed).std()
        assert model.decoder.layers[0].attention.to_qkv.weight[:width].abs().max() == 0
    assert 0.75 < residual[128] / residual[64] < 1.33


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["rate", "exit", "masked"])
def test_half_precision_generates(name, dtype):
    model, (source, n_source, _) = build(name).to(dtype), sources(name)
    options = {"speculate": 2} if name == "exit" else {}
    out = model.generate(source, n_source, seed=1, max_tokens=6, rate=9.0, **options)
    assert out.tokens.max() < VOCABULARY and torch.isfinite(out.scores.float()).all()
