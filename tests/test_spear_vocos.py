"""The Vocos head: public names and shapes load, the sound follows the bandwidth, and it decodes for EnCodec."""

import pytest
import torch
from torch.nn import functional as F

from spear.codec.codec import load_codec
from spear.codec.encodec import EncodecCodec
from spear.codec.vocos import BANDWIDTH_IDS, Vocos, VocosConfig

WIDTH, HIDDEN, LAYERS, LEVELS, DIM, N_FFT = 12, 24, 2, 16, 8, 1280


def public_state(width=WIDTH, hidden=HIDDEN, layers=LAYERS, levels=LEVELS, dim=DIM):
    """A state dict with the names and the kinds of shapes that the package `vocos` publishes."""
    torch.manual_seed(0)
    shapes = {
        "feature_extractor.codebook_weights": (levels * 1024, dim),
        "backbone.embed.weight": (width, dim, 7),
        "backbone.embed.bias": (width,),
        "backbone.norm.scale.weight": (4, width),
        "backbone.norm.shift.weight": (4, width),
        "backbone.final_layer_norm.weight": (width,),
        "backbone.final_layer_norm.bias": (width,),
        "head.out.weight": (N_FFT + 2, width),
        "head.out.bias": (N_FFT + 2,),
        "head.istft.window": (N_FFT,),
    }
    for n in range(layers):
        shapes |= {
            f"backbone.convnext.{n}.dwconv.weight": (width, 1, 7),
            f"backbone.convnext.{n}.dwconv.bias": (width,),
            f"backbone.convnext.{n}.norm.scale.weight": (4, width),
            f"backbone.convnext.{n}.norm.shift.weight": (4, width),
            f"backbone.convnext.{n}.pwconv1.weight": (hidden, width),
            f"backbone.convnext.{n}.pwconv1.bias": (hidden,),
            f"backbone.convnext.{n}.pwconv2.weight": (width, hidden),
            f"backbone.convnext.{n}.pwconv2.bias": (width,),
            f"backbone.convnext.{n}.gamma": (width,),
        }
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def plain_vocos(state, codes, row):
    """The published computation written out once more, from the tensors by their public names."""
    x = sum(
        state["feature_extractor.codebook_weights"][codes[:, q] + 1024 * q] for q in range(codes.shape[1])
    )  # [B, N, D]

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return x * state[f"{name}.scale.weight"][row] + state[f"{name}.shift.weight"][row]

    x = F.conv1d(x.transpose(1, 2), state["backbone.embed.weight"], state["backbone.embed.bias"], padding=3)
    x = norm(x.transpose(1, 2), "backbone.norm")
    for n in range(LAYERS):
        name = f"backbone.convnext.{n}"
        weight = state[f"{name}.dwconv.weight"]
        h = F.conv1d(x.transpose(1, 2), weight, state[f"{name}.dwconv.bias"], padding=3, groups=len(weight))
        h = norm(h.transpose(1, 2), f"{name}.norm")
        h = F.gelu(h @ state[f"{name}.pwconv1.weight"].T + state[f"{name}.pwconv1.bias"])
        h = h @ state[f"{name}.pwconv2.weight"].T + state[f"{name}.pwconv2.bias"]
        x = x + state[f"{name}.gamma"] * h
    final = state["backbone.final_layer_norm.weight"], state["backbone.final_layer_norm.bias"]
    x = F.layer_norm(x, (WIDTH,), *final, eps=1e-6) @ state["head.out.weight"].T + state["head.out.bias"]
    log_magnitude, angle = x.transpose(1, 2).chunk(2, 1)
    magnitude = log_magnitude.exp().clip(max=100)
    pieces = torch.fft.irfft(torch.complex(magnitude * angle.cos(), magnitude * angle.sin()), dim=1)
    window = torch.hann_window(N_FFT)
    length = (codes.shape[-1] - 1) * 320 + N_FFT
    wav, weight = torch.zeros(len(codes), length), torch.zeros(length)
    for k in range(codes.shape[-1]):
        wav[:, k * 320 : k * 320 + N_FFT] += pieces[..., k] * window
        weight[k * 320 : k * 320 + N_FFT] += window**2
    return wav[:, 480:-480] / weight[480:-480]


@pytest.fixture(scope="module")
def state():
    return public_state()


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
def test_public_tensors_give_the_published_computation_at_every_bandwidth(state, levels):
    torch.manual_seed(1)
    codes = torch.randint(0, 1024, (2, levels, 9))
    vocos = Vocos.from_public_tensors(state)
    wav = vocos(codes)
    assert wav.shape == (2, 1, 9 * 320)
    assert torch.allclose(wav[:, 0], plain_vocos(state, codes, BANDWIDTH_IDS[levels]), atol=1e-4)
    assert torch.allclose(vocos(codes[:1]), wav[:1], atol=1e-5), "a row of a batch is what it is alone"


def test_the_sizes_of_the_public_weights_are_the_defaults():
    with torch.device("meta"):
        vocos = Vocos(VocosConfig())
    shapes = {name: tuple(value.shape) for name, value in vocos.state_dict().items()}
    assert shapes["codebooks"] == (16384, 128) and shapes["embed.weight"] == (384, 128, 7)
    assert shapes["blocks.7.expand.weight"] == (1152, 384) and "blocks.8.scale" not in shapes
    assert shapes["norm.scale.weight"] == (4, 384) and shapes["out.weight"] == (1282, 384)


def test_weights_load_from_the_public_file_and_from_our_own_folder(state, tmp_path):
    torch.save(
        state | {"feature_extractor.encodec.encoder.bias": torch.zeros(3)}, tmp_path / "pytorch_model.bin"
    )
    codes = torch.randint(0, 1024, (1, 4, 5))
    vocos = Vocos.from_public(tmp_path)
    vocos.save_pretrained(tmp_path / "ours")
    assert torch.equal(Vocos.from_public(tmp_path / "ours")(codes), vocos(codes))


def test_weights_that_do_not_fit_are_refused_by_name(state, tmp_path):
    with pytest.raises(ValueError, match="1 tensors missing .*'blocks.1.scale'|blocks.1"):
        Vocos.from_public_tensors({k: v for k, v in state.items() if k != "backbone.convnext.1.pwconv1.bias"})
    with pytest.raises(ValueError, match="1 left over .*'surprise'"):
        Vocos.from_public_tensors(state | {"surprise": torch.zeros(1)})
    with pytest.raises(ValueError, match="codebooks is missing"):
        Vocos.from_public_tensors({})
    (tmp_path / "pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no Vocos weights could be read from .*pytorch_model.bin"):
        Vocos.from_public(tmp_path)
    with pytest.raises(ValueError, match="no folder"):
        Vocos.from_public(tmp_path / "nowhere")


def test_a_number_of_codebooks_without_a_bandwidth_is_refused(state):
    vocos = Vocos.from_public_tensors(state)
    with pytest.raises(ValueError, match=r"decodes \[2, 4, 8, 16\] codebooks, got 3"):
        vocos(torch.zeros(1, 3, 4, dtype=torch.long))


def test_it_stands_in_for_the_decoder_of_encodec(state, tmp_path):
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(num_filters=2, hidden_size=8, codebook_dim=8, num_lstm_layers=1, compress=1)
    EncodecModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocos").mkdir()
    torch.save(state, tmp_path / "vocos" / "pytorch_model.bin")
    codec = load_codec("encodec-24khz-vocos", tmp_path)
    codes = torch.randint(0, 1024, (1, 16, 6))
    assert torch.equal(codec.decode(codes), Vocos.from_public_tensors(state)(codes))
    assert codec.spec == load_codec("encodec-24khz", tmp_path).spec, "the codes are the same"
    with pytest.raises(ValueError, match="codebooks of 64 codes"):
        EncodecCodec(codec.model, Vocos(VocosConfig(4, 8, 8, 1, codebook_size=64)))
