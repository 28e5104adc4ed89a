"""The stage that adds semantic features to a pack, by any encoder of `speech.semantic`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from hierspeech.preparation.features import read_wav
from speech.packs import Pack, write_arrays


@torch.inference_mode()
def add_semantic(folder: Path, encoder, device: str = "cpu") -> None:
    """Write the features `semantic` ([N, C] float16 an utterance) and the encoder's spec into the pack."""
    pack = Pack(folder)

    def rows() -> Iterator[tuple[np.ndarray]]:
        for index in range(len(pack)):
            wav = torch.from_numpy(read_wav(pack, index))[None].to(device)
            yield (encoder(wav)[0].T.half().cpu().numpy(),)
            if index % 500 == 499:
                print(f"semantic: {index + 1}/{len(pack)}", file=sys.stderr)

    (folder / "semantic.spec.json").unlink(missing_ok=True)
    write_arrays(folder, ["semantic"], rows())
    (folder / "semantic.spec.json").write_text(json.dumps(asdict(encoder.spec)))
