"""Publishing: trained parts and recordings become a voice folder that speaks."""

import json

import torch
from safetensors.torch import load_file
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech
from hierspeech.pipelines import publish
from speech.audio import save_audio


def test_parts_and_prompts_become_a_voice(tmp_path):
    parts = build_voice(tmp_path / "parts", "lite")
    cards = tmp_path / "cards"
    cards.mkdir()
    for name in ("ttv", "synthesizer", "phonetic"):
        (cards / f"{name}.md").write_text(f"# {name} card\n")
    save_audio(tmp_path / "somebody.wav", recording(), 16000)
    out = tmp_path / "made"
    arguments = [
        str(out),
        "--cards",
        str(cards),
        "--version",
        "3",
        "--prompt",
        f"ada={tmp_path / 'somebody.wav'}",
    ]
    for name in ("ttv", "synthesizer", "phonetic"):
        arguments += [f"--{name}", str(parts / name)]
    assert publish.main(arguments) == 0

    assert (out / "ttv" / "README.md").read_text().startswith("# ttv card")
    assert {t.dtype for t in load_file(out / "synthesizer" / "model.safetensors").values()} == {torch.float16}
    described = json.loads((out / "voice.json").read_text())
    assert described["prompts"] == ["ada"] and described["version"] == 3
    speak = TextToSpeech.from_pretrained(out, device="cpu")
    by_name, by_file = speak("Hello there.", "ada"), speak("Hello there.", tmp_path / "somebody.wav")
    assert len(by_name.audio) > 1000 and by_name.audio.shape == by_file.audio.shape
