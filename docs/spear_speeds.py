"""More speakers out of a pack: its training utterances played faster and slower too, for the models that learn voices from tokens.

    PYTHONPATH=. python docs/spear_speeds.py PACK OUT --encoder hierspeech/voices/lite/phonetic [--speeds 0.9 1.0 1.1]

Pitch and vocal tract change with the speed, so each speed of a speaker is a speaker of its own. OUT is a pack with wav, f0, semantic features of the
new sound, and `predicted` ones (text-to-vec's) where PACK has them, at the new speed.
"""

import argparse
import json
import sys
from collections.abc import Iterator

import numpy as np
import torch

from speech.audio import resample
from speech.packs import Pack, write_arrays, write_utterances
from speech.semantic.phonetic import PhoneticEncoder

HOP = 320


def played(pack: Pack, index: int, speed: float, encoder: PhoneticEncoder) -> tuple[np.ndarray, ...]:
    """wav int16 [T], f0 [4N], semantic [N, C], predicted [N, C] or [0, C] of one utterance at `speed`."""
    wav = pack.read("wav", index).astype(np.float32) / 32768
    if speed != 1:
        wav = resample(wav, round(16000 * speed), 16000)
    wav = wav[: len(wav) // HOP * HOP]
    frames = len(wav) // HOP
    f0 = pack.read("f0", index).astype(np.float32)
    places = ((np.arange(4 * frames) + 0.5) * speed).astype(int).clip(max=len(f0) - 1)
    with torch.inference_mode():
        semantic = encoder(torch.from_numpy(wav)[None])[0].T.half().numpy()
    predicted = pack.read("predicted", index)
    if len(predicted):
        predicted = predicted[((np.arange(frames) + 0.5) * speed).astype(int).clip(max=len(predicted) - 1)]
    return (
        np.clip(wav * 32768, -32768, 32767).astype(np.int16),
        (f0[places] * speed).astype(np.float16),
        semantic,
        predicted.astype(np.float16),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack")
    parser.add_argument("out")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--speeds", type=float, nargs="+", default=[0.9, 1.0, 1.1])
    args = parser.parse_args()
    pack, encoder = Pack(args.pack), PhoneticEncoder.from_pretrained(args.encoder)
    chosen = [
        (i, speed)
        for i, u in enumerate(pack.utterances)
        for speed in args.speeds
        if speed == 1 or u["split"] == "train"
    ]
    write_utterances(
        args.out,
        [
            pack.utterances[i]
            | {"id": f"{pack.utterances[i]['id']}@{speed:g}", "speaker": f"{pack.utterances[i]['speaker']}@{speed:g}"}
            for i, speed in chosen
        ],
    )  # fmt: skip

    def rows() -> Iterator[tuple[np.ndarray, ...]]:
        for done, (i, speed) in enumerate(chosen):
            if done % 500 == 0:
                print(f"{done} of {len(chosen)}", file=sys.stderr, flush=True)
            yield played(pack, i, speed, encoder)

    write_arrays(args.out, ["wav", "f0", "semantic", "predicted"], rows())
    with open(f"{args.out}/semantic.spec.json", "w", encoding="utf-8") as file:
        json.dump(vars(encoder.spec), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
