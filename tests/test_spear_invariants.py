"""Invariants of the token models that need several parts at once; those of one part stand beside its other tests.

docs/spear.md lists all twenty and where each is held.
"""

import json

import pytest
import torch
from test_spear_s2a import GREEDY, KINDS, make, mel, some_codes, some_tokens
from tiny_spear import build_spear_voice
from tiny_voice import recording

from hierspeech import SpearTTS
from hierspeech.pipelines.spear_text import split_pieces
from spear.sampling import Sampling
from spear.semantic_to_acoustic import model as s2a_model
from spear.semantic_to_acoustic.model import SemanticToAcoustic
from spear.text_to_semantic import session
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from speech.modules.transformer import Transformer, TransformerConfig


class Plain:
    """What `OneToken` stands for, by `Transformer.forward`."""

    used = 0

    def __init__(self, transformer, cache, filled):
        self.transformer, self.cache, self.filled = transformer, cache, filled

    def __call__(self, x):
        Plain.used += 1
        self.filled += 1
        self.cache.reach = self.filled
        return self.transformer(x[:, None], cache=self.cache)[:, 0]


def reader(**changes):
    torch.manual_seed(0)
    sizes = {"width": 32, "heads": 2, "layers": 4, "positions": "durations", "kv_heads": 1}
    model = TextToSemantic(TextToSemanticConfig(**(sizes | changes))).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.mark.parametrize("changes", [{}, {"codebook_dim": 8}, {"positions": "none", "rate_bins": 0}])
def test_merged_reading_equals_reading_before_it_was_merged(changes, monkeypatch):
    """Invariant 3: with and without merged tables and merged steps, drawn, searched and guided."""
    model, ids = reader(**changes), torch.randint(1, 30, (3, 12))
    options = [{"seed": 3}, {"beams": 3}, {"seed": 1, "sampling": Sampling(0.9, guidance=1.5)}]
    rate = None if "rate_bins" in changes else torch.tensor([8.0, torch.nan, 14.0])
    prompt = torch.randint(0, 500, (3, 4))
    merged = [model.generate(ids, max_tokens=25, rate=rate, prompt=prompt, **o) for o in options]
    monkeypatch.setattr(session, "OneToken", Plain)
    before = Plain.used
    plain = [model.generate(ids, max_tokens=25, rate=rate, prompt=prompt, **o) for o in options]
    assert Plain.used > before + 50, "the other way was gone"
    for one, other in zip(merged, plain, strict=True):
        assert torch.equal(one.tokens, other.tokens)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=1e-4)


def test_merged_speaking_equals_speaking_before_it_was_merged(monkeypatch):
    model = make("delayed")
    tokens, n_tokens = some_tokens(9, 6)
    prompt = (some_tokens(3)[0], some_codes(1, 6))
    calls = [{"sampling": GREEDY}, {"sampling": Sampling(1.0), "seed": 0}, {"sampling": Sampling(0.8, guidance=2.0), "seed": 1}]  # fmt: skip

    def all_ways():
        return [
            model.generate(tokens, n_tokens, style=mel(2), prompt=p, **c)
            for c in calls
            for p in (None, prompt)
        ]

    merged = all_ways()
    monkeypatch.setattr(s2a_model, "OneToken", Plain)
    before = Plain.used
    assert all(torch.equal(a, b) for a, b in zip(merged, all_ways(), strict=True)) and Plain.used > before


@torch.no_grad()
def test_only_distances_count_however_far_from_the_start():
    """Invariant 4: everything moved by the same stretch, queries, keys and context, gives the same; moved apart it does not."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(width=32, heads=4, layers=2, causal=True, cross_width=24)).eval()
    x, context, places = torch.randn(2, 9, 32), torch.randn(2, 3, 24), torch.arange(9.0)

    def at(shift, context_shift):
        return model(x, context=context, positions=places + shift, context_positions=torch.arange(3.0) * 3 + context_shift)  # fmt: skip

    torch.testing.assert_close(at(300, 300), at(0, 0), atol=2e-4, rtol=1e-3)
    assert (at(300, 0) - at(0, 0)).abs().max() > 1e-2


def test_a_masked_model_calls_back_once_with_what_it_hands_over():
    model = make("masked")
    tokens, n_tokens = some_tokens(8, 5)
    shown, known = some_tokens(3)[0], some_codes(1, 6)
    heard = []
    codes = model.generate(tokens, n_tokens, prompt=(shown, known), seed=0, steps=3, callback=heard.append)
    assert len(heard) == 1 and torch.equal(heard[0], codes) and codes.shape[-1] == 16, (
        "the prompt is no part of it"
    )
    assert not codes[1, :, 10:].any() and codes.max() < model.mask_id

    def stop(part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(tokens, seed=0, steps=3, callback=stop)


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return build_spear_voice(tmp_path_factory.mktemp("voices") / "tokens", max_chars=60)


def test_a_text_of_any_length_is_spoken_whole(voice):
    """Invariant 16: far more speech than a model's window holds, piece by piece; a piece that does not fit is refused by name."""
    tts = SpearTTS.from_pretrained(voice, "cpu")
    text = " ".join(
        f"This is sentence number {n} of a long text." for n in ("one", "two", "three", "four", "five")
    )
    pieces = [piece for piece, _ in split_pieces(text, 60)]
    assert " ".join(pieces) == text and len(pieces) == 5
    with pytest.warns(UserWarning, match="came to no end"):
        speech = tts.synthesize(text, recording(1.0), seed=0)
    spoken = sum(map(len, speech.tokens))
    assert len(speech.tokens) == 5 and spoken > 2 * tts.config.max_semantic
    assert speech.seconds > 0.9 * spoken / tts.voice.tokenizer.spec.rate_hz
    with pytest.raises(ValueError, match="the model takes up to 300: split it"):
        tts.read(["hello " * 200])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_does_not_know_is_refused_by_name(kind, tmp_path):
    """Invariant 19; the spec lets unknown fields pass with a warning, here they are refused: what they did is not known."""
    model = make(kind)
    model.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"new_field": 1}))
    with pytest.raises(ValueError, match="unknown keys \\['new_field'\\]"):
        type(model).from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values | {"model": "Somebody"}))
    with pytest.raises(ValueError, match=f"holds a Somebody, not a {type(model).__name__}"):
        type(model).from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        SemanticToAcoustic.from_pretrained(tmp_path / "none")
