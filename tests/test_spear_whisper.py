"""The Whisper bottleneck: padding does not matter, tokens go to states and text and back, bad input is refused by name."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_whisper import make_whisper

from spear.tokenizers import load_tokenizer
from spear.whisper_tokens import WhisperBottleneck, WhisperBottleneckConfig, WhisperTokenizer
from spear.whisper_tokens.frozen import FrozenWhisper
from spear.whisper_tokens.health import edit_distance, health, plain_words
from spear.whisper_tokens.sizes import PUBLISHED, published
from speech.masks import lengths_to_mask
from speech.semantic.encoder import SemanticSpec

SPEC = SemanticSpec("whisper-tiny", 2, 16, 50)


def bottleneck(pooling="mean", downsample=2, **options):
    torch.manual_seed(0)
    config = WhisperBottleneckConfig(
        "nowhere", SPEC, 12, 8, downsample, pooling, heads=2, window=100, mlp_mult=2.0, **options
    )
    return WhisperBottleneck(config)


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    return make_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def whisper(whisper_folder):
    return FrozenWhisper.from_pretrained(whisper_folder, "whisper-tiny")


@pytest.fixture(scope="module")
def tokenizer(whisper):
    return WhisperTokenizer(bottleneck().eval(), whisper)


def tone(samples, hz=220):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / 16000)).astype(np.float32)


@pytest.mark.parametrize("pooling", ["mean", "stride", "conv"])
@pytest.mark.parametrize("downsample", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_what_lies_past_the_end_of_a_clip_does_not_matter(pooling, downsample, training):
    semantic, n_frames = torch.randn(3, 16, 100), torch.tensor([100, 41, 7])
    found = []
    for filler in (0.0, 50.0, float("nan")):
        model = bottleneck(pooling, downsample, dead_below=2.0).train(training)
        x = semantic.clone()
        x[~lengths_to_mask(n_frames, 100)[:, None].expand_as(x)] = filler
        torch.manual_seed(1)
        out = model(x, n_frames)
        found.append((out.semantic, out.tokens, out.commitment, model.quantizer.codebook))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)
    tokens = found[0][1]
    for row, n in zip(tokens, n_frames.tolist(), strict=True):
        number = -(-n // downsample)
        assert (row[number:] == 12).all() and (row[:number] < 12).all()


@pytest.mark.parametrize("pooling", ["mean", "stride", "conv"])
def test_the_shapes_documented(pooling):
    model = bottleneck(pooling).eval()
    for batch, frames in ((1, 100), (3, 37)):
        semantic = torch.randn(batch, 16, frames)
        out = model(semantic)
        assert out.semantic.shape == (batch, 16, 100) and out.tokens.shape == (batch, 50)
        tokens = model.quantize(semantic)
        assert tokens.shape == (batch, -(-frames // 2))
        assert torch.equal(tokens, out.tokens[:, : tokens.shape[1]])
        assert torch.allclose(model.dequantize(tokens), out.semantic, atol=1e-5)


def test_a_stream_ends_at_its_first_padding_code_or_where_it_is_said_to():
    model = bottleneck().eval()
    tokens = torch.randint(12, (1, 20))
    whole = model.dequantize(tokens[:, :8])
    padded = torch.nn.functional.pad(tokens[:, :8], (0, 12), value=12)
    padded[0, 15] = 3  # after the end nothing counts
    assert torch.equal(model.dequantize(padded), whole)
    assert torch.equal(model.dequantize(tokens, torch.tensor([8])), whole)
    assert not torch.allclose(model.dequantize(tokens), whole, atol=1e-3)


def test_padding_has_a_gradient_and_whisper_is_no_part_of_the_model(tokenizer, whisper):
    model = bottleneck().train()
    model(torch.randn(1, 16, 100), torch.tensor([30])).semantic.square().sum().backward()
    assert model.padding.grad.abs().sum() > 0 and model.quantizer.project_out.weight.grad is not None
    assert not any("whisper" in name for name in tokenizer.state_dict())
    assert not any(p.requires_grad for p in whisper.model.parameters())
    assert {id(p) for p in tokenizer.parameters()}.isdisjoint({id(p) for p in whisper.model.parameters()})


@pytest.mark.parametrize("samples", [320, 6400, 7999, 32000, 32000 + 9601])
def test_audio_of_any_length_has_25_tokens_a_second(tokenizer, samples):
    tokens = tokenizer.encode_audio(tone(samples))
    assert tokens.shape == (1, -(-(samples // 320) // 2))
    assert 0 <= int(tokens.min()) and int(tokens.max()) < 12
    assert torch.equal(tokens, tokenizer.encode_audio(tone(samples)))
    states = tokenizer.features(tokens)
    assert states.shape == (1, 16, 2 * tokens.shape[1]) and states.isfinite().all()


def test_a_long_recording_is_its_windows_one_after_the_other(tokenizer):
    wav = np.concatenate([tone(32000), tone(16000, 700)])
    tokens = tokenizer.encode_audio(wav)
    assert torch.equal(tokens[:, :50], tokenizer.encode_audio(wav[:32000]))
    assert torch.equal(tokens[:, 50:], tokenizer.encode_audio(wav[32000:]))


def test_a_batch_gives_what_each_recording_gives_alone(tokenizer):
    wavs = [tone(32000), tone(12000, 700)]
    batch = torch.zeros(2, 32000)
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = torch.from_numpy(wav)
    tokens = tokenizer.audio_tokens(batch, torch.tensor([32000, 12000]))
    for row, wav in zip(tokens, wavs, strict=True):
        alone = tokenizer.encode_audio(wav)[0]
        assert torch.equal(row[: len(alone)], alone) and not row[len(alone) :].any()


def test_files_samples_and_mel_are_heard_alike(tokenizer, tmp_path):
    wav = tone(32000)
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    tokens = tokenizer.encode_audio(wav)
    assert torch.equal(tokenizer.encode_audio(str(tmp_path / "a.wav")), tokens)
    mel = tokenizer.whisper.mel(wav)[None]
    assert torch.equal(tokenizer.encode_mel(mel), tokens)
    assert tokenizer.encode_mel(mel[..., :81]).shape == (1, 21)
    assert torch.equal(tokenizer.encode_mel(torch.cat([mel, mel], -1)), tokens)  # cut at a window


def test_tokens_are_decoded_to_text_that_depends_on_them(tokenizer):
    tokens = tokenizer.encode_audio(tone(16000))
    text = tokenizer.decode_text(tokens, max_tokens=12)
    assert isinstance(text, str) and "<|" not in text
    assert tokenizer.decode_text(tokens[0], max_tokens=12) == text
    texts = {tokenizer.decode_text(torch.full((1, 30), k), max_tokens=12) for k in range(12)}
    assert len(texts) > 1


def test_cached_transcription_is_what_the_decoder_expects_step_by_step(whisper):
    states = torch.randn(2, 16, 100, generator=torch.Generator().manual_seed(4))
    said = whisper.transcribe(states, "pl", max_tokens=10)
    for row, ids in enumerate(said):
        prefix = whisper.prefix("pl")
        expected = []
        while len(expected) < 10:
            logits = whisper.logits(states[row : row + 1], torch.tensor([prefix + expected]))[0, -1]
            logits[whisper._silent] = -torch.inf
            if int(logits.argmax()) == whisper.end:
                break
            expected.append(int(logits.argmax()))
        assert ids == expected


def test_prefixes_of_multilingual_and_english_whispers(whisper, tmp_path):
    names = ["<|startoftranscript|>", "<|pl|>", "<|transcribe|>", "<|notimestamps|>"]
    assert whisper.prefix("pl") == [whisper.vocabulary[name] for name in names]
    assert whisper.prefix("en-us") == whisper.prefix("en")
    with pytest.raises(ValueError, match=r"language 'fi': this Whisper has no token <\|fi\|>"):
        whisper.prefix("fi")
    english = FrozenWhisper.from_pretrained(make_whisper(tmp_path / "en", multilingual=False), "whisper-tiny")
    assert not english.multilingual and len(english.prefix("pl")) == 2
    assert whisper.text(whisper.text_ids("zażółć gęślą")) == "zażółć gęślą"


def test_a_saved_tokenizer_gives_the_same_tokens_and_knows_its_codebook(tokenizer, whisper_folder, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path, whisper_folder)
    tokens = tokenizer.encode_audio(tone(16000))
    assert torch.equal(loaded.encode_audio(tone(16000)), tokens)
    assert (
        loaded.spec == tokenizer.spec and loaded.spec.kind == "whisper-vq" and len(loaded.spec.codebook) == 8
    )
    assert loaded.spec.n_tokens == 12 and loaded.spec.rate_hz == 25
    # Whisper's own states of a pack are named as the audio is
    states = tokenizer.whisper.hear(torch.from_numpy(tone(16000))[None])
    assert torch.equal(loaded.tokens(states), tokens)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda t: t.features(torch.tensor([[12]])), "semantic token 12: expected 0 to 11"),
        (lambda t: t.dequantize(torch.tensor([[13]])), "semantic token 13"),
        (lambda t: t.dequantize(torch.zeros(1, 51).long()), "51 tokens: expected at most the 50 of a window"),
        (lambda t: t.quantize(torch.zeros(1, 16, 101)), "101 frames: expected at most the 100"),
        (lambda t: t.tokens(torch.zeros(1, 15, 9)), r"expected \[B, 16, N\] of the encoder whisper-tiny"),
        (lambda t: t.tokens(torch.zeros(1, 16, 9), spec=SemanticSpec()), "features of .*mms-300m"),
        (lambda t: t.encode_audio(np.zeros(300, np.float32)), "320 or more"),
        (lambda t: t.decode_text(torch.zeros(2, 3).long()), "expected one stream"),
        (lambda t: t.whisper.encode_mel(torch.zeros(1, 15, 200)), r"log-mel \[1, 15, 200\]: expected \[B, 16"),
        (lambda t: WhisperBottleneckConfig(pooling="max"), "pooling 'max': expected mean, stride, conv"),
        (lambda t: WhisperBottleneckConfig(downsample=3), "downsample 3: expected a divisor"),
        (lambda t: published("medium-512c"), "unknown size 'medium-512c'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(tokenizer, act, says):
    with pytest.raises(ValueError, match=says):
        act(tokenizer)


def test_a_whisper_of_another_kind_is_refused(whisper_folder, tmp_path):
    with pytest.raises(
        ValueError, match="Whisper gives .*other.* the bottleneck was made for .*whisper-tiny"
    ):
        WhisperTokenizer(bottleneck(), FrozenWhisper.from_pretrained(whisper_folder, "other"))
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
        assert (whisper_folder / name).is_file()
    for path in whisper_folder.iterdir():
        if "tokenizer" not in path.name and path.name not in ("vocab.json", "merges.txt"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="tokenizer"):
        FrozenWhisper.from_pretrained(tmp_path, "whisper-tiny")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("base.en-2d-512c", 6.1), ("medium-2d-512c-dim64", 22.7), ("large-v2-2d-512c-dim64", 35)],
)
def test_published_sizes_are_about_as_large_as_published(name, millions):
    with torch.device("meta"):
        model = WhisperBottleneck(published(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.04)
    assert len(PUBLISHED) == 14 and published(name).window == 1500 and model.window_tokens == 750


def test_word_error_rate():
    assert plain_words("Hello, World! It's 5.") == ["hello", "world", "it's", "5"]
    assert edit_distance([], ["a", "b"]) == 2 and edit_distance(["a", "c", "b"], ["a", "b"]) == 1
    assert edit_distance("kitten", "sitting") == 3


def test_the_health_check_counts_words_and_tokens(tokenizer):
    wav = tone(16000)
    heard = tokenizer.decode_text(tokenizer.encode_audio(wav), max_tokens=8)
    texts = ["one two three", heard or "nothing"]
    found = health(tokenizer, [(wav, text, "en") for text in texts], max_tokens=8)
    assert found.use.counted == 50 and 0 <= found.use.entropy_share <= 1
    words = len(plain_words(texts[0])) + len(plain_words(texts[1]))
    assert found.wer == pytest.approx(
        edit_distance(plain_words(heard), ["one", "two", "three"]) / words, abs=0.5
    )
    assert any(line.startswith("word error rate: ") for line in found.lines())
    with pytest.raises(ValueError, match="no recording with text"):
        health(tokenizer, [])
