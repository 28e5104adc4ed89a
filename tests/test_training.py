"""The one loop: equal to a hand-written GAN loop, exactly resumable, strict about names, distributed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from toy_recipe import LOSSES, GanRecipe, PlainRecipe, ToyGenerator, main, run

from speech.optimization import OptimizerConfig, learning_rate, make_optimizer
from speech.run_folder import load_training_state, step_folders
from speech.training import TrainConfig, seed_everything

ROOT = Path(__file__).resolve().parent.parent
TOY = Path(__file__).parent / "toy_recipe.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{TOY.parent}", "OMP_NUM_THREADS": "1"}


def config(folder, **changes) -> TrainConfig:
    values = dict(run="toy", runs_folder=str(folder), max_steps=12, batch_size=8, lr=1e-2, device="cpu")
    values |= dict(precision="fp32", save_every=1000, validate_every=0, num_workers=0, tensorboard=False)
    return TrainConfig(**values | changes)


def make(settings: TrainConfig, seed: int = 0, cls=GanRecipe, **options):
    seed_everything(seed)
    return cls(settings, **options)


def state_of(folder: Path) -> dict:
    return load_training_state(step_folders(folder)[-1])


def assert_same(a, b):
    """Bit-identical nested state."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_the_loop_equals_a_hand_written_gan_loop(tmp_path):
    settings = config(tmp_path, max_steps=20, lr_decay=0.9, lr_decay_every=2, grad_clip=1.0)
    recipe = make(settings)
    assert run(recipe) == 20

    reference = make(settings)
    generator, discriminator = reference.modules["generator"], reference.modules["discriminator"]
    ours = {name: make_optimizer(module, settings) for name, module in reference.modules.items()}
    for step, (x, wav) in zip(range(20), reference.batches(0), strict=False):
        seed_everything(settings.seed, step, 0)
        for optimizer in ours.values():
            optimizer.param_groups[0]["lr"] = 1e-2 * 0.9 ** (step / 2)
        wav_hat = generator(x)
        ours["discriminator"].zero_grad()
        loss = (1 - discriminator(wav)).square().mean() + discriminator(wav_hat.detach()).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
        ours["discriminator"].step()
        ours["generator"].zero_grad()
        loss = (1 - discriminator(wav_hat)).square().mean() + 45 * F.l1_loss(wav_hat, wav)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        ours["generator"].step()
    for name in recipe.modules:
        assert_same(recipe.modules[name].state_dict(), reference.modules[name].state_dict())


def test_accumulated_updates_equal_a_hand_written_loop(tmp_path):
    """Both modules' gradients are means over three batches; the generator's is taken before the discriminator moves."""
    settings = config(tmp_path, max_steps=5, accumulate=3, grad_clip=1.0)
    recipe = make(settings)
    assert run(recipe) == 5

    reference = make(settings)
    generator, discriminator = reference.modules["generator"], reference.modules["discriminator"]
    ours = {name: make_optimizer(module, settings) for name, module in reference.modules.items()}
    batches = reference.batches(0)
    for step in range(5):
        sums = {name: 0.0 for name in ours}
        for place in range(3):
            x, wav = next(batches)
            seed_everything(settings.seed, 3 * step + place, 0)
            wav_hat = generator(x)
            judged = discriminator(wav), discriminator(wav_hat.detach())
            loss = (1 - judged[0]).square().mean() + judged[1].square().mean()
            gradient = torch.autograd.grad(loss, list(discriminator.parameters()))
            sums["discriminator"] = [
                g / 3 + (sums["discriminator"] or [0] * 9)[i] for i, g in enumerate(gradient)
            ]
            loss = (1 - discriminator(wav_hat)).square().mean() + 45 * F.l1_loss(wav_hat, wav)
            gradient = torch.autograd.grad(loss, list(generator.parameters()))
            sums["generator"] = [g / 3 + (sums["generator"] or [0] * 9)[i] for i, g in enumerate(gradient)]
        for name, optimizer in ours.items():
            for parameter, gradient in zip(reference.modules[name].parameters(), sums[name], strict=True):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(reference.modules[name].parameters(), 1.0)
            optimizer.step()
    for name in recipe.modules:
        for key, value in recipe.modules[name].state_dict().items():
            torch.testing.assert_close(value, reference.modules[name].state_dict()[key], rtol=1e-5, atol=1e-7)


def test_accumulated_updates_resume_exactly(tmp_path):
    run(make(config(tmp_path / "whole", accumulate=2, max_steps=7)))
    run(make(config(tmp_path / "parts", accumulate=2, max_steps=3)))
    run(make(config(tmp_path / "parts", accumulate=2, max_steps=7), seed=7))
    assert_same(state_of(tmp_path / "whole/toy"), state_of(tmp_path / "parts/toy"))


def test_named_modules_are_compiled(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self).__name__))
    run(make(config(tmp_path, compile=["discriminator"], max_steps=1)))
    assert compiled == ["Sequential"]
    with pytest.raises(ValueError, match="train.compile: no modules \\['nothing'\\]"):
        run(make(config(tmp_path / "b", compile=["nothing"])))


def test_resume_is_exact(tmp_path):
    run(make(config(tmp_path / "whole", ema=0.9, max_steps=15)))
    run(make(config(tmp_path / "parts", ema=0.9, max_steps=6)))
    # other initial weights and another random state: everything must come from the folder
    assert run(make(config(tmp_path / "parts", ema=0.9, max_steps=15), seed=7)) == 15
    assert_same(state_of(tmp_path / "whole/toy"), state_of(tmp_path / "parts/toy"))


def test_a_killed_run_resumes_exactly(tmp_path):
    main(str(tmp_path / "whole"), 40, 0.0, 8)
    command = [sys.executable, str(TOY), str(tmp_path / "killed"), "40", "0.03", "8"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not step_folders(tmp_path / "killed/toy"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert 5 <= state_of(tmp_path / "killed/toy")["step"] < 40
    main(str(tmp_path / "killed"), 40, 0.0, 8)
    assert_same(state_of(tmp_path / "whole/toy"), state_of(tmp_path / "killed/toy"))


def test_a_half_written_folder_is_never_resumed(tmp_path):
    run(make(config(tmp_path, max_steps=3)))
    half = tmp_path / "toy/step_00000009.tmp"
    half.mkdir()
    (half / "training.pt").write_bytes(b"half")
    assert run(make(config(tmp_path, max_steps=5))) == 5
    assert not half.exists() and state_of(tmp_path / "toy")["step"] == 5


def test_a_damaged_folder_is_an_error_not_a_fresh_start(tmp_path):
    run(make(config(tmp_path, max_steps=3)))
    path = tmp_path / "toy/step_00000003/training.pt"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot resume from .*step_00000003"):
        run(make(config(tmp_path, max_steps=5)))


def test_sigterm_saves_and_exits_cleanly(tmp_path):
    command = [sys.executable, str(TOY), str(tmp_path), "100000", "0.01", "8"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while not step_folders(tmp_path / "toy"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0
    assert f"stopped at step {state_of(tmp_path / 'toy')['step']} of 100000" in output


def test_a_time_limit_stops_and_saves(tmp_path):
    assert run(make(config(tmp_path, max_steps=1000, max_minutes=0.01), seconds=0.05)) < 1000
    assert step_folders(tmp_path / "toy")


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_equal_one_with_the_double_batch(tmp_path, nodes):
    """On one machine, and on two that find each other by address as torchrun's users start them."""
    main(str(tmp_path / "one"), 10, 0.0, 12)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={2 // nodes}"]
    command += [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}"]
    command += [str(TOY), str(tmp_path / "two"), "10", "0", "6"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=ENVIRONMENT, **pipes) for _ in range(nodes)]
    for process in running:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors[-2000:]
    one, two = state_of(tmp_path / "one/toy"), state_of(tmp_path / "two/toy")
    for name in one["modules"]:
        torch.testing.assert_close(two["modules"][name], one["modules"][name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("group", [True, False])
def test_a_process_of_a_group_is_not_taken_down_by_the_interpreter(tmp_path, group):
    """There gloo's threads abort it now and then; what was printed and the exit code stay."""
    script = "import atexit, sys; from speech.interruption import leave; import torch.distributed as group\n"
    if group:
        store = f"file://{tmp_path / 'store'}"
        script += f"group.init_process_group('gloo', init_method={store!r}, rank=0, world_size=1)\n"
    script += "atexit.register(print, 'taken down'); print('step 10/10'); leave(3)"
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stdout.split("\n")[:-1] == ["step 10/10"] + ["taken down"] * (not group)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_processes_without_a_gpu_train_together_and_resume(tmp_path):
    """Though the device is not said: each would train a model of its own, and write over the other's."""
    main(str(tmp_path / "one"), 10, 0.0, 12)
    for steps in ("5", "10"):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command += [str(TOY), str(tmp_path / "two"), steps, "0", "6", "auto"]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
    assert "resuming" in done.stdout and done.stdout.count("step 10/10") == 1
    one, two = state_of(tmp_path / "one/toy"), state_of(tmp_path / "two/toy")
    for name in one["modules"]:
        torch.testing.assert_close(two["modules"][name], one["modules"][name], rtol=1e-5, atol=1e-5)


def test_machines_without_a_shared_run_folder_do_not_drift_apart(tmp_path, monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", 2)
    monkeypatch.setattr(Accelerator, "gather", lambda self, steps: torch.cat([steps, steps + 1000]))
    with pytest.raises(
        ValueError, match="find the steps \\[0, 1000\\] there; expected one folder that all machines"
    ):
        run(make(config(tmp_path)))


@pytest.mark.parametrize(
    "losses",
    [
        {"discriminator": {"adversarial": 1.0}, "generator": {"adversarial": 1.0, "mell": 45.0}},
        {"discriminator": {"adversarial": 1.0}, "generator": {"mel": 45.0}},
        {"discriminator": {"adversarial": 1.0}, "generator": {"adversarial": 1.0, "mel": 45.0, "kl": 1.0}},
        {"generator": {"adversarial": 1.0, "mel": 45.0}},
        LOSSES | {"generatr": {"mel": 1.0}},
        {},
    ],
)
def test_misnamed_losses_are_refused_before_anything_is_learnt(tmp_path, losses):
    recipe = make(config(tmp_path))
    before = {k: v.clone() for k, v in recipe.modules["generator"].state_dict().items()}
    with pytest.raises(ValueError, match="loss"):
        run(recipe, losses)
    assert_same(dict(recipe.modules["generator"].state_dict()), before)
    assert not step_folders(tmp_path / "toy")


def test_a_loss_of_weight_zero_is_logged_only(tmp_path):
    losses = {"generator": {"mel": 0.0}}
    recipe = make(config(tmp_path, max_steps=2), cls=PlainRecipe)
    before = {k: v.clone() for k, v in recipe.modules["generator"].state_dict().items()}
    run(recipe, losses)
    assert_same(dict(recipe.modules["generator"].state_dict()), before)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_reaches_the_body_of_a_turn(tmp_path, precision, dtype, monkeypatch):
    monkeypatch.setattr("speech.training.has_bf16", lambda device: True)
    recipe = make(config(tmp_path, max_steps=1, precision=precision), cls=PlainRecipe)
    run(recipe, {"generator": {"mel": 1.0}})
    assert recipe.dtype == dtype
    assert recipe.modules["generator"].outer.weight.dtype == torch.float32


def test_infinite_gradients_do_not_reach_the_weights(tmp_path):
    class Sick(PlainRecipe):
        def turns(self, batch, step):
            loss = self.modules["generator"](batch[0]).square().mean()
            yield "generator", {"mel": loss * (float("nan") if step % 2 == 0 or step > 5 else 1.0)}

    recipe = make(config(tmp_path, max_steps=6), cls=Sick)
    run(recipe, {"generator": {"mel": 1.0}})
    assert all(torch.isfinite(p).all() for p in recipe.modules["generator"].parameters())
    with pytest.raises(ValueError, match="no finite gradient for 'generator'"):
        run(make(config(tmp_path, max_steps=100), cls=Sick), {"generator": {"mel": 1.0}})


def test_step_folders_are_publishable_and_pruned(tmp_path):
    settings = config(tmp_path, max_steps=9, save_every=2, keep_checkpoints=2, keep_every=4)
    recipe = make(settings)
    run(recipe)
    folders = [path.name for path in step_folders(tmp_path / "toy")]
    assert folders == ["step_00000004", "step_00000008", "step_00000009"]
    newest = tmp_path / "toy/step_00000009"
    names = {path.name for path in newest.iterdir()}
    assert names == {"config.json", "config.yaml", "model.safetensors", "README.md", "training.pt"}
    loaded, x = ToyGenerator.from_pretrained(newest), torch.randn(3, 4)
    assert torch.equal(loaded(x), recipe.modules["generator"].eval()(x))
    assert "step 9" in (newest / "README.md").read_text()
    assert "save_every: 2" in (newest / "config.yaml").read_text()


def test_the_published_weights_are_the_moving_average(tmp_path):
    recipe = make(config(tmp_path, ema=0.9))
    run(recipe)
    published = ToyGenerator.from_pretrained(step_folders(tmp_path / "toy")[-1])
    state = state_of(tmp_path / "toy")
    assert torch.equal(published.outer.weight, state["ema"]["outer.weight"])
    assert not torch.equal(published.outer.weight, recipe.modules["generator"].outer.weight)


def test_init_starts_from_published_weights(tmp_path):
    source = make(config(tmp_path / "a"))
    run(source)
    folder = str(step_folders(tmp_path / "a/toy")[-1])
    recipe = make(config(tmp_path / "b", init=folder, max_steps=1, lr=1e-30), seed=3)
    run(recipe)
    x = torch.randn(3, 4)
    torch.testing.assert_close(recipe.modules["generator"].eval()(x), source.modules["generator"].eval()(x))
    with pytest.raises(ValueError, match="init: .*dim: 4, expected 5"):
        run(make(config(tmp_path / "c", init=folder), dim=5))


def test_what_does_not_fit_is_not_resumed(tmp_path):
    run(make(config(tmp_path, max_steps=2)))
    with pytest.raises(ValueError, match="another model section .dim: 4, expected 5"):
        run(make(config(tmp_path), dim=5))
    with pytest.raises(ValueError, match="modules"):
        run(make(config(tmp_path), cls=PlainRecipe), {"generator": {"mel": 1.0}})
    with pytest.raises(ValueError, match="choose another train.run"):
        run(make(config(tmp_path, resume="never")))


def test_a_resumed_run_obeys_new_settings_and_a_finished_one_rests(tmp_path):
    run(make(config(tmp_path, max_steps=2)))
    recipe = make(config(tmp_path, max_steps=4, lr=5e-3, weight_decay=0.5))
    run(recipe)
    group = state_of(tmp_path / "toy")["optimizers"]["generator"]["param_groups"][0]
    assert group["lr"] == 5e-3 and group["weight_decay"] == 0.5
    before = (tmp_path / "toy/step_00000004/training.pt").stat().st_mtime_ns
    assert run(make(config(tmp_path, max_steps=4))) == 4
    assert (tmp_path / "toy/step_00000004/training.pt").stat().st_mtime_ns == before


def test_tensorboard_holds_every_scalar(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = config(tmp_path, max_steps=6, log_every=3, validate_every=3, tensorboard=True)
    recipe = make(settings)
    run(recipe)
    assert recipe.validations == recipe.previews == 2
    events = EventAccumulator(str(tmp_path / "toy"))
    events.Reload()
    expected = {"generator/mel", "generator/adversarial", "discriminator/adversarial", "generator/total"}
    expected |= {"lr/generator", "grad_norm/generator", "lr/discriminator", "validation/mel"}
    expected |= {"throughput/steps_per_second", "throughput/audio_seconds_per_second"}
    assert expected <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("generator/mel")] == [3, 6]
    assert events.Scalars("lr/generator")[0].value == pytest.approx(1e-2)


def test_learning_rates():
    warm = OptimizerConfig(lr=1.0, warmup_steps=4, lr_decay=0.5, lr_decay_every=10)
    assert [learning_rate(warm, s, 100) for s in (0, 3, 4, 14)] == [0.25, 1.0, 1.0, 0.5]
    cosine = OptimizerConfig(lr=1.0, schedule="cosine", lr_final=0.1)
    values = [learning_rate(cosine, s, 100) for s in (0, 50, 100, 200)]
    assert values == pytest.approx([1.0, 0.55, 0.1, 0.1])
    linear = OptimizerConfig(lr=1.0, schedule="linear", lr_final=0.1, warmup_steps=10)
    assert [learning_rate(linear, s, 110) for s in (10, 60, 110, 200)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    wsd = OptimizerConfig(lr=1.0, schedule="wsd", lr_final=0.1)
    assert [learning_rate(wsd, s, 100) for s in (0, 89, 95, 100)] == pytest.approx([1.0, 1.0, 0.55, 0.1])


def test_each_module_has_its_own_optimizer_settings(tmp_path):
    changes = {"discriminator": {"lr": "1e-4", "betas": [0.5, 0.9]}}
    settings = config(tmp_path, max_steps=1, optimizers=changes)
    run(make(settings))
    optimizers = state_of(tmp_path / "toy")["optimizers"]
    assert optimizers["discriminator"]["param_groups"][0]["lr"] == 1e-4
    assert tuple(optimizers["discriminator"]["param_groups"][0]["betas"]) == (0.5, 0.9)
    assert optimizers["generator"]["param_groups"][0]["lr"] == 1e-2
    with pytest.raises(ValueError, match="train.optimizers.discriminator: unknown keys"):
        config(tmp_path, optimizers={"discriminator": {"learning_rate": 1}})


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "fp16"},
        {"device": "gpu"},
        {"schedule": "sawtooth"},
        {"max_steps": 0},
        {"ema": 1.0},
        {"lr": 0.0},
        {"resume": "yes"},
    ],
)
def test_wrong_settings_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(tmp_path, **changes)
