"""Token models in half precision: what stays in float32, that both steps agree, and what the pipeline does with it."""

import pytest
import soundfile
import torch
from tiny_spear import build_spear_voice
from tiny_voice import recording

import infer
from hierspeech import SpearTTS
from hierspeech.pipelines.spear_sound import Acoustics
from spear.precision import PRECISIONS, cast
from spear.sampling import Sampling
from spear.text_to_semantic.model import TextToSemantic, TextToSemanticConfig
from speech.modules.transformer import RMSNorm

HALF = ["bf16", "fp16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_spear_voice(tmp_path_factory.mktemp("voices") / "tokens")


def small(**changes):
    torch.manual_seed(0)
    sizes = {"width": 32, "heads": 2, "layers": 3, "positions": "durations"}
    return TextToSemantic(TextToSemanticConfig(**(sizes | changes))).eval()


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize(
    "changes", [{}, {"codebook_dim": 8}, {"deduplicate": True}, {"languages": ["en", "pl"]}]
)
def test_every_kind_of_reader_runs_in_half_precision(precision, changes):
    model = cast(small(**changes), PRECISIONS[precision])
    ids = torch.randint(1, 30, (2, 9))
    languages = {"languages": torch.zeros(2, 9, dtype=torch.long)} if "languages" in changes else {}
    for options in ({}, {"beams": 2}, {"sampling": Sampling(guidance=1.5)}):
        out = model.generate(ids, rate=10.0, seed=0, max_tokens=6, **options, **languages)
        assert out.scores.isfinite().all() and out.scores.dtype == torch.float32


@pytest.mark.parametrize("precision", HALF)
def test_norms_stay_in_float32_and_everything_else_is_halved(precision):
    model = cast(small(), PRECISIONS[precision])
    norms = [p for m in model.modules() if isinstance(m, RMSNorm) for p in m.parameters()]
    assert norms and all(p.dtype == torch.float32 for p in norms)
    others = {p.dtype for p in model.parameters()} - {torch.float32}
    assert others == {PRECISIONS[precision]}
    assert sum(p.numel() for p in norms) < 0.05 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("precision", HALF)
@torch.no_grad()
def test_logits_are_near_those_of_float32(precision):
    model, ids = small(), torch.randint(1, 30, (1, 9))
    target = torch.randint(0, 500, (1, 12))
    lengths = torch.tensor([9]), torch.tensor([12])
    before = model(ids, lengths[0], target, lengths[1]).logits
    after = cast(model, PRECISIONS[precision])(ids, lengths[0], target, lengths[1]).logits.float()
    assert 0 < (after - before).abs().max() < (0.05 if precision == "bf16" else 0.01) * before.abs().max()


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("way", ["ar", "nar", "bridge"])
def test_a_voice_speaks_in_half_precision(folder, precision, way):
    tts = SpearTTS.from_pretrained(folder, "cpu", precision)
    speech = tts.synthesize("Hello.", recording(1.0), acoustics=Acoustics(way, guidance=1.3), seed=0)
    assert speech.seconds > 0.1 and (speech.codes == [] if way == "bridge" else len(speech.codes) == 1)
    full = SpearTTS.from_pretrained(folder, "cpu")
    one, other = (x.clone(recording(1.0)) for x in (tts, full))
    assert torch.equal(one.style, other.style)  # saved speakers fit every precision
    assert tts.voice.codec is None or next(tts.voice.codec.parameters()).dtype == torch.float32


def test_the_command_line_takes_it_and_refuses_others(folder, tmp_path, capsys):
    soundfile.write(tmp_path / "ref.wav", recording(1.0), 16000)
    arguments = [
        "--ref",
        str(tmp_path / "ref.wav"),
        "--mode",
        "spear",
        "--voice",
        str(folder),
        "--text",
        "Hello.",
        "--device",
        "cpu",
    ]
    out = tmp_path / "x.wav"
    assert infer.main([*arguments, "--out", str(out), "--precision", "fp16"]) == 0 and out.is_file()
    with pytest.raises(ValueError, match="unknown precision 'int8': expected fp32 or bf16 or fp16"):
        SpearTTS.from_pretrained(folder, "cpu", "int8")
    capsys.readouterr()
    plain = [
        "--ref",
        str(tmp_path / "ref.wav"),
        "--voice",
        str(folder.parent / "tiny"),
        "--text",
        "Hello.",
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    assert infer.main([*plain, "--precision", "fp16"]) == 2
    assert "unknown precision 'fp16': expected fp32 or bf16" in capsys.readouterr().err
