"""docs/fine_tuning.md, word for word: from wavs and texts to a voice that infer.py speaks with; and what init accepts."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from test_ttv_recipe import make_pack
from tiny_voice import SEMANTIC, build_voice, recording

import train
from hierspeech import TextToSpeech
from hierspeech.pipelines import publish
from speech.audio import load_audio, save_audio
from speech.checkpoint import load_tensors
from speech.starting import find_published
from ttv import TTV

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs/fine_tuning.md").read_text(encoding="utf-8")
TEXTS = [
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "Hello there.",
]
SMALL = (
    "train.max_steps=2 train.batch_size=2 train.num_workers=0 train.device=cpu train.precision=fp32".split()
)


def commands(heading: str) -> list[list[str]]:
    """The words of each line of the first fenced block under a heading of the document."""
    block = re.search(rf"## {re.escape(heading)}\n.*?```bash\n(.*?)```", DOCUMENT, flags=re.DOTALL)[1]
    return [shlex.split(line) for line in block.splitlines()]


def run(words: list[str], voice: Path, small: list[str]) -> None:
    """One of the document's commands, on a tiny voice and with two steps instead of hundreds."""
    words = [re.sub(r"step_\d{8}", "step_00000002", word) for word in words]
    words = [
        re.sub(r"^(.*=)?(hierspeech/voices/lite|VOICE)(/|$)", rf"\g<1>{voice}\g<3>", word) for word in words
    ]
    assert words[0] == "python"
    name, arguments = (words[2], words[3:]) if words[1] == "-m" else (words[1].removesuffix(".py"), words[2:])
    if name == "train":
        arguments = [str(ROOT / arguments[0]), *arguments[1:], *small]
    assert importlib.import_module(name).main(arguments) == 0, words


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings/me").mkdir(parents=True)
    return tmp_path


def say(folder: Path, wavs: list[np.ndarray]) -> None:
    for number, (wav, text) in enumerate(zip(wavs, TEXTS, strict=True), 1):
        save_audio(folder / f"recordings/me/{number:02d}.wav", wav, 16000)
        (folder / f"recordings/me/{number:02d}.txt").write_text(text)


def check(folder: Path, voice: Path, trained: set[str], frozen: str) -> None:
    """The made voice speaks, and its trained parts differ from where they started, but for what was frozen."""
    wav, rate = load_audio(folder / "hello.wav", None)
    assert np.isfinite(wav).all() and len(wav) > 0.1 * rate
    mine = folder / "voices/mine"
    assert json.loads((mine / "voice.json").read_text())["prompts"] == ["me"]
    for part in ("ttv", "synthesizer", "phonetic"):
        start, end = load_tensors(voice / part), load_tensors(mine / part)
        changed = {
            name for name in start if not torch.allclose(start[name].float(), end[name].float(), atol=2e-3)
        }
        moved = {name for name in start if not torch.equal(start[name].half(), end[name].half())}
        assert bool(moved) == (part in trained), part
        assert not any(name.startswith(frozen) for name in changed), part


def test_a_voice_of_the_published_architecture(workplace):
    voice = build_voice(workplace / "start", "official")
    for file in (voice / "phonetic").iterdir():  # the document's encoder has another name
        (voice / "mms-300m").mkdir(exist_ok=True)
        shutil.copy(file, voice / "mms-300m")
    say(workplace, [recording(2.5, f0) for f0 in (110.0, 150.0, 190.0)])
    words = commands("A voice of the published architecture")
    words[0][-1] = f"phonetic={voice}/phonetic"  # a tiny encoder instead of MMS-300M
    rate = ["train.lr=1e-2", "train.warmup_steps=0"]
    more = {
        "configs/finetune_ttv.yaml": [*rate, "data.min_frames=8"],
        "configs/finetune_hierspeech.yaml": [
            "train.optimizers={}",
            *rate,
            "recipe.discriminator={stft_sizes: [256, 128], stft_channels: 2, periods: [2], period_channels: [2, 4, 4]}",
            "recipe.window_frames=10",
            "data.seconds=0.8",
        ],
    }
    for command in words:
        run(command, voice, [*SMALL, *more.get(command[2], [])])
    check(workplace, voice, {"ttv", "synthesizer"}, "style_encoder.")


def test_a_voice_like_lite(workplace):
    pytest.importorskip("pocketsphinx")
    voice = ROOT / "hierspeech/voices/lite"
    speak = TextToSpeech.from_pretrained(voice, "cpu")
    say(workplace, [speak(text, "anna", seed=0).audio for text in TEXTS])
    more = {
        "configs/finetune_synthesizer.yaml": [
            "recipe.discriminator.stft_sizes=[256]",
            "data.context_seconds=1.0",
        ],
    }
    for command in commands("A voice like `lite`"):
        rate = ["train.lr=1e-2"] if "configs/finetune_aligned_ttv.yaml" in command else []
        run(command, voice, [*SMALL, *rate, *(more.get(command[2], []))])
    check(workplace, voice, {"ttv", "synthesizer"}, "style_encoder.")


def test_the_documents_configurations_are_there():
    for path in set(re.findall(r"configs/[\w/]+\.yaml", DOCUMENT)):
        assert (ROOT / path).is_file(), path


def test_init_finds_its_part_of_a_voice(tmp_path):
    voice = build_voice(tmp_path / "voice", "official", speechsr=True)
    assert find_published(TTV, voice) == voice / "ttv" == find_published(TTV, voice / "ttv")
    from speechsr.model import SpeechSR

    with pytest.raises(
        ValueError, match="holds several SpeechSR, expected one of .*speechsr-24000, .*speechsr-48000"
    ):
        find_published(SpeechSR, voice)
    lite = build_voice(tmp_path / "lite", "lite")
    with pytest.raises(
        ValueError, match=r"holds no TTV; found phonetic \(PhoneticEncoder\), .*ttv \(AlignedTTV\)"
    ):
        find_published(TTV, lite)
    with pytest.raises(ValueError, match="holds no TTV; found no model at all"):
        find_published(TTV, tmp_path / "nowhere")


def test_a_run_keeps_the_model_section_of_its_start(tmp_path, capsys):
    voice = build_voice(tmp_path / "voice", "official")
    make_pack(tmp_path / "pack", [40, 55, 33], spec=SEMANTIC, dev=0)
    arguments = [
        str(ROOT / "configs/finetune_ttv.yaml"),
        f"data.pack={tmp_path}/pack",
        f"train.runs_folder={tmp_path}",
    ]
    assert train.main([*arguments, *SMALL, f"init={voice}"]) == 0
    step = tmp_path / "finetune_ttv/step_00000002"
    assert TTV.from_pretrained(step).config == TTV.from_pretrained(voice / "ttv").config
    assert "hidden: 16" in (step / "config.yaml").read_text()
    # the same command goes on, with another part frozen it does not
    assert train.main([*arguments, *SMALL, f"init={voice}", "train.max_steps=3"]) == 0
    assert train.main([*arguments, *SMALL, f"init={voice}", "train.max_steps=4", "train.freeze=[flow]"]) == 2
    assert train.main([*arguments, *SMALL, f"init={voice}", "train.run=other", "train.freeze=[flaw]"]) == 2
    assert "TTV has no part 'flaw', expected one of style_encoder, text_encoder" in capsys.readouterr().err
    assert train.main([*arguments, *SMALL, f"init={tmp_path}/nowhere"]) == 2
    assert "holds no TTV" in capsys.readouterr().err


def test_a_text_to_vec_in_training_is_heard_through_its_voice(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    voice = build_voice(tmp_path / "voice", "official")
    make_pack(tmp_path / "pack", [40, 55, 33], spec=SEMANTIC, dev=1)
    arguments = [
        str(ROOT / "configs/finetune_ttv.yaml"),
        f"init={voice}",
        f"recipe.preview_synthesizer={voice}",
    ]
    arguments += [f"data.pack={tmp_path}/pack", f"train.runs_folder={tmp_path}", "train.validate_every=2"]
    assert train.main([*arguments, *SMALL]) == 0
    events = EventAccumulator(str(tmp_path / "finetune_ttv"))
    events.Reload()
    assert set(events.Tags()["audio"]) == {"recording", "reconstruction", "synthesis"}


def test_publishing_from_a_voice_keeps_what_is_not_given(tmp_path):
    voice = build_voice(
        tmp_path / "voice", "official", speechsr=True, noise_scale=0.2, level="peak", version=4
    )
    assert publish.main([str(tmp_path / "mine"), "--voice", str(voice), "--ttv", str(voice / "ttv")]) == 0
    before, after = (json.loads((folder / "voice.json").read_text()) for folder in (voice, tmp_path / "mine"))
    assert after["name"] == "mine" and after["version"] == 5
    for name in ("noise_scale", "level", "speechsr", "ttv", "synthesizer", "semantic_encoder"):
        assert after[name] == before[name]
    assert {t.dtype for t in load_tensors(tmp_path / "mine/ttv").values()} == {torch.float16}
    assert {t.dtype for t in load_tensors(tmp_path / "mine/synthesizer").values()} == {torch.float32}


def test_publishing_without_a_voice_needs_all_parts(tmp_path, capsys):
    assert publish.main([str(tmp_path / "mine"), "--ttv", "somewhere"]) == 2
    assert (
        "--synthesizer, --phonetic not given" in capsys.readouterr().err and not (tmp_path / "mine").exists()
    )
