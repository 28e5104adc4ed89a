"""The shipped voice's own configurations on real speech, where the corpus is at hand: what TensorBoard then holds.

Prepares some utterances of ../shared/corpus, trains every stage for two steps, and reads the event files back.
"""

from pathlib import Path

import pytest

import prepare
import train

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not (CORPUS / "manifest.csv").is_file(), reason="the corpus is not at hand")
SHORT = [
    "train.max_steps=2",
    "train.log_every=1",
    "train.validate_every=2",
    "train.num_workers=0",
    "train.batch_size=2",
]
SHORT += ["train.device=cpu", "train.precision=fp32"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A pack of eight short utterances, six to train on and two of the dev split."""
    folder = tmp_path_factory.mktemp("speech")
    head, *lines = (CORPUS / "manifest.csv").read_text(encoding="utf-8").splitlines()
    names = head.split("|")
    rows = [dict(zip(names, line.split("|"), strict=True)) for line in lines]
    fit = [row for row in rows if 2.0 < float(row["seconds"]) < 6.0 and len(row["transcript"]) > 10]
    chosen = [row for row in fit if row["split"] == "train"][:6] + [
        row for row in fit if row["split"] == "dev"
    ][:2]
    for row in chosen:
        (folder / "corpus" / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / "corpus" / row["path"]).symlink_to(CORPUS / row["path"])
    manifest = "\n".join([head, *("|".join(row[name] for name in names) for row in chosen)])
    (folder / "corpus" / "manifest.csv").write_text(manifest + "\n", encoding="utf-8")
    assert prepare.main([*stage(folder), "--semantic", f"phonetic={learn(folder, 'phonetic')}"]) == 0
    ttv = learn(folder, "aligned_ttv")
    assert prepare.main([*stage(folder), "--predicted", str(ttv)]) == 0
    return folder


def stage(folder: Path) -> list[str]:
    return [str(folder / "corpus"), str(folder / "pack"), "--layout", "manifest"]


def learn(folder: Path, name: str, *more: str) -> Path:
    """Train configs/lite/NAME.yaml for two steps; the step folder."""
    if not (folder / "pack").is_dir():
        assert prepare.main(stage(folder)) == 0
    arguments = [
        f"data.pack={folder / 'pack'}",
        f"train.runs_folder={folder / 'runs'}",
        f"train.run={name}",
        *SHORT,
    ]
    assert train.main([f"configs/lite/{name}.yaml", *arguments, *more]) == 0
    return folder / "runs" / name / "step_00000002"


def tags(folder: Path, name: str) -> dict[str, list[str]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "runs" / name))
    events.Reload()
    return events.Tags()


def seen_everywhere(found: dict[str, list[str]], module: str, losses: list[str]) -> None:
    """Every loss by name, the learning rate, the gradient norm, the throughput and a figure of the validation."""
    scalars = set(found["scalars"])
    assert {f"{module}/{loss}" for loss in losses} <= scalars
    assert {f"lr/{module}", f"grad_norm/{module}", "throughput/audio_seconds_per_second"} <= scalars
    assert any(scalar.startswith("validation/") for scalar in scalars)


def test_phonetic_encoder(place):
    found = tags(place, "phonetic")
    seen_everywhere(found, "encoder", ["phones"])
    assert found["audio"] == ["recording"]
    assert {"mel", "phones_said_above_heard"} <= set(found["images"])


def test_text_to_vec(place):
    found = tags(place, "aligned_ttv")
    seen_everywhere(found, "ttv", ["durations", "semantic", "contour", "voiced"])
    assert {"semantic", "alignment", "mel", "f0"} <= set(found["images"])


def test_synthesizer(place):
    encoder = place / "runs" / "phonetic" / "step_00000002"
    learn(place, "synthesizer", f"recipe.semantic_encoder={encoder}")
    found = tags(place, "synthesizer")
    seen_everywhere(found, "generator", ["mel", "adversarial", "features", "contrastive"])
    assert "discriminator/adversarial" in found["scalars"]
    assert {"recording/0", "reconstruction/0"} <= set(found["audio"])
    assert {"mel/0", "f0/0"} <= set(found["images"])


def test_denoiser(place):
    learn(place, "denoiser", "data.min_range_db=0", "data.noises={coloured: 1, hum: 1}")
    found = tags(place, "denoiser")
    seen_everywhere(found, "generator", ["magnitude", "phase", "complex", "consistency", "time"])
    assert any(name.startswith("denoised/") for name in found["audio"])
    assert any(name.startswith("noisy_denoised_clean/") for name in found["images"])
