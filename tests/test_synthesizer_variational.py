"""The variational recipe of the synthesizer: what feeds what, the divergences, learning, resuming, what it shows."""

import math

import numpy as np
import pytest
import torch
from make_pack import make_pack

import train
from hierspeech.synthesizer import HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.variational import windows
from hierspeech.synthesizer.variational_recipe import Recipe
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig
from speech.turns import seed_everything

CONFIG = "configs/tiny/synthesizer_variational.yaml"
# the lite family instead: iSTFT generator, harmonic source, pooled style
LITE = [
    "model.amp=null",
    "model.source=null",
    "model.style=null",
    "model.istft={width: 16, layers: 1, n_fft: 320, hop_length: 160}",
    "model.harmonic={channels: 8, n_fft: 320}",
    "model.pooled_style={n_mels: 24, width: 16, layers: 1, out: 8}",
    "recipe.mel_sizes=[256, 512]",
]
WITHOUT_F0 = {"mel": 45, "adversarial": 1, "features": 2, "kl_acoustic": 1, "kl_semantic": 1,
              "kl_acoustic_backward": 0.5, "kl_semantic_backward": 0.5, "prosody": 45}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variational")
    make_pack(folder / "pack")
    torch.manual_seed(0)
    PhoneticEncoder(PhoneticEncoderConfig(dim=8, width=16, layers=1)).save_pretrained(folder / "encoder")
    return folder


def arguments(place, *more):
    return [
        f"data.pack={place / 'pack'}",
        f"recipe.semantic_encoder={place / 'encoder'}",
        f"train.runs_folder={place / 'runs'}",
        "data.seconds=0.4",
        *more,
    ]


def make(place, *more) -> tuple[Recipe, dict]:
    _, cls, sections, losses, config = train.read(CONFIG, arguments(place, *more))
    seed_everything(config.seed)
    return cls(sections.model, sections.data, sections.recipe, losses, config), losses


def losses_without_f0():
    return [f"losses.generator={WITHOUT_F0}".replace("'", "")]


@pytest.fixture(scope="module")
def recipe(place):
    return make(place)[0]


@pytest.fixture
def batch(recipe):
    return next(recipe.batches(0))


@pytest.mark.parametrize("family", [[], LITE + losses_without_f0()], ids=["base", "lite"])
def test_two_steps_through_the_script(place, family, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = arguments(place, f"train.runs_folder={tmp_path}", "train.run=run", *family)
    assert train.main([CONFIG, *options]) == 0
    model = HierSpeech.from_pretrained(tmp_path / "run/step_00000002")
    style = torch.randn(1, model.config.style_config.out)
    wav = model.infer(torch.randn(1, 8, 11), torch.full((1, 1, 44), 5.0), style)
    assert wav.shape == (1, 1, 3520) and wav.isfinite().all()
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    tags = events.Tags()
    for name in ("recording", "reconstruction", "synthesis"):
        assert {f"{name}/0", f"{name}/1"} <= set(tags["audio"])
    assert {"mel/0", "f0/0"} <= set(tags["images"])
    scalars = " ".join(tags["scalars"])
    for name in ("kl_acoustic", "kl_semantic_backward", "prosody", "reconstruction_mel", "synthesis_mel"):
        assert name in scalars
    assert ("generator/f0" in scalars) == (not family)


@pytest.mark.parametrize("family", [[], LITE + losses_without_f0()], ids=["base", "lite"])
def test_one_batch_is_learnt(place, family):
    """Every loss of the generator that is not adversarial falls; the discriminator neither wins nor loses everything."""
    recipe, weights = make(place, "recipe.window_frames=6", *family)
    batch = next(recipe.batches(0))
    model = recipe.modules["generator"]
    with torch.no_grad():  # fresh networks agree on about N(0, 1) all three: let them disagree
        for k, encoder in enumerate((model.posterior, model.semantic_posterior, model.semantic_prior)):
            encoder.proj.bias[:16].add_((-1.0, 1.0, -1.0)[k])
    optimizers = {
        name: torch.optim.AdamW(module.parameters(), 5e-3, (0.8, 0.99))
        for name, module in recipe.modules.items()
    }
    history = []
    for step in range(28):
        torch.manual_seed(step)
        values = {}
        for name, losses in recipe.turns(batch, step):
            assert losses.keys() == weights[name].keys()
            sum(weights[name][key] * value for key, value in losses.items()).backward()
            optimizers[name].step()
            for module in recipe.modules.values():
                module.zero_grad(set_to_none=True)
            values |= {f"{name}/{key}": value.item() for key, value in losses.items()}
        history.append(values)
    first = {key: np.mean([values[key] for values in history[:3]]) for key in history[0]}
    last = {key: np.mean([values[key] for values in history[-5:]]) for key in history[0]}
    factors = {"mel": 0.6, "prosody": 0.7, "kl_acoustic": 0.15, "kl_semantic": 0.15,
               "kl_acoustic_backward": 0.15, "kl_semantic_backward": 0.15, "f0": 0.25}  # fmt: skip
    for name, factor in factors.items():
        if name in weights["generator"]:
            key = f"generator/{name}"
            assert last[key] < factor * first[key], f"{name}: {first[key]:.3f} -> {last[key]:.3f}"
    assert 0.05 < last["discriminator/adversarial"] < 1.2 * first["discriminator/adversarial"]
    assert math.isfinite(last["generator/features"])


def test_every_parameter_has_a_gradient(recipe, batch):
    """As distributed training demands, in a batch without a null style too."""
    recipe.recipe.null_style_rate = 0.0
    _, losses = list(recipe.turns(batch, 0))[-1]
    recipe.recipe.null_style_rate = 0.1
    sum(losses.values()).backward()
    generator = recipe.modules["generator"]
    without = [
        name for name, p in generator.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    generator.zero_grad()
    assert without == []


def test_divergences_pair_the_right_latents(recipe, batch):
    """Each loss is the divergence of its two distributions, with the sample moved through the flow that lies between."""
    model = recipe.modules["generator"]
    with torch.no_grad():
        inputs = recipe.inputs(batch)
        out = model(inputs)
        losses = recipe.generator_losses(inputs, out)
    pairs = {
        "kl_acoustic": (out.acoustic_forward, out.acoustic, out.semantic),
        "kl_semantic": (out.semantic_forward, out.semantic, out.prior),
        "kl_acoustic_backward": (out.acoustic_backward, out.semantic, out.acoustic),
        "kl_semantic_backward": (out.semantic_backward, out.prior, out.semantic),
    }
    for name, (z, own, other) in pairs.items():
        own_density = -own.log_std - 0.5  # of a sample, on average, less the constant that cancels
        density = -other.log_std - 0.5 * ((z - other.mean) / other.log_std.exp()) ** 2
        expected = (own_density - density).sum(1).mean()
        torch.testing.assert_close(losses[name], expected, rtol=1e-4, atol=1e-4)
    assert losses["kl_acoustic"] != losses["kl_acoustic_backward"]


def test_flows_lead_from_the_posterior_to_the_prior_and_back(recipe, batch):
    model = recipe.modules["generator"].eval()
    with torch.no_grad():
        for parameter in model.flow_acoustic.parameters():  # a flow starts as the identity
            parameter.add_(0.05 * torch.randn_like(parameter))
        inputs = recipe.inputs(batch)
        out = model(inputs)
        mask = inputs.frame_mask[:, None]
        style = model.style_encoder(inputs.prompt, inputs.prompt_mask)
        z_a = model.flow_acoustic.inverse(out.acoustic_forward, mask, style)
        z_s = model.flow_acoustic(out.acoustic_backward, mask, style)
        noise = (z_a - out.acoustic.mean) / out.acoustic.log_std.exp()
        noise_s = (z_s - out.semantic.mean) / out.semantic.log_std.exp()
    model.train()
    for sample in (noise, noise_s):
        assert abs(sample.mean()) < 0.15 and sample.std() == pytest.approx(1, abs=0.1)


def test_null_style_reaches_source_and_generator_only(recipe, batch):
    model = recipe.modules["generator"].eval()
    heard = {}

    def record(name, place):
        def hook(module, args):
            heard[name] = args[place].detach()

        return getattr(model, name).register_forward_pre_hook(hook)

    hooks = [record("source", 1), record("generator", 2)]
    inputs = recipe.inputs(batch)
    outs = []
    for null in ([False, False], [True, False]):
        heard.clear()
        inputs.null_style = torch.tensor(null)
        torch.manual_seed(0)
        outs.append(model(inputs))
    for hook in hooks:
        hook.remove()
    own = model.style_encoder(inputs.prompt, inputs.prompt_mask)
    model.train()
    for style in heard.values():
        assert torch.allclose(style[0], model.unconditional_style(1)[0])
        assert torch.allclose(style[1], own[1], atol=1e-5)
    for name in ("acoustic_forward", "semantic_forward", "acoustic_backward", "semantic_backward", "prosody"):
        assert torch.equal(getattr(outs[0], name), getattr(outs[1], name)), name
    assert not torch.allclose(outs[0].wav[0], outs[1].wav[0]) and torch.equal(outs[0].wav[1], outs[1].wav[1])
    outs[1].wav[0].sum().backward()
    assert model.null_style.grad.abs().sum() > 0
    model.zero_grad()


def test_null_style_has_its_rate(recipe, batch):
    torch.manual_seed(0)
    drawn = torch.cat([recipe.inputs(batch, perturb=True).null_style for _ in range(30)])
    assert 0 < drawn.float().mean() < 0.3
    assert not recipe.inputs(batch, perturb=False).null_style.any()


def test_the_decoded_window_is_one_of_audio_f0_and_latent(recipe, batch, monkeypatch):
    model = recipe.modules["generator"].eval()
    inputs = recipe.inputs(batch)
    inputs.null_style[:] = False
    inputs.window_start = torch.tensor([3, 8])
    seen = {}
    monkeypatch.setattr(
        model, "decode", lambda z, style, log_f0: seen.update(z=z, log_f0=log_f0) or (z, None)
    )
    with torch.no_grad():
        out = model(inputs)
        style = model.style_encoder(inputs.prompt, inputs.prompt_mask)
        z_a = model.flow_acoustic.inverse(out.acoustic_forward, inputs.frame_mask[:, None], style)
    model.train()
    for row, start in enumerate((3, 8)):
        assert torch.allclose(seen["z"][row], z_a[row, :, start : start + 10], atol=1e-5)
        assert torch.equal(seen["log_f0"][row], inputs.log_f0[row, :, 4 * start : 4 * (start + 10)])
    assert torch.equal(windows(inputs.wav, inputs.window_start * 320, 3200)[1, 0], batch.wav[1, 2560:5760])


def test_the_judged_wave_is_the_decoded_window(recipe, batch):
    judged = []
    hook = recipe.mel_loss.register_forward_pre_hook(lambda _, waves: judged.append(waves[0]))
    list(recipe.turns(batch, 0))
    hook.remove()
    for row, start in enumerate(batch.window_start.tolist()):
        assert torch.equal(judged[0][row], batch.wav[row, 320 * start : 320 * (start + 10)])


def test_the_prior_hears_perturbed_speech_and_the_posterior_does_not(recipe, batch, monkeypatch):
    torch.manual_seed(0)
    inputs = recipe.inputs(batch)
    with torch.no_grad():
        clean = recipe.encode(batch.wav, batch.n_frames)
    assert torch.allclose(inputs.semantic, clean, atol=1e-6)
    assert not torch.allclose(inputs.perturbed, clean, atol=0.1)
    assert torch.equal(inputs.log_f0[:, 0], torch.log1p(batch.f0))
    assert torch.equal(inputs.wav[:, 0], batch.wav)
    model, seen = recipe.modules["generator"], {}
    for name in ("semantic_prior", "semantic_posterior"):
        encoder = getattr(model, name)
        monkeypatch.setattr(
            encoder, "forward", lambda *a, name=name, f=encoder.forward: seen.update({name: a}) or f(*a)
        )
    model(inputs)
    assert seen["semantic_prior"][0] is inputs.perturbed and seen["semantic_posterior"][0] is inputs.semantic
    assert seen["semantic_prior"][1] is seen["semantic_posterior"][1] is inputs.log_f0
    assert torch.equal(recipe.inputs(batch, perturb=False).perturbed, inputs.semantic)


def test_stored_features_are_the_posteriors(place):
    recipe, _ = make(place, "data.stored_semantic=true")
    batch = next(recipe.batches(0))
    inputs = recipe.inputs(batch)
    assert torch.equal(inputs.semantic, batch.semantic) and not torch.equal(inputs.perturbed, batch.semantic)
    index = recipe.data.sources[0].pack.read("semantic", 0).astype(np.float32)
    assert batch.semantic.shape == (2, 8, 20) and index.shape[1] == 8


def test_statistics_and_losses_are_float32_under_autocast(recipe, batch):
    def values(enabled):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            inputs = recipe.inputs(batch, perturb=False)
            out = recipe.modules["generator"](inputs)
            return out, dict(list(recipe.turns(batch, 0))[-1][1])

    recipe.modules["generator"].eval()
    out, losses = values(True)
    assert out.log_f0.dtype == torch.bfloat16  # autocast was on
    for latent in (out.acoustic, out.semantic, out.prior):
        assert latent.mean.dtype == latent.log_std.dtype == torch.float32
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    _, exact = values(False)
    recipe.modules["generator"].train()
    for name in ("mel", "prosody", "f0", "kl_acoustic", "kl_semantic"):
        assert losses[name].item() == pytest.approx(exact[name].item(), rel=0.1, abs=0.05), name


def test_a_resumed_run_is_the_uninterrupted_one(place, tmp_path):
    def run(folder, steps):
        options = [
            f"train.runs_folder={tmp_path / folder}",
            f"train.max_steps={steps}",
            "train.validate_every=0",
        ]
        assert train.main([CONFIG, *arguments(place, *options, "train.run=run")]) == 0
        path = tmp_path / folder / "run" / f"step_{steps:08d}" / "training.pt"
        return torch.load(path, weights_only=True)

    whole = run("whole", 4)
    run("parts", 2)
    parts = run("parts", 4)
    for name, state in whole["modules"].items():
        for key, value in state.items():
            assert torch.equal(value, parts["modules"][name][key]), f"{name}.{key}"


class Writer:
    def __init__(self):
        self.sounds, self.pictures = {}, {}

    def add_audio(self, tag, wav, step, rate):
        assert rate == 16000 and wav.abs().max() <= 1
        self.sounds[tag] = wav

    def add_image(self, tag, picture, step, dataformats="CHW"):
        assert picture.min() >= 0 and picture.max() <= 1
        self.pictures[tag] = picture


def test_validation_and_preview_of_fixed_pieces(recipe):
    for module in recipe.modules.values():
        module.eval()
    figures = recipe.validate()
    assert figures.keys() == {"reconstruction_mel", "synthesis_mel", "f0"}
    assert all(math.isfinite(value) and value > 0 for value in figures.values())
    assert figures == recipe.validate()
    writer = Writer()
    recipe.preview(writer, 1)
    for module in recipe.modules.values():
        module.train()
    assert {tag.split("/")[0] for tag in writer.sounds} == {"recording", "reconstruction", "synthesis"}
    (truth,) = recipe.data.fixed(2)
    assert torch.equal(writer.sounds["recording/1"], truth.wav[1:2].clamp(-1, 1))
    assert writer.pictures["mel/0"].shape == (3 * 24, 20)
    assert writer.pictures["f0/0"].shape == (3, 96, 80)
    voiced = (truth.f0[1] > 0).nonzero()
    if len(voiced):  # the truth is drawn in black in every voiced column
        dark = (writer.pictures["f0/1"] == 0).all(0).any(0)
        assert dark[voiced].all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.posterior=null"], "this recipe trains the whole hierarchy"),
        (["model.semantic_posterior=false"], "this recipe trains the whole hierarchy"),
        (["recipe.discriminator.stft_sizes=[4096]"], "fewer than the discriminator's largest STFT 4096"),
        (["data.pack=null"], "expected a pack or a filelist"),
        (["model.semantic.dim=9"], "expected SemanticSpec"),
        (["losses.generator.contrastive=1.0"], "the configuration weighs"),
        (["model.prosody=null"], "the configuration weighs"),
        (["recipe.null_style_rate=2"], "null_style_rate of 0 to 1"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(place, capsys, changes, message, tmp_path):
    assert train.main([CONFIG, *arguments(place, f"train.runs_folder={tmp_path}", *changes)]) == 2
    assert message in capsys.readouterr().err


def test_base_config_is_the_published_model_and_training():
    _, _, sections, losses, config = train.read("configs/base/synthesizer.yaml", [])
    assert sections.model == HierSpeechConfig()
    assert losses["generator"]["mel"] == losses["generator"]["prosody"] == losses["generator"]["f0"] == 45
    assert losses["generator"]["kl_acoustic"] == 1 and losses["generator"]["kl_semantic_backward"] == 0.5
    assert (config.lr, config.betas, config.eps, config.weight_decay) == (1e-4, (0.8, 0.99), 1e-9, 0.01)
    assert config.lr_decay == pytest.approx(0.999 ** (1 / 8), abs=1e-6)
    assert sections.data.seconds * 16000 == 61440 and sections.recipe.window_frames * 320 == 9600
