"""Semantic to acoustic, both models: cached equals uncached, batch equals single, prompts, guidance, lengths, what is refused."""

import pytest
import torch
from make_token_pack import CODEC, TOKENS
from safetensors.torch import save_file

from spear.codec.codec import CodecSpec
from spear.layouts import Codes
from spear.sampling import Sampling
from spear.semantic_to_acoustic import (
    MaskedSemanticToAcoustic,
    MaskedSemanticToAcousticConfig,
    SemanticToAcoustic,
    SemanticToAcousticConfig,
)
from spear.semantic_to_acoustic.conditioning import ConditioningConfig, NamedCondition, load_style
from spear.semantic_to_acoustic.inputs import frames_of
from spear.text_to_semantic.mup import MupConfig
from speech.masks import lengths_to_mask
from speech.modules.style_pooling import StylePoolingConfig
from speech.semantic.quantizer import TokenSpec

GREEDY = Sampling(temperature=0.0)
STYLE = StylePoolingConfig(width=16, layers=1, out=8)
NAMED = {"language": NamedCondition(names=["en-us", "pl"]), "snr": NamedCondition(low=-10, high=70, bins=10)}
KINDS = ["delayed", "masked"]


def make(kind, **changes):
    torch.manual_seed(0)
    conditioning = changes.pop("conditioning", ConditioningConfig(style=STYLE, named=NAMED))
    common = {"tokens": TOKENS, "codec": CODEC, "conditioning": conditioning, "n_codebooks": 4, "width": 16, "heads": 2,
              "code_dim": 8, "max_frames": 200} | changes  # fmt: skip
    if kind == "delayed":
        model = SemanticToAcoustic(SemanticToAcousticConfig(encoder_layers=1, layers=2, **common))
    else:
        model = MaskedSemanticToAcoustic(MaskedSemanticToAcousticConfig(layers=2, **common))
    with torch.no_grad():  # far from uniform, and every input matters
        for name, parameter in model.named_parameters():
            if name.endswith(("weight", "missing_style")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def some_tokens(*lengths):
    torch.manual_seed(2)
    return torch.randint(0, TOKENS.n_tokens, (len(lengths), max(lengths))), torch.tensor(lengths)


def some_codes(rows, n_frames):
    torch.manual_seed(3)
    return torch.randint(0, CODEC.codebook_size, (rows, CODEC.n_codebooks, n_frames))


def mel(rows, seed=4):
    torch.manual_seed(seed)
    return torch.randn(rows, 80, 30)


@pytest.mark.parametrize(
    "changes", [{}, {"cross_attention": False}, {"aligned_input": False}, {"kv_heads": 1}]
)
def test_cached_steps_have_the_logits_of_one_uncached_pass(changes):
    model = make("delayed", **changes)
    tokens, n_tokens = some_tokens(9, 6)
    mask = lengths_to_mask(n_tokens)
    codes = Codes.of(some_codes(2, 18), CODEC.codebook_size, torch.tensor([18, 12]))
    style = model.style(mel(2))
    with torch.no_grad():
        whole = model(tokens, mask, codes, style)
        context = model.encode(tokens, mask, style)
        steps = codes.delayed(lead=1)[..., :-1]
        cache = model.decoder.make_cache(2, steps.shape[-1])
        parts = []
        for first, last in [(0, 5), *((s, s + 1) for s in range(5, steps.shape[-1]))]:
            x = model.align(context, mask, model.embed(steps[..., first:last]), first)
            cache.reach = last
            parts.append(model.logits(model.decoder(x, cache=cache, **model.cross(context, mask))))
    assert whole.shape == (2, 18 + 3, 4, CODEC.codebook_size)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)


def test_generated_codes_are_those_that_the_training_pass_says():
    """Greedy codes, run through the training pass, are its own arg max: one layout in both."""
    model = make("delayed")
    tokens, n_tokens = some_tokens(8, 5)
    style = model.style(mel(2))
    codes = model.generate(tokens, n_tokens, style, sampling=GREEDY)
    layout = Codes.of(codes, CODEC.codebook_size, model.n_frames(n_tokens))
    with torch.no_grad():
        logits = model(tokens, lengths_to_mask(n_tokens), layout, style)
    said = logits.argmax(-1).transpose(1, 2)  # [B, Q, L]
    targets = layout.delayed()
    valid = targets < CODEC.codebook_size
    assert torch.equal(said[valid], targets[valid])


def test_a_step_sees_the_steps_before_it_only():
    model = make("delayed")
    tokens, n_tokens = some_tokens(8)
    one, two = some_codes(1, 16), some_codes(1, 16)
    two[..., 10:] = (two[..., 10:] + 1) % CODEC.codebook_size
    mask = lengths_to_mask(n_tokens)
    with torch.no_grad():
        a, b = (model(tokens, mask, Codes.of(c, CODEC.codebook_size)) for c in (one, two))
    assert torch.allclose(a[:, :11], b[:, :11], atol=1e-5) and not torch.allclose(
        a[:, 11:], b[:, 11:], atol=1e-3
    )


def test_keys_turn_with_the_frames_that_they_belong_to():
    """Without embeddings of its own frame, a longer tail of tokens far away leaves the first frames' codes nearly as they are."""
    model = make("delayed", aligned_input=False)
    tokens, _ = some_tokens(6)
    cross = model.cross(torch.zeros(1, 6, 16), lengths_to_mask(torch.tensor([6])))
    assert cross["context_positions"].tolist() == [0, 2, 4, 6, 8, 10]
    odd = make(
        "delayed",
        tokens=TokenSpec(TOKENS.semantic, 24, 50),
        codec=CodecSpec("e", 24000, 75, 4, 16),
        aligned_input=False,
    )
    assert odd.cross(torch.zeros(1, 4, 16), torch.ones(1, 4).bool())["context_positions"].tolist() == [
        0,
        1.5,
        3,
        4.5,
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling", [GREEDY, Sampling(0.9, top_k=8), Sampling(0.8, guidance=2.0), Sampling(0.0, guidance=1.7)]
)
def test_a_row_of_a_batch_is_what_it_is_alone(kind, sampling):
    model = make(kind)
    tokens, n_tokens = some_tokens(9, 4, 7)
    shown, n_shown = some_tokens(5, 3, 4)
    known = some_codes(3, 10)
    options = {"conditions": {"language": ["pl", None, "en-us"]}}
    codes = model.generate(
        tokens, n_tokens, mel(3), (shown, known, n_shown), sampling, seed=[7, 8, 9], steps=4, **options
    )
    assert codes.shape == (3, 4, 18)
    for row in range(3):
        n, p = int(n_tokens[row]), int(n_shown[row])
        prompt = (shown[row : row + 1, :p], known[row : row + 1, :, : 2 * p])
        alone = model.generate(
            tokens[row : row + 1, :n], None, mel(3)[row : row + 1], prompt, sampling, seed=7 + row, steps=4,
            conditions={"language": [options["conditions"]["language"][row]]},
        )  # fmt: skip
        assert torch.equal(codes[row : row + 1, :, : 2 * n], alone)
        assert codes[row, :, 2 * n :].sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_say_how_many_frames_there_are(kind):
    tokens, n_tokens = some_tokens(9, 4)
    codes = make(kind).generate(tokens, n_tokens, sampling=Sampling(1.0), seed=0, steps=2)
    assert codes.shape == (2, 4, 18) and codes.dtype == torch.long
    assert 0 <= int(codes.min()) and int(codes.max()) < CODEC.codebook_size
    wide = CodecSpec("encodec-24khz", 24000, 75, 32, 16)
    for rate, n_frames in ((25, 27), (50, 14)):
        model = make(kind, tokens=TokenSpec(TOKENS.semantic, 24, rate), codec=wide, n_codebooks=2)
        assert model.generate(tokens, sampling=GREEDY, steps=2).shape == (2, 2, n_frames)
    assert frames_of(round(25 * 7.3), TokenSpec(rate_hz=25), wide) == pytest.approx(75 * 7.3, abs=3)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_repeat_and_differ(kind):
    model = make(kind)
    tokens, _ = some_tokens(12)
    same = [model.generate(tokens, sampling=Sampling(1.0), seed=s, steps=4) for s in (5, 5, 6)]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[2])
    again = [
        model.generate(tokens, sampling=Sampling(1.0), generator=torch.Generator().manual_seed(5), steps=4)
        for _ in range(2)
    ]
    assert torch.equal(*again)
    with pytest.raises(ValueError, match="seed and generator"):
        model.generate(tokens, seed=1, generator=torch.Generator())


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_heard_and_not_returned(kind):
    model = make(kind)
    tokens, _ = some_tokens(8)
    shown, known = some_tokens(6)[0], some_codes(1, 12)
    plain = model.generate(tokens, sampling=GREEDY, steps=4)
    prompted = model.generate(tokens, prompt=(shown, known), sampling=GREEDY, steps=4)
    other = model.generate(
        tokens, prompt=(shown, (known + 3) % CODEC.codebook_size), sampling=GREEDY, steps=4
    )
    assert plain.shape == prompted.shape == (1, 4, 16)
    assert not torch.equal(plain, prompted) and not torch.equal(prompted, other)
    more = torch.cat([known, some_codes(1, 12)], 1)
    assert torch.equal(prompted, model.generate(tokens, prompt=(shown, more), sampling=GREEDY, steps=4)), (
        "finer codes are left out"
    )


def test_going_on_from_what_it_said_says_the_same():
    """Continuation: with the first half of its own greedy codes as the prompt, the second half comes out as before."""
    model = make("delayed")
    tokens, _ = some_tokens(10)
    whole = model.generate(tokens, sampling=GREEDY)
    rest = model.generate(tokens[:, 5:], prompt=(tokens[:, :5], whole[..., :10]), sampling=GREEDY)
    assert torch.equal(rest, whole[..., 10:])


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_of_one_is_plain_and_more_of_it_differs(kind):
    model = make(kind)
    tokens, _ = some_tokens(10)
    options = {"style": mel(1), "steps": 4}
    plain = model.generate(tokens, sampling=GREEDY, **options)
    assert torch.equal(plain, model.generate(tokens, sampling=Sampling(0.0, guidance=1.0), **options))
    three = [
        model.generate(tokens, sampling=Sampling(0.0, guidance=3.0), guided=g, **options)
        for g in ("style", "tokens", "both")
    ]
    assert all(not torch.equal(plain, codes) for codes in three)
    assert not torch.equal(three[0], three[1])
    unguided = model.generate(tokens, sampling=Sampling(0.0, guidance=0.0), guided="style", **options)
    assert torch.equal(unguided, model.generate(tokens, sampling=GREEDY, steps=4)), (
        "guidance 0 is speech without the style"
    )
    with pytest.raises(ValueError, match="expected style, tokens or both, got 'voice'"):
        model.generate(tokens, sampling=Sampling(guidance=2.0), guided="voice")


def test_codes_reach_the_callback_as_they_are_finished():
    model = make("delayed")
    tokens, n_tokens = some_tokens(8, 6)
    shown, known = some_tokens(3)[0], some_codes(1, 6)
    heard = []
    codes = model.generate(
        tokens, n_tokens, prompt=(shown, known), sampling=Sampling(1.0), seed=0, callback=heard.append
    )
    assert [part.shape[-1] for part in heard] == list(range(1, 17))
    assert all(torch.equal(part, codes[..., : part.shape[-1]]) for part in heard)
    with pytest.raises(KeyboardInterrupt):
        model.generate(tokens, callback=lambda part: (_ for _ in ()).throw(KeyboardInterrupt))
    heard.clear()
    codes = make("masked").generate(tokens, sampling=GREEDY, steps=3, callback=heard.append)
    assert len(heard) == 1 and torch.equal(heard[0], codes)


@pytest.mark.parametrize("kind", KINDS)
def test_speakers_come_as_prompts_vectors_files_or_not_at_all(kind, tmp_path):
    model = make(kind)
    tokens, _ = some_tokens(8, 8, 8)
    styles = model.style(mel(3))
    by_mel = model.generate(tokens, style=mel(3), sampling=GREEDY, steps=3)
    assert torch.equal(by_mel, model.generate(tokens, style=styles, sampling=GREEDY, steps=3))
    assert torch.equal(model.generate(tokens, style=styles[:1], sampling=GREEDY, steps=3)[0], by_mel[0])
    save_file({"style": styles[1]}, tmp_path / "anna.safetensors")
    from_file = model.generate(
        tokens[:1], style=load_style(tmp_path / "anna.safetensors"), sampling=GREEDY, steps=3
    )
    assert torch.equal(from_file, model.generate(tokens[:1], style=styles[1:2], sampling=GREEDY, steps=3))
    assert load_style(None) is None and load_style(styles[0]).shape == (1, 8)
    nobody = model.generate(tokens, sampling=GREEDY, steps=3)
    partly = styles.clone()
    partly[1, 3] = torch.nan
    mixed = model.generate(tokens, style=partly, sampling=GREEDY, steps=3)
    assert (
        torch.equal(mixed[1], nobody[1])
        and torch.equal(mixed[0], by_mel[0])
        and not torch.equal(nobody[0], by_mel[0])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_heard_as_its_mel_whatever_is_padded_behind_it(kind):
    model = make(kind)
    wav = torch.randn(2, 9600) * 0.1
    wav[1, 6400:] = 0
    styles = model.encode_style(wav, torch.tensor([9600, 6400]))
    assert torch.allclose(styles[:1], model.style(model.conditioning.mel(wav[:1])), atol=1e-5)
    assert torch.allclose(styles[1:], model.encode_style(wav[1:, :6400]), atol=0.05), (
        "but for the last frame's edge"
    )
    with pytest.raises(ValueError, match="expected 320 samples or more, got 100"):
        model.encode_style(wav[:, :100])
    with pytest.raises(ValueError, match="no style encoder"):
        make(kind, conditioning=ConditioningConfig(style=None, style_channels=5)).encode_style(wav)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_from_elsewhere_have_a_configured_width_and_may_be_scaled(kind):
    model = make(kind, conditioning=ConditioningConfig(style=None, style_channels=5, normalize_style=True))
    tokens, _ = some_tokens(6)
    vector = torch.randn(1, 5)
    codes = model.generate(tokens, style=vector, sampling=GREEDY, steps=3)
    assert torch.equal(codes, model.generate(tokens, style=10 * vector, sampling=GREEDY, steps=3))
    with pytest.raises(ValueError, match=r"expected vectors of 5 numbers, got \[1, 192\]"):
        model.generate(tokens, style=torch.randn(1, 192))
    with pytest.raises(ValueError, match=r"no style encoder, expected vectors \[B, 5\]"):
        model.generate(tokens, style=mel(1))


@pytest.mark.parametrize("kind", KINDS)
def test_named_conditions_count_and_missing_ones_have_a_row_of_their_own(kind):
    model = make(kind)
    tokens, _ = some_tokens(9)

    def say(**values):
        return model.generate(tokens, conditions=values, sampling=GREEDY, steps=3)

    assert torch.equal(say(), say(language=None, snr=float("nan")))
    assert not torch.equal(say(), say(language="pl")) and not torch.equal(say(snr=60.0), say(snr=-5.0))
    assert torch.equal(say(snr=1000.0), say(snr=69.0)), "numbers outside go into the last bins"
    with pytest.raises(ValueError, match="condition language: 'de': expected one of"):
        say(language="de")
    with pytest.raises(ValueError, match=r"conditions \['mood'\]: this model has \['language', 'snr'\]"):
        say(mood="gay")
    with pytest.raises(ValueError, match="condition snr: expected 1 values, got 2"):
        say(snr=[1.0, 2.0])


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_by_name(kind):
    model = make(kind)
    tokens, _ = some_tokens(8)
    shown, known = some_tokens(6)[0], some_codes(1, 12)
    refused = {
        "semantic token 24: expected 0 to 23": {"tokens": torch.full((1, 3), 24)},
        "semantic token -1: expected 0 to 23": {"tokens": torch.full((1, 3), -1)},
        r"semantic tokens \[B, N\] as whole numbers": {"tokens": torch.zeros(1, 3)},
        "n_tokens: expected a length of 1 to 8": {"n_tokens": torch.tensor([9])},
        "prompt of 12 frames and 190 to be made: the context holds 200": {
            "tokens": torch.zeros(1, 95).long(),
            "prompt": (shown, known),
        },
        "prompt: 6 tokens last 12 frames of codes at 50 Hz, got 18": {"prompt": (shown, some_codes(1, 18))},
        r"expected codes \[1, 4 codebooks or more, R\], got \[1, 2, 12\]": {"prompt": (shown, known[:, :2])},
        "prompt: code 16, expected 0 to 15": {"prompt": (shown, torch.full((1, 4, 12), 16))},
        "prompt: expected 1 or 1 rows, got 2": {"prompt": (shown.repeat(2, 1), known.repeat(2, 1, 1))},
        r"style: expected vectors of 8 numbers, got \[1, 9\]": {"style": torch.zeros(1, 9)},
        "style: expected a prompt of 80 mel bands, got 64": {"style": torch.zeros(1, 64, 30)},
        "style: expected 1 or 1 rows, got 2": {"style": torch.zeros(2, 8)},
    }
    for sentence, changes in refused.items():
        with pytest.raises(ValueError, match=sentence):
            model.generate(**{"tokens": tokens} | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_of_another_rate_or_with_fewer_codebooks_is_refused(kind):
    model = make(kind)
    model.check_codec(CodecSpec("compact", n_codebooks=6, codebook_size=16))
    with pytest.raises(ValueError, match="rate_hz 75, expected 50"):
        model.check_codec(CodecSpec("compact", 24000, 75, 4, 16))
    with pytest.raises(ValueError, match="n_codebooks 2, expected 4 or more"):
        model.check_codec(CodecSpec("compact", n_codebooks=2, codebook_size=16))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_survives_its_folder(kind, tmp_path):
    model = make(kind)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    tokens, _ = some_tokens(6)
    assert again.config == model.config
    assert torch.equal(*(m.generate(tokens, style=mel(1), sampling=GREEDY, steps=3) for m in (model, again)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [1, 2, 4, 8, 16])
def test_any_number_of_the_codecs_codebooks_is_made(kind, levels):
    model = make(kind, codec=CodecSpec("encodec-24khz", 24000, 75, 32, 16), n_codebooks=levels)
    tokens, n_tokens = some_tokens(3, 2)
    codes = model.generate(tokens, n_tokens, sampling=Sampling(1.0), seed=0, steps=2)
    assert codes.shape == (2, levels, 9) and codes[1, :, 6:].sum() == 0


def test_mup_scales_rates_by_width_and_starts_even():
    for width in (16, 32):
        torch.manual_seed(0)
        sizes = {
            "tokens": TOKENS,
            "codec": CODEC,
            "n_codebooks": 4,
            "width": width,
            "heads": 2,
            "code_dim": 8,
        }
        model = SemanticToAcoustic(
            SemanticToAcousticConfig(encoder_layers=1, layers=2, mup=MupConfig(), **sizes)
        )
        scales = model.lr_scales()
        for name in ("decoder.layers.0.attention.to_qkv", "decoder.layers.1.ff_out", "head", "code_in"):
            fan_in = model.get_submodule(name).in_features
            assert scales[f"{name}.weight"] == pytest.approx(192 / fan_in)
        assert scales["token_embedding.weight"] == scales["code_embedding.weight"] == 5.0
        assert not model.decoder.layers[0].attention.to_qkv.weight[:width].any(), "queries start at zero"
        tokens, _ = some_tokens(4)
        logits = model(tokens, tokens >= 0, Codes(some_codes(1, 8), torch.tensor([8]), CODEC.codebook_size))
        assert not logits.any(), "every code is as likely as any other"
    assert make("delayed").lr_scales() == {}
