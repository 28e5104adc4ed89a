"""The `config.json` beside a published checkpoint, compared with the published values that matter.

What matters is what decides the weights or the signal. Training settings do not, nor do values that the released classes
take and never use (n_heads, n_layers, kernel_size, p_dropout, resblock, use_spectral_norm, ...; spec 4.1 and 5.1).
"""

import json
from pathlib import Path
from typing import Any

NAMED = 3  # how many differences a message names

_SPEECH = {  # the mel, the frames and the rate of synthesizer and ttv
    "sampling_rate": 16000,
    "filter_length": 1280,
    "hop_length": 320,
    "win_length": 1280,
    "n_mel_channels": 80,
    "mel_fmin": 0,
    "mel_fmax": 8000,
}
_BLOCKS = {
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}
# SpeechSR's other data values describe the mel of its training loss; its factor stands nowhere but in the output's rate.
_SPEECHSR = {"upsample_initial_channel": 32} | _BLOCKS

# component -> block of the file ("" = its top level) -> key -> published value
EXPECTED: dict[str, dict[str, dict[str, Any]]] = {
    "synthesizer": {
        "model": {
            "inter_channels": 192,
            "hidden_channels": 192,
            "filter_channels": 768,
            "upsample_rates": [4, 5, 4, 2, 2],
            "upsample_initial_channel": 512,
            "upsample_kernel_sizes": [8, 11, 8, 4, 4],
            "gin_channels": 256,
            "cfg": True,
            "prosody_size": 20,
        }
        | _BLOCKS,
        "data": _SPEECH,
    },
    "ttv": {  # its resblock and upsample values reach nothing
        "model": {
            "inter_channels": 256,
            "hidden_channels": 256,
            "filter_channels": 1024,
        },
        "data": _SPEECH,
    },
    "speechsr-24k": {"model": _SPEECHSR, "data": {"sampling_rate": 24000}},
    "speechsr-48k": {"model": _SPEECHSR, "data": {"sampling_rate": 48000}},
    "denoiser": {
        "": {
            "dense_channel": 64,
            "compress_factor": 0.3,
            "beta": 2.0,
            "sampling_rate": 16000,
            "n_fft": 400,
            "hop_size": 100,
            "win_size": 400,
        }
    },
}


def check_config(component: str, path: Path) -> bool:
    """Compare a `config.json` with the published values.

    A key that the file lacks or that is null is no contradiction: the weights themselves are checked tensor by tensor.

    Returns: whether there is such a file.
    Raises:
        ValueError: not JSON, no configuration of this component, or other values, each named.
    """
    if not path.is_file():
        return False
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable configuration ({error})") from error
    expected = EXPECTED[component]
    missing = [block for block in expected if block and not isinstance(_get(values, block), dict)]
    if not isinstance(values, dict) or missing:
        raise ValueError(
            f"{path} is no configuration of a {component}: expected an object"
            + (f" with the objects {' and '.join(expected)}" if missing else f", got {values!r:.40}")
        )
    wrong = [
        f"{block + '.' if block else ''}{key} is {found!r:.60}, expected {value!r}"
        for block, keys in expected.items()
        for key, value in keys.items()
        if (found := _get(values[block] if block else values, key)) not in (None, value)
    ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise ValueError(f"{path} is not that of a published {component}: {'; '.join(wrong[:NAMED])}{more}")
    return True


def _get(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, dict) else None
