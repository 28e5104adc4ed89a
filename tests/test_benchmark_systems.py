"""Systems in processes of their own: what a crash, a hang or garbage costs, and the adapters that can be tried here."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hierspeech.benchmarking.compare_systems import choose
from hierspeech.benchmarking.systems import GROUPS, SYSTEMS
from hierspeech.benchmarking.systems.contract import Missing, Request
from hierspeech.benchmarking.systems.process import SystemFailed, SystemProcess
from hierspeech.benchmarking.systems.worker import write_wav
from speech.audio import load_audio, save_audio

SCRIPT = str(Path(__file__).with_name("systems_for_tests.py"))


def start(kind: str = "tone") -> SystemProcess:
    return SystemProcess([sys.executable, "-u", SCRIPT, kind])


def say(process: SystemProcess, text: str, out: Path, timeout: float = 30, seed: int = 0) -> dict:
    request = {"task": "speak", "text": text, "seed": seed}
    return process.ask("speak", timeout, request=request, out=str(out))


@pytest.fixture(scope="module")
def tone():
    with start() as process:
        assert process.ask("load", 60, device="cpu")["parameters"] == 12_345_678
        yield process


def test_a_system_speaks_and_says_how_long_it_took(tone, tmp_path):
    answer = say(tone, "four", tmp_path / "a.wav")
    wav, rate = load_audio(tmp_path / "a.wav")
    assert answer["ok"] and rate == 16000 and len(wav) == 10000
    assert answer["audio_seconds"] == pytest.approx(0.625) and 0 < answer["seconds"] < 5
    state = tone.ask("state", 10)
    assert 5 < state["memory_mb"] < 2000 and "numpy" in state["versions"]


def test_what_packages_print_does_not_reach_the_pipe(tone, tmp_path):
    assert say(tone, "loud", tmp_path / "a.wav")["ok"]
    assert say(tone, "four", tmp_path / "a.wav")["ok"]


@pytest.mark.parametrize(
    ("text", "why"),
    [("fail", "ValueError: cannot say that"), ("silent", "some of one channel"), ("nan", "not finite")],
)
def test_a_failure_is_an_answer_and_the_process_goes_on(tone, tmp_path, text, why):
    answer = say(tone, text, tmp_path / "a.wav")
    assert not answer["ok"] and why in answer["why"] and not (tmp_path / "a.wav").exists()
    assert say(tone, "four", tmp_path / "a.wav")["ok"]


def test_seeds_reach_systems_that_take_none(tone, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert say(tone, "drawn", tmp_path / f"{name}.wav", seed=seed)["ok"]
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("crash", "ended with code 7"),
        ("hang", "no answer within 1 s"),
        ("garbage", "something that is no answer: .*what is this"),
    ],
)
def test_crash_hang_and_garbage_end_the_process_with_a_reason(tmp_path, text, why):
    begin = time.monotonic()
    with start() as process:
        assert process.ask("load", 60, device="cpu")["ok"]
        with pytest.raises(SystemFailed, match=why):
            say(process, text, tmp_path / "a.wav", timeout=1 if text == "hang" else 30)
        assert process.process.poll() is not None
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("dies", r"code 3 \(no licence\)"),
        ("chatter", "no answer"),
        ("nowhere", "ended with code"),
    ],
)
def test_a_process_that_never_works(kind, why):
    command = [sys.executable, "-u", SCRIPT, kind] if kind != "nowhere" else [sys.executable, "/nowhere.py"]
    with SystemProcess(command) as process, pytest.raises(SystemFailed, match=why):
        process.ask("load", 30, device="cpu")
    with pytest.raises(SystemFailed, match="cannot be started"):
        SystemProcess(["/no/such/program"])


def test_first_audio_comes_before_the_end():
    with start("stream") as process:
        assert process.ask("load", 60, device="cpu")["streams"]
        answer = process.ask("first_audio", 20, request={"task": "speak", "text": "four"})
        assert answer["seconds"] < 10 and answer["chunk_seconds"] == pytest.approx(1000 / 16000)


def test_written_wavs_keep_every_sample(tmp_path):
    wav = np.random.default_rng(0).standard_normal(1001).astype(np.float32)
    assert write_wav(tmp_path / "a.wav", wav[None], 24000) == 1001
    read, rate = load_audio(tmp_path / "a.wav")
    assert rate == 24000 and np.array_equal(read, wav)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_every_card_says_what_a_reader_must_know():
    for name, entry in SYSTEMS.items():
        card = entry.card
        assert card.name == name and card.kind and card.licence and card.install and card.tasks
        assert set(card.tasks) <= {"speak", "convert", "upsample", "resynthesize"}
    assert {part for parts in GROUPS.values() for part in parts} <= set(SYSTEMS)


def test_choosing_systems(tmp_path):
    chosen = choose(["spear", "espeak", "bark=/some/folder"], {"espeak": sys.executable}, {"mine": "a b"})
    assert [c.label for c in chosen] == ["spear-ar", "spear-nar", "espeak", "bark (folder)", "mine"]
    assert chosen[3].command[-1] == "/some/folder" and chosen[2].command[0] == sys.executable
    assert chosen[4].command == ["a", "b"] and chosen[0].environment["HF_HUB_OFFLINE"] == "1"
    for arguments, message in (
        ((["espek"],), "unknown system 'espek': expected some of"),
        ((["espeak"], {"bark": sys.executable}), "not among those compared"),
        ((["espeak"], {"espeak": "/no/python"}), "no such interpreter"),
        (([],), "no system"),
    ):
        with pytest.raises(ValueError, match=message):
            choose(*arguments)


def test_a_changed_voice_is_another_system(tmp_path):
    voice = tmp_path / "voice"
    (voice / "ttv").mkdir(parents=True)
    (voice / "ttv" / "model.safetensors").write_bytes(b"one")
    before = choose([f"hierspeech={voice}"])[0].made_of()
    assert choose([f"hierspeech={voice}"])[0].made_of() == before
    (voice / "ttv" / "model.safetensors").write_bytes(b"two")
    assert choose([f"hierspeech={voice}"])[0].made_of() != before


@pytest.mark.parametrize("name", ["f5-tts", "xtts", "cosyvoice", "kokoro", "whisperspeech", "bark"])
def test_a_system_that_is_not_installed_says_so(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HIERSPEECH_DOWNLOAD", "0")
    with pytest.raises(Missing, match="cannot be|are not in|is needed"):
        SYSTEMS[name].make("/no/such/weights").load("cpu")


def test_espeak_speaks_and_streams():
    system = SYSTEMS["espeak"].make(None)
    system.load("cpu")
    request = Request("speak", "Good morning, everyone.")
    wav, rate = system.synthesize(request)
    assert 0.8 < len(wav) / rate < 4 and 0.05 < np.abs(wav).max() <= 1
    chunks = [chunk for chunk, _ in system.stream(request)]
    # its generator of waves goes on where it was, so the second time is a few samples longer or shorter
    assert len(chunks) > 3 and abs(sum(map(len, chunks)) - len(wav)) < 0.01 * rate
    with pytest.raises(ValueError, match="no voice"):
        system.synthesize(Request("speak", "x", language="xx-nowhere"))


def test_recordings_and_resampling(tmp_path):
    wav = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    save_audio(tmp_path / "a.wav", wav, 16000)
    request = Request("upsample", source=str(tmp_path / "a.wav"), target=str(tmp_path / "a.wav"), output_rate=48000)  # fmt: skip
    read, rate = SYSTEMS["recorded"].make(None).synthesize(request)
    assert rate == 16000 and np.abs(read - wav).max() < 1e-4
    up, rate = SYSTEMS["sinc"].make(None).synthesize(request)
    assert rate == 48000 and len(up) == 24000
    spectrum = np.abs(np.fft.rfft(up)) ** 2
    assert spectrum[len(spectrum) * 9 // 24 :].sum() < 1e-4 * spectrum.sum()  # nothing above 9 kHz
