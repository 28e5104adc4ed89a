"""EnCodec through transformers, on a tiny checkpoint of the public one's format: the codec contract, batches, what is refused."""

import pytest
import torch

from spear.codec.codec import load_codec
from spear.codec.encodec import EncodecCodec

SMALL = {
    "num_filters": 2, "hidden_size": 8, "codebook_size": 1024, "codebook_dim": 8, "num_lstm_layers": 1, "compress": 1,
    "upsampling_ratios": [8, 5, 4, 2],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(**SMALL)).eval()
    for layer in model.quantizer.layers:  # they are zero where nothing was trained
        layer.codebook.embed.normal_()
    path = tmp_path_factory.mktemp("encodec")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def codec(folder):
    return load_codec("encodec-24khz", folder)


def noise(batch, samples):
    torch.manual_seed(1)
    return torch.randn(batch, 1, samples) * 0.2


def test_the_spec_is_that_of_the_public_model(codec):
    spec = codec.spec
    assert (spec.name, spec.sample_rate, spec.rate_hz) == ("encodec-24khz", 24000, 75)
    assert (spec.n_codebooks, spec.codebook_size, spec.hop_length) == (32, 1024, 320)
    assert not codec.training and not any(p.requires_grad for p in codec.parameters())


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 32])
def test_the_bandwidth_follows_from_the_number_of_codebooks(codec, levels):
    codes = codec.encode(noise(1, 24000), levels)
    assert codes.shape == (1, levels, 75) and codes.dtype == torch.long
    assert torch.equal(codes, codec.encode(noise(1, 24000))[:, :levels]), (
        "the coarse codes are the same at every bandwidth"
    )
    assert codec.decode(codes).shape == (1, 1, 24000)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (48000, 150), (47999, 150)])
def test_every_started_frame_has_codes(codec, samples, frames):
    codes = codec.encode(noise(2, samples), 4)
    assert codes.shape == (2, 4, frames)
    assert codec.decode(codes).shape == (2, 1, frames * 320)


def test_the_weights_survive_the_folder_and_codes_those_of_transformers(folder, codec):
    from transformers import EncodecModel

    model = EncodecModel.from_pretrained(folder).eval()
    wav = noise(1, 6400)
    with torch.inference_mode():
        theirs = model.encode(wav, bandwidth=6.0).audio_codes[0]
        sound = model.decode(theirs[None], [None]).audio_values
    assert torch.equal(codec.encode(wav, 8), theirs)
    assert torch.allclose(codec.decode(theirs), sound, atol=1e-6)


def test_a_row_of_a_padded_batch_has_the_codes_and_the_sound_it_has_alone(codec):
    long, short = noise(1, 6400), noise(2, 3000)[1:]
    batch = torch.cat([long, torch.nn.functional.pad(short, (0, 3400))])
    codes, alone = codec.encode(batch, 8), codec.encode(short, 8)
    assert torch.equal(codes[:1], codec.encode(long, 8))
    assert torch.equal(codes[1:, :, : alone.shape[-1]], alone)
    assert torch.allclose(codec.decode(codes)[1:, :, : alone.shape[-1] * 320], codec.decode(alone), atol=1e-5)


def test_bad_input_is_refused_by_name(codec, folder, tmp_path):
    wav = noise(1, 640)
    with pytest.raises(ValueError, match="a wav of 16000 Hz: the codec encodec-24khz expects 24000 Hz"):
        codec.encode(wav, 4, sample_rate=16000)
    assert codec.encode(wav, 4, sample_rate=24000).shape == (1, 4, 2)
    with pytest.raises(
        ValueError, match=r"expected one of \[2, 4, 8, 16, 32\] of the codec encodec-24khz, got 3"
    ):
        codec.encode(wav, 3)
    with pytest.raises(ValueError, match=r"a waveform \[B, 1, T\], got \[1, 2, 640\]"):
        codec.encode(wav.expand(1, 2, 640), 4)
    with pytest.raises(ValueError, match="code 1024: expected 0 to 1023"):
        codec.decode(torch.full((1, 2, 3), 1024))
    with pytest.raises(ValueError, match="no folder"):
        EncodecCodec.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="unknown head 'griffin': expected encodec or vocos"):
        EncodecCodec.from_pretrained(folder, head="griffin")


def test_the_stereo_model_of_48_khz_and_another_model_are_refused(tmp_path):
    from transformers import EncodecConfig, EncodecModel, Wav2Vec2Config

    stereo = EncodecConfig(
        **SMALL | {"sampling_rate": 48000, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
                   "target_bandwidths": [3.0], "norm_type": "time_group_norm", "use_causal_conv": False}
    )  # fmt: skip
    EncodecModel(stereo).save_pretrained(tmp_path / "48")
    with pytest.raises(ValueError, match="mono EnCodec of 24 kHz, got one of 48000 Hz with 2 channels"):
        load_codec("encodec-24khz", tmp_path / "48")
    Wav2Vec2Config().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="holds a wav2vec2 model, expected encodec"):
        load_codec("encodec-24khz", tmp_path / "other")
