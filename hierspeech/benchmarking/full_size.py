"""A voice of the published size with random weights: what its speed is measured on where nobody has the published files."""

import json
import math
from pathlib import Path

import torch

from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from speechsr.model import SpeechSR, SpeechSRConfig
from ttv.model import TTV, TTVConfig

PROMPT = "random"
FRAMES_AN_ID = 1.9  # at which a random duration predictor speaks about as fast as people do


def build_full_size(folder: Path) -> Path:
    """Writes a voice folder of the classes' default (= published) sizes and a prompt; weights from seed 0; returns it."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    ttv = TTV(TTVConfig())
    with torch.no_grad():
        ttv.duration_predictor.flow.mean[0] = -math.log(FRAMES_AN_ID)
    ttv.save_pretrained(folder / "ttv")
    del ttv
    HierSpeech(HierSpeechConfig()).save_pretrained(folder / "synthesizer")
    rates = {"24000": 1.5, "48000": 3.0}
    for rate, scale in rates.items():
        SpeechSR(SpeechSRConfig(scale=scale)).save_pretrained(folder / f"speechsr-{rate}")
    description = {
        "format": 1,
        "name": "full-size",
        "ttv": "ttv",
        "synthesizer": "synthesizer",
        "semantic_encoder": "mms",
        "speechsr": {rate: f"speechsr-{rate}" for rate in rates},
        "prompts": [PROMPT],
        "recordings": "as_recorded",
        "level": "peak",
        "normalizer": "english_cleaners2",
    }
    (folder / "voice.json").write_text(json.dumps(description, indent=2))
    style = TTVConfig().style.out
    (folder / "prompts").mkdir(exist_ok=True)
    prompt = VoicePrompt(torch.randn(1, style), torch.randn(1, style), 5.0, 0.2, "full-size-1", 0.5)
    prompt.save(folder / "prompts" / f"{PROMPT}.safetensors")
    return folder
