"""Semantic encoders through transformers, on tiny random checkpoints in transformers' own file format; no network."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoder import make_mms

from speech.semantic.encoder import ENCODERS, SemanticSpec, load_encoder, pad_recording

transformers = pytest.importorskip("transformers")
DIM = 24
SPEC = SemanticSpec("mms-300m", 7, DIM, 50)


def wave(samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, samples, generator=torch.Generator().manual_seed(seed)) * 0.6 - 0.3


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    """A pre-training checkpoint as MMS is published: 9 pre-norm layers, quantiser and heads."""
    model = make_mms(DIM)
    with torch.no_grad():  # not the identity, so that a LayerNorm too many shows
        model.wav2vec2.encoder.layer_norm.weight.uniform_(0.5, 2)
        model.wav2vec2.encoder.layer_norm.bias.uniform_(-1, 1)
    folder = tmp_path_factory.mktemp("mms")
    model.save_pretrained(folder)
    return model.wav2vec2, folder


def by_hand(model, wav: torch.Tensor, layers: int) -> torch.Tensor:
    """The residual stream after `layers` layers, layer by layer."""
    features = model.feature_extractor(torch.nn.functional.pad(wav, (40, 40), mode="reflect")).transpose(1, 2)
    hidden = model.feature_projection(features)[0]
    hidden = hidden + model.encoder.pos_conv_embed(hidden)
    for layer in model.encoder.layers[:layers]:
        out = layer(hidden)
        hidden = out[0] if isinstance(out, tuple) else out
    return hidden.transpose(1, 2)


@torch.no_grad()
def test_wav2vec2_is_layer_seven(wav2vec2):
    model, folder = wav2vec2
    encoder = load_encoder(SPEC, folder)
    wav = wave(1280 * 3, batch=2)
    semantic = encoder(wav)
    assert semantic.shape == (2, DIM, 12)
    torch.testing.assert_close(semantic, by_hand(model, wav, 7), rtol=1e-5, atol=1e-5)
    padded = torch.nn.functional.pad(wav, (40, 40), mode="reflect")
    hidden = model(padded, output_hidden_states=True).hidden_states
    torch.testing.assert_close(semantic, hidden[7].transpose(1, 2), rtol=1e-5, atol=1e-5)
    assert (semantic - hidden[6].transpose(1, 2)).abs().max() > 1e-3  # the comparison can fail
    assert (semantic - model.encoder.layer_norm(hidden[7]).transpose(1, 2)).abs().max() > 1e-2


@torch.no_grad()
def test_wav2vec2_loads_seven_layers_frozen(wav2vec2):
    encoder = load_encoder(SPEC, wav2vec2[1]).train()
    assert len(encoder.model.encoder.layers) == 7
    assert not encoder.training and not encoder.model.training
    assert not any(p.requires_grad for p in encoder.parameters())
    assert encoder.spec == SPEC


@torch.no_grad()
def test_wav2vec2_is_saved_with_the_layers_in_use_only(wav2vec2, tmp_path):
    encoder, wav = load_encoder(SPEC, wav2vec2[1]), wave(6400)
    before = encoder(wav)
    encoder.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    keys = load_file(tmp_path / "saved" / "model.safetensors").keys()
    assert {key.split("layers.")[1].split(".")[0] for key in keys if ".layers." in key} == set("0123456")
    assert not [key for key in keys if key.startswith(("quantizer", "project", "lm_head"))]
    again = load_encoder(SPEC, tmp_path / "saved")
    assert torch.equal(again(wav), before) and torch.equal(encoder(wav), before)


@torch.no_grad()
@pytest.mark.parametrize("samples", [319, 320, 321, 1279, 16000, 12345])
def test_wav2vec2_frame_count(wav2vec2, samples):
    encoder = load_encoder(SPEC, wav2vec2[1])
    assert encoder(wave(samples)).shape == (1, DIM, samples // 320)


@torch.no_grad()
def test_wav2vec2_padding_changes_nothing(wav2vec2):
    encoder = load_encoder(SPEC, wav2vec2[1])
    wav = wave(6400, batch=5)
    lengths = torch.tensor([6400, 3300, 320, 6361, 5119])
    calls = []
    encoder.model.register_forward_hook(lambda *_: calls.append(1))
    semantic = encoder(wav, lengths)
    assert len(calls) == 1  # the whole batch at once
    for row, length in enumerate(lengths.tolist()):
        frames = length // 320
        alone = encoder(wav[row : row + 1, :length])[0]
        torch.testing.assert_close(semantic[row, :, :frames], alone, rtol=1e-5, atol=2e-6)
        assert not semantic[row, :, frames:].any()
    short = encoder(wav[:2, :800], torch.tensor([800, 100]))  # under a frame: nothing
    assert short.shape[-1] == 2 and not short[1].any()


@torch.no_grad()
def test_wav2vec2_loads_old_weight_norm_names(wav2vec2, tmp_path):
    """MMS was published with `weight_g` and `weight_v`, before torch's parametrisations."""
    model, folder = wav2vec2
    weights = load_file(folder / "model.safetensors")
    old = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in weights.items()
    }
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    wav = wave(3200)
    torch.testing.assert_close(
        load_encoder(SPEC, tmp_path)(wav), by_hand(model, wav, 7), rtol=1e-5, atol=1e-5
    )


def test_wav2vec2_strict(wav2vec2, tmp_path):
    folder = wav2vec2[1]
    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    missing = {k: v for k, v in weights.items() if "encoder.layers.3.attention.k_proj.weight" not in k}
    assert len(missing) == len(weights) - 1
    save_file(missing, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="missing keys.*layers.3.attention.k_proj.weight"):
        load_encoder(SPEC, tmp_path)
    save_file({**weights, "stray": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="unexpected keys stray"):
        load_encoder(SPEC, tmp_path)


def test_wav2vec2_refuses_what_does_not_fit(wav2vec2, tmp_path):
    folder = wav2vec2[1]
    with pytest.raises(ValueError, match="9 layers, expected at least layer 12"):
        load_encoder(SemanticSpec("mms-300m", 12, DIM), folder)
    with pytest.raises(ValueError, match=f"{DIM} numbers a frame, expected 1024"):
        load_encoder(SemanticSpec(), folder)
    with pytest.raises(ValueError, match="no folder"):
        load_encoder(SPEC, tmp_path / "absent")
    with pytest.raises(ValueError, match="could be read"):
        load_encoder(SPEC, tmp_path)
    values = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "model_type": "hubert"}))
    with pytest.raises(ValueError, match="hubert"):
        load_encoder(SPEC, tmp_path)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=64,
        num_mel_bins=16,
        encoder_layers=3,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        d_model=16,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.model.encoder.layer_norm.weight.uniform_(0.5, 2)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)
    return model.model.encoder, folder


@torch.no_grad()
def test_whisper_layers(whisper):
    encoder, folder = whisper
    wav = wave(16000 * 2)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16)
    mel = extractor(wav[0].numpy(), sampling_rate=16000, return_tensors="pt").input_features
    hidden = torch.nn.functional.gelu(encoder.conv1(mel))
    hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2) + encoder.embed_positions.weight
    for depth, layer in enumerate(encoder.layers, 1):
        out = layer(hidden, None)
        hidden = out[0] if isinstance(out, tuple) else out
        ours = load_encoder(SemanticSpec("whisper-small", depth, 16), folder)
        assert len(ours.encoder.layers) == depth
        wanted = hidden if depth < 3 else encoder.layer_norm(hidden)
        torch.testing.assert_close(ours(wav), wanted.transpose(1, 2)[..., :100], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(wav), encoder(mel).last_hidden_state.transpose(1, 2)[..., :100])


@torch.no_grad()
def test_whisper_any_length(whisper):
    ours = load_encoder(SemanticSpec("whisper-small", 2, 16), whisper[1])
    for samples in (319, 320, 5000):
        assert ours(wave(samples, batch=2)).shape == (2, 16, samples // 320)
    long = wave(480000 + 9601)
    semantic = ours(long)
    assert semantic.shape == (1, 16, 1530)
    torch.testing.assert_close(semantic[..., :1500], ours(long[:, :480000]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(semantic[..., 1500:], ours(long[:, 480000:]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_whisper_padding_changes_nothing(whisper):
    ours = load_encoder(SemanticSpec("whisper-small", 2, 16), whisper[1])
    wav = wave(8000, batch=2)
    semantic = ours(wav, torch.tensor([8000, 3300]))
    torch.testing.assert_close(semantic[1:, :, :10], ours(wav[1:, :3300]), rtol=1e-4, atol=1e-5)
    assert semantic[1, :, 10:].abs().max() == 0


def test_whisper_refuses_what_does_not_fit(whisper, tmp_path):
    with pytest.raises(ValueError, match="16 numbers a frame, expected 768"):
        load_encoder(SemanticSpec("whisper-small", 2, 768), whisper[1])
    with pytest.raises(ValueError, match="3 layers"):
        load_encoder(SemanticSpec("whisper-small", 4, 16), whisper[1])
    with pytest.raises(ValueError, match="could be read"):
        load_encoder(SemanticSpec("whisper-small", 2, 16), tmp_path)


def test_table_of_encoders():
    assert {"mms-300m", "xls-r-300m", "whisper-small", "phonetic"} <= ENCODERS.keys()
    with pytest.raises(ValueError, match="unknown semantic encoder 'hubert': known are mms-300m"):
        load_encoder(SemanticSpec("hubert"))
    with pytest.raises(ValueError, match="folder"):
        load_encoder(SemanticSpec("phonetic", 1, 64))


def test_phonetic_encoder_loads_from_its_folder(tmp_path):
    from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig

    config = PhoneticEncoderConfig(dim=4, width=8, layers=1)
    PhoneticEncoder(config).save_pretrained(tmp_path)
    encoder = load_encoder(SemanticSpec("phonetic", 1, 4), tmp_path)
    assert encoder(wave(3200)).shape == (1, 4, 10)
    with pytest.raises(ValueError, match="expected SemanticSpec"):
        load_encoder(SemanticSpec("phonetic", 2, 4), tmp_path)


@pytest.mark.parametrize(("samples", "padded"), [(1, 1280), (1279, 1280), (1280, 2560), (16000, 16640)])
def test_published_padding(samples, padded):
    wav = pad_recording(wave(samples))
    assert wav.shape == (1, padded)
    assert wav[:, samples:].abs().max() == 0
