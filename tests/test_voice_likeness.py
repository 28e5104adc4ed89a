"""What carries the voice and the words of recordings: the speaker encoder as a judge, the synthesizer's detail encoder."""

import json
import math
import shutil

import pytest
import torch
from make_pack import make_pack
from tiny_voice import build_voice, recording

import train
from hierspeech import TextToSpeech, VoiceConversion
from hierspeech.synthesizer.detail import DetailConfig, DetailEncoder, DetailInputs
from hierspeech.synthesizer.model import HierSpeech
from hierspeech.synthesizer.recipe import swap_spans
from speech.modules.style_pooling import StylePooling, StylePoolingConfig, long_term_spectrum
from speech.packs import write_utterances
from speech.perturbation import PerturbationConfig
from speech.speaker.encoder import SpeakerEncoder, SpeakerEncoderConfig, speaker_losses


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("likeness")
    make_pack(folder / "pack")
    for name in ("phonetic", "speaker"):
        assert train.main([f"configs/tiny/{name}.yaml", *places(folder)]) == 0
    return folder


def places(folder):
    return [f"data.pack={folder / 'pack'}", f"train.runs_folder={folder / 'runs'}"]


def synthesizer(workplace, *more):
    encoder = f"recipe.semantic_encoder={workplace / 'runs/tiny_phonetic/step_00000002'}"
    return ["configs/tiny/synthesizer.yaml", *places(workplace), encoder, *more]


def judged(workplace, *more):
    return synthesizer(
        workplace,
        f"recipe.speaker_encoder={workplace / 'runs/tiny_speaker/step_00000002'}",
        "losses.generator.speaker=1.0",
        "losses.generator.voice=1.0",
        *more,
    )


def test_speaker_encoder_is_trained_on_every_speaker_at_every_speed(workplace):
    encoder = SpeakerEncoder.from_pretrained(workplace / "runs/tiny_speaker/step_00000002")
    assert encoder.classes.shape == (4, 8)  # two training speakers, two speeds
    embedding, features = encoder(torch.randn(3, 8000))
    assert embedding.shape == (3, 8) and torch.allclose(embedding.norm(dim=1), torch.ones(3))
    assert [f.shape for f in features] == [(3, 16, 25)]


def test_the_speaker_encoder_learns_to_tell_tones_apart(workplace):
    arguments = [*places(workplace), "data.speeds=[1.0]", "train.batch_size=8", "recipe.margin=0.0"]
    _, cls, sections, losses, config = train.read("configs/tiny/speaker.yaml", arguments)
    torch.manual_seed(0)
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    encoder, batch = recipe.modules["encoder"], next(recipe.batches(0))
    assert set(batch[1].tolist()) == {0, 1}
    optimizer = torch.optim.AdamW(encoder.parameters(), 5e-3)
    for step in range(100):
        ((_, turn),) = recipe.turns(batch, step)
        optimizer.zero_grad()
        turn["speaker"].backward()
        optimizer.step()
    cosines, _ = encoder.eval()(batch[0], classify=True)
    assert (cosines.argmax(1) == batch[1]).all()


def test_speaker_losses_are_nothing_between_equals_and_reach_the_wave(workplace):
    encoder = SpeakerEncoder(SpeakerEncoderConfig(width=16, layers=2, dim=8)).eval().requires_grad_(False)
    wav = 0.1 * torch.randn(2, 8000)
    distance, matching = speaker_losses(encoder, wav, wav.clone())
    assert abs(float(distance)) < 1e-6 and float(matching) == 0
    other = (0.1 * torch.randn(2, 8000)).requires_grad_()
    distance, matching = speaker_losses(encoder, wav, other)
    (distance + matching).backward()
    assert float(matching.detach()) > 0 and other.grad.abs().sum() > 0


def test_a_synthesizer_is_judged_by_a_speaker_encoder(workplace):
    _, cls, sections, losses, config = train.read(judged(workplace)[0], judged(workplace)[1:])
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    turns = dict(recipe.turns(next(recipe.batches(0)), 1))
    assert {"speaker", "voice"} <= set(turns["generator"])
    turns["generator"]["voice"].backward()
    assert any(p.grad is not None and p.grad.any() for p in recipe.modules["generator"].parameters())
    assert all(p.grad is None for p in recipe.speaker_encoder.parameters())


def test_the_speaker_losses_need_both_weights(workplace, capsys):
    assert train.main(judged(workplace, "train.run=none")[:-2] + ["train.run=none"]) == 2
    assert "'speaker'" in capsys.readouterr().err


def detail_encoder(**changes):
    torch.manual_seed(0)
    encoder = DetailEncoder(DetailConfig(width=16, channels=4, **changes), 8)
    torch.nn.init.normal_(encoder.out.weight)
    return encoder.eval()


def test_details_of_a_padded_batch_are_those_of_each_recording_alone():
    encoder, wav = detail_encoder(), 0.1 * torch.randn(2, 16000)
    lengths = torch.tensor([16000, 9600])
    wav[1, 9600:] = 0
    together = encoder(wav, lengths)
    assert together.shape == (2, 8, 50) and not together[1, :, 30:].any()
    torch.testing.assert_close(together[0], encoder(wav[:1])[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1, :, :30], encoder(wav[1:, :9600])[0], atol=1e-5, rtol=0)


def test_details_do_not_know_how_loud_or_bright_a_recording_is():
    encoder, wav = detail_encoder(), torch.randn(1, 16000)
    louder = encoder(2 * wav)  # noise well above the mel's floor
    torch.testing.assert_close(louder, encoder(wav), atol=1e-3, rtol=0)


def test_details_are_noisy_in_training_and_perturbed_where_asked():
    encoder, wav = detail_encoder(), 0.1 * torch.randn(1, 16000)
    assert torch.equal(encoder(wav), encoder(wav))
    assert not torch.allclose(encoder(wav, perturbation=PerturbationConfig()), encoder(wav), atol=1e-3)
    encoder.train()
    assert not torch.allclose(encoder(wav), encoder(wav), atol=1e-3)


def test_details_of_pieces_lie_where_the_target_does_and_not_in_text_to_vecs_features():
    encoder, wav = detail_encoder(), 0.1 * torch.randn(2, 16000)
    n = torch.tensor([16000, 16000])
    inputs = DetailInputs(wav, n, torch.tensor([7, 3]), torch.tensor([True, False]), None)
    pieces = encoder.pieces(inputs, 20)
    assert torch.equal(pieces[0], encoder(wav, n)[0, :, 7:27]) and not pieces[1].any()


def test_bands_must_divide_the_bins():
    with pytest.raises(ValueError, match="bands must divide audio.n_mels 80, got 30"):
        DetailConfig(bands=30)


def test_training_goes_on_from_a_synthesizer_without_details(workplace, capsys):
    assert train.main(synthesizer(workplace)) == 0
    first = workplace / "runs/tiny_synthesizer/step_00000002"
    more = [
        f"init={first}",
        "model.detail={width: 8, channels: 2}",
        "model.pooled_style.spectrum=true",
        "train.run=detailed",
        "recipe.adversarial_from=0",
    ]
    assert train.main(synthesizer(workplace, *more, "data.predicted_rate=0.0", "train.max_steps=3")) == 0
    before = HierSpeech.from_pretrained(first)
    after = HierSpeech.from_pretrained(workplace / "runs/detailed/step_00000003")
    assert before.detail_encoder is None and after.detail_encoder.config.channels == 2
    assert {k for k in after.state_dict() if k not in before.state_dict()} == {
        f"detail_encoder.{k}" for k in after.detail_encoder.state_dict()
    } | {"style_encoder.spectrum.weight"}
    start, end = (model.style_encoder.state_dict() for model in (before, after))
    assert any(not torch.equal(start[k], end[k]) for k in start), "the rest goes on learning"
    wrong = [f"init={first}", "model.latent=16", "model.detail={width: 8}", "train.run=other"]
    assert train.main(synthesizer(workplace, *wrong)) == 2
    assert "holds another model" in capsys.readouterr().err


def test_details_learn_from_recordings_and_not_from_text_to_vecs_features(workplace):
    changes = ["model.detail={width: 8, channels: 2}", "recipe.adversarial_from=9"]
    for rate, learns in ((0.0, True), (1.0, False)):
        arguments = synthesizer(workplace, *changes, f"data.predicted_rate={rate}")
        _, cls, sections, losses, config = train.read(arguments[0], arguments[1:])
        torch.manual_seed(0)
        recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
        dict(recipe.turns(next(recipe.batches(0)), 0))["generator"]["mel"].backward()
        gradients = [p.grad for p in recipe.generator.detail_encoder.parameters()]
        assert all(g is not None and bool(g.any()) == learns for g in gradients)


def test_the_speaker_encoder_is_validated_by_the_nearest_of_several_voices(workplace):
    pack = make_pack(workplace / "voices", n_utterances=8)
    lines = [json.loads(line) for line in (pack / "utterances.jsonl").read_text().splitlines()]
    write_utterances(pack, [line | {"split": "dev" if k >= 2 else "train"} for k, line in enumerate(lines)])
    arguments = [f"data.pack={pack}", f"train.runs_folder={workplace / 'runs'}"]
    _, cls, sections, losses, config = train.read("configs/tiny/speaker.yaml", arguments)
    torch.manual_seed(0)
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    assert len(recipe.dev) == 6 and len(set(recipe.dev_speakers)) == 3

    class Tones(torch.nn.Module):
        """Tells the made voices apart by their tones; the second halves are given in the name of row + `shift`."""

        def __init__(self, shift: int) -> None:
            super().__init__()
            self.weight, self.shifts = torch.nn.Parameter(torch.ones(1)), [0, shift]

        def forward(self, wav):
            spectrum = torch.fft.rfft(wav).abs().roll(self.shifts.pop(0), 0)
            return torch.nn.functional.normalize(spectrum, dim=1), []

    for shift, expected in ((0, 1.0), (2, 0.0)):  # two recordings of each speaker, one after another
        recipe.modules["encoder"] = Tones(shift)
        assert recipe.validate() == {"own_nearest": expected}


def test_conversion_hears_details_and_speech_from_text_does_not(tmp_path):
    plain = build_voice(tmp_path / "plain", "lite")
    model = HierSpeech.from_pretrained(plain / "synthesizer")
    model.config.detail = DetailConfig(width=8, channels=4)
    model.detail_encoder = DetailEncoder(model.config.detail, model.config.semantic.dim)
    torch.nn.init.zeros_(model.detail_encoder.out.weight)
    shutil.copytree(plain, tmp_path / "same")
    shutil.rmtree(tmp_path / "same/synthesizer")
    model.save_pretrained(tmp_path / "same/synthesizer")
    torch.nn.init.normal_(model.detail_encoder.out.weight, std=10.0)
    shutil.copytree(plain, tmp_path / "detailed")
    shutil.rmtree(tmp_path / "detailed/synthesizer")
    model.save_pretrained(tmp_path / "detailed/synthesizer")
    source, reference = recording(2.0), recording(2.5, 180)
    converted, spoken = {}, {}
    for name in ("plain", "same", "detailed"):
        converted[name] = VoiceConversion.from_pretrained(tmp_path / name)(source, reference, seed=0).audio
        spoken[name] = TextToSpeech.from_pretrained(tmp_path / name)("Hello.", reference, seed=0).audio
    assert (converted["plain"] == converted["same"]).all() and (spoken["plain"] == spoken["detailed"]).all()
    assert abs(converted["plain"] - converted["detailed"]).max() > 1e-3


def test_swapped_spans_come_from_the_example_before_in_about_the_share_asked_for():
    semantic = torch.arange(4.0).view(4, 1, 1).expand(4, 3, 400)
    torch.manual_seed(0)
    swapped = swap_spans(semantic, 0.3)
    moved = swapped != semantic
    assert torch.equal(swapped[moved], semantic.roll(1, 0)[moved]) and 0.2 < moved.float().mean() < 0.4
    assert (moved == moved[:, :1]).all()  # whole frames
    borders = moved[:, 0].int().diff(dim=1).abs().sum()
    assert borders < 0.1 * moved[:, 0].numel()  # spans, not single frames
    assert torch.equal(swap_spans(semantic, 0.0), semantic)


def test_a_style_with_the_long_term_spectrum_hears_valid_frames_only_and_starts_as_without():
    torch.manual_seed(0)
    style = StylePooling(StylePoolingConfig(n_mels=16, width=8, layers=1, out=6, spectrum=True)).eval()
    mel, mask = torch.randn(2, 16, 30), torch.ones(2, 30, dtype=torch.bool)
    plain = StylePooling(StylePoolingConfig(n_mels=16, width=8, layers=1, out=6)).eval()
    plain.load_state_dict({k: v for k, v in style.state_dict().items() if not k.startswith("spectrum")})
    assert torch.equal(style(mel, mask), plain(mel, mask))
    torch.nn.init.normal_(style.spectrum.weight)
    mask[1, 20:] = False
    together = style(mel, mask)
    torch.testing.assert_close(together[1], style(mel[1:, :, :20])[0])
    assert not torch.allclose(together, plain(mel, mask))
    assert not torch.allclose(style(mel + 3.0, mask), together)  # a level that the layer norms would hide


def test_the_long_term_spectrum_is_the_mean_of_log_mels_and_of_power():
    mel = torch.tensor([[[0.0, 2.0, 9.0]]])
    found = long_term_spectrum(mel, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, math.log((1 + math.exp(2.0)) / 2)]]))


def test_prompts_of_random_length(workplace):
    arguments = synthesizer(
        workplace, "data.prompt_seconds=1.0", "data.shortest_prompt=0.3", "train.batch_size=6"
    )
    _, cls, sections, losses, config = train.read(arguments[0], arguments[1:])
    recipe = cls(sections.model, sections.data, sections.recipe, losses, config)
    batches = recipe.batches(0)
    lengths = torch.cat([next(batches).n_prompt for _ in range(4)])
    batch = next(batches)
    assert batch.prompt.shape == (6, 16000) and lengths.min() >= 4800 and lengths.max() <= 16000
    assert len(lengths.unique()) > 8
    for prompt, n in zip(batch.prompt, batch.n_prompt.tolist(), strict=True):
        assert not prompt[n:].any() and prompt[n - 100 : n].any()
