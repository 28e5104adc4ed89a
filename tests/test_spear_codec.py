"""Vector quantisation and the compact codec: codes, their round trip, what is refused, and its recipe through train.py."""

import math

import pytest
import torch
from make_pack import make_pack

import train
from spear.codec.codec import CodecSpec, check_codes, load_codec
from spear.codec.model import CompactCodec, CompactCodecConfig
from spear.codec.recipe import entropy_bits
from speech.modules.vector_quantize import ResidualVQ, VectorQuantizer

SMALL = {
    "encoder_width": 16, "encoder_layers": 3, "latent": 16, "n_codebooks": 4, "codebook_size": 16,
    "codebook_dim": 4, "width": 16, "layers": 1,
}  # fmt: skip


def small_codec():
    torch.manual_seed(0)
    return CompactCodec(CompactCodecConfig(**SMALL)).eval()


def clusters(n_frames=512, kinds=32, dim=8):
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(kinds, dim), dim=1)
    kind = torch.arange(n_frames) % kinds
    return (centres[kind] + 0.01 * torch.randn(n_frames, dim)).T[None], kind


@pytest.mark.parametrize("cosine", [True, False])
def test_a_codebook_finds_the_clusters_and_uses_all_its_codes(cosine):
    x, kind = clusters()
    quantizer = VectorQuantizer(8, 24, cosine=cosine, dead_below=1.0)
    first = quantizer.train()(x).commitment
    for _ in range(60):
        last = quantizer(x).commitment
    codes = quantizer.eval().encode(x)[0]
    assert last < 0.8 * first
    assert entropy_bits(codes, 24) > 0.9 * math.log2(24)
    pairs = len(torch.stack([codes, kind]).unique(dim=1).T)
    assert pairs <= 40, "frames of one cluster have one code, but where a border lies inside it"


def test_codes_are_deterministic_and_the_codebook_rests_in_eval_mode():
    x, _ = clusters()
    quantizer = VectorQuantizer(8, 16, codebook_dim=4).eval()
    before = quantizer.codebook.clone()
    assert torch.equal(quantizer(x).codes, quantizer.encode(x))
    assert torch.equal(before, quantizer.codebook)
    assert torch.allclose(quantizer(x).x, quantizer.decode(quantizer.encode(x)), atol=1e-5)


def test_masked_frames_neither_move_the_codebook_nor_count_in_the_loss():
    x, _ = clusters()
    mask = torch.zeros(1, x.shape[-1], dtype=torch.bool)
    mask[:, :256] = True
    loud = x.clone()
    loud[..., 256:] *= -50
    results = []
    for features in (x, loud):
        torch.manual_seed(1)
        quantizer = VectorQuantizer(8, 16, cosine=False).train()
        commitment = quantizer(features, mask).commitment
        results.append((quantizer.codebook.clone(), commitment))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_dead_codes_are_placed_anew():
    x, _ = clusters()
    quantizer = VectorQuantizer(8, 32, cosine=False, decay=0.5, dead_below=0.5).train()
    quantizer(x)
    quantizer.codebook[0] = 100.0
    for _ in range(20):
        quantizer(x)
    assert quantizer.codebook.abs().max() < 2


def test_every_residual_level_brings_the_features_nearer():
    torch.manual_seed(0)
    x = torch.randn(4, 8, 200)
    quantizer = ResidualVQ(8, 4, 32, cosine=False).train()
    for _ in range(40):
        quantizer(x)
    codes = quantizer.eval().encode(x)
    errors = [float((quantizer.decode(codes[:, :q]) - x).square().mean()) for q in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.5 * errors[0]
    assert torch.equal(quantizer.encode(x, 2), codes[:, :2])


def test_a_row_with_fewer_levels_equals_the_decoding_of_those():
    x = torch.randn(2, 8, 20)
    quantizer = ResidualVQ(8, 4, 16, codebook_dim=4).eval()
    out = quantizer(x, n_levels=torch.tensor([2, 4]))
    codes = quantizer.encode(x)
    assert torch.allclose(out.x[0], quantizer.decode(codes[:1, :2])[0], atol=1e-5)
    assert torch.allclose(out.x[1], quantizer.decode(codes[1:])[0], atol=1e-5)


def test_gradients_reach_the_input_straight_through():
    x = torch.randn(1, 8, 10, requires_grad=True)
    quantizer = ResidualVQ(8, 2, 16, codebook_dim=4).eval()
    quantizer(x).x.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(level.project_out.weight.grad is not None for level in quantizer.levels)


@pytest.mark.parametrize(("samples", "frames"), [(320, 1), (16000, 50), (16001, 51)])
def test_codes_have_a_frame_for_every_started_20_ms(samples, frames):
    codec = small_codec()
    codes = codec.encode(torch.randn(2, 1, samples) * 0.1)
    assert codes.shape == (2, 4, frames) and codes.dtype == torch.long
    assert codec.decode(codes).shape == (2, 1, frames * 320)
    assert codec.decode(codes[:, :2]).shape == (2, 1, frames * 320), "the coarse codebooks alone serve too"


def test_the_codec_learns_its_input():
    torch.manual_seed(0)
    codec = CompactCodec(CompactCodecConfig(**SMALL)).train()
    wav = 0.1 * torch.sin(torch.arange(6400) * 0.2)[None, None].repeat(2, 1, 1)
    optimizer = torch.optim.Adam(codec.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        wav_hat, quantized = codec(wav)
        loss = (codec.mel(wav_hat[:, 0]) - codec.mel(wav[:, 0])).abs().mean()
        optimizer.zero_grad()
        (loss + 0.1 * quantized.commitment).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_saved_codec_gives_the_same_codes(tmp_path):
    codec = small_codec()
    codec.save_pretrained(tmp_path)
    again = load_codec(str(tmp_path))
    wav = torch.randn(1, 1, 8000) * 0.1
    assert torch.equal(codec.encode(wav), again.encode(wav))
    assert again.spec == CodecSpec("compact", 16000, 50, 4, 16)


def test_what_a_codec_refuses_by_name():
    codec = small_codec()
    with pytest.raises(ValueError, match="code 16: expected 0 to 15 of the codec compact"):
        codec.decode(torch.full((1, 4, 3), 16))
    with pytest.raises(ValueError, match=r"expected codes \[B, 1 to 4, N\]"):
        check_codes(torch.zeros(1, 5, 3, dtype=torch.long), codec.spec)
    with pytest.raises(ValueError, match=r"expected a waveform \[B, 1, T\], got \[1, 100\]"):
        codec.encode(torch.zeros(1, 100))
    with pytest.raises(ValueError, match="n_codebooks: expected 1 to 4, got 9"):
        codec.encode(torch.zeros(1, 1, 640), 9)
    with pytest.raises(ValueError, match="unknown codec 'mp3'"):
        load_codec("mp3")
    with pytest.raises(ValueError, match="no public weights"):
        load_codec("compact")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp("codec") / "pack")


def run(pack, tmp_path, *more):
    arguments = [f"data.pack={pack}", f"train.runs_folder={tmp_path}", *more]
    assert train.main(["configs/tiny/spear_codec.yaml", *arguments]) == 0
    return tmp_path / "tiny_spear_codec" / "step_00000002"


def test_the_recipe_trains_and_its_decoder_trains_on_alone(pack, tmp_path):
    first = run(pack, tmp_path / "all")
    codec = CompactCodec.from_pretrained(first)
    assert codec.encode(torch.randn(1, 1, 16000)).shape == (1, 4, 50)
    arguments = ["recipe.decoder_only=true", f"init={first}", "model=init", "data.speeds=[1.0, 1.1]"]
    second = CompactCodec.from_pretrained(run(pack, tmp_path / "decoder", *arguments))
    changed = {
        name.split(".")[0]
        for name, value in second.state_dict().items()
        if not torch.equal(value, codec.state_dict()[name])
    }
    assert changed == {"decoder"}, "codes stay what they were"
