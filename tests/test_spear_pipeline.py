"""The token way from text to sound: calls, batches, streams, conversion, prompts, scripts, and what is refused."""

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny_spear import build_spear_voice
from tiny_voice import build_voice, recording

import convert
import infer
from hierspeech.pipelines.spear import Acoustics, Reading, SpearTTS
from hierspeech.pipelines.spear_prompt import SpearPrompt
from spear.text_to_semantic.parts import TokenTable

WAYS = ("ar", "nar", "bridge")
TEXT = "hello there"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_spear_voice(tmp_path_factory.mktemp("spear") / "tiny-spear")


@pytest.fixture(scope="module")
def tts(folder):
    return SpearTTS.from_pretrained(folder, "cpu")


@pytest.fixture(scope="module")
def someone(folder):
    path = folder.parent / "someone.wav"
    soundfile.write(path, recording(3.2), 16000)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_a_seed_gives_the_same_speech_and_another_seed_other_speech(tts, someone, way):
    said = [
        tts.synthesize(
            TEXT,
            someone,
            acoustics=Acoustics(way, temperature=1.0),
            reading=Reading(temperature=1.0),
            seed=seed,
        )
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(said[0].audio, said[1].audio)
    assert said[0].audio.shape != said[2].audio.shape or not np.array_equal(said[0].audio, said[2].audio)
    assert np.isfinite(said[0].audio).all() and said[0].sample_rate == 16000
    tokens = sum(len(row) for row in said[0].tokens)
    assert len(said[0].audio) == tokens * 640, "a token of 25 a second lasts 640 samples"
    assert all(
        codes.shape == (4, 2 * len(row)) for codes, row in zip(said[0].codes, said[0].tokens, strict=False)
    )
    assert bool(said[0].codes) == (way != "bridge")


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_says_what_single_calls_say(tts, someone, way):
    texts, acoustics = [TEXT, "a much longer sentence of several words. And another.", "no"], Acoustics(way)
    together = tts.batch(texts, someone, acoustics=acoustics, seed=3)
    for text, speech in zip(texts, together, strict=True):
        alone = tts.synthesize(text, someone, acoustics=acoustics, seed=3)
        assert [row.tolist() for row in alone.tokens] == [row.tolist() for row in speech.tokens]
        assert np.abs(alone.audio - speech.audio).max() < 1e-4


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_says_what_a_call_says(tts, someone, way):
    chunks = list(tts.stream(TEXT, someone, acoustics=Acoustics(way), seed=3, level="peak"))
    whole = tts.synthesize(TEXT, someone, acoustics=Acoustics(way), seed=3, level="peak")
    joined = np.concatenate([chunk.audio for chunk in chunks])
    assert joined.shape == whole.audio.shape
    assert np.corrcoef(joined, whole.audio)[0, 1] > 0.999, (
        "but for the level, which a stream does not know in advance"
    )
    if way == "ar":
        assert len(chunks) > 1


def test_a_stream_that_nobody_wants_any_more_ends_its_thread(tts, someone):
    import threading

    before = threading.active_count()
    stream = tts.stream(TEXT, someone, seed=3)
    next(stream)
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("prompting", ["style", "continue", "both"])
@pytest.mark.parametrize("way", ["ar", "nar"])
def test_prompting_changes_the_codes_and_not_their_number(tts, someone, way, prompting):
    speech = tts.synthesize(TEXT, someone, acoustics=Acoustics(way, prompting), seed=3)
    plain = tts.synthesize(TEXT, someone, acoustics=Acoustics(way), seed=3)
    assert speech.codes[0].shape == plain.codes[0].shape
    assert torch.equal(speech.codes[0], plain.codes[0]) == (prompting == "style")


def test_a_saved_prompt_speaks_as_its_recording(tts, someone, tmp_path):
    prompt = tts.clone(someone)
    prompt.save(tmp_path / "me.safetensors")
    again = SpearPrompt.load(tmp_path / "me.safetensors")
    for a in (Acoustics("ar", "both"), Acoustics("nar", "both"), Acoustics("bridge")):
        spoken = [tts.synthesize(TEXT, who, acoustics=a, seed=1).audio for who in (someone, again)]
        assert np.array_equal(*spoken)


def test_conversion_keeps_the_length_and_takes_arrays(tts, someone):
    wav = recording(1.6, 200.0)
    for way in WAYS:
        speech = tts.resynthesize(wav, someone, acoustics=Acoustics(way), seed=0)
        assert abs(speech.seconds - 1.6) < 0.05
    assert tts.encode_semantic(wav).shape == (40,)
    assert tts.encode_acoustic(wav).shape == (4, 80)


def test_a_rate_of_speaking_and_a_continuation_reach_the_model(tts):
    seen = {}
    generate = tts.voice.text_to_semantic.generate

    def spy(*arguments, **options):
        seen.update(options)
        return generate(*arguments, **options)

    tts.voice.text_to_semantic.generate = spy
    try:
        tts.read([TEXT], speed=2.0, reading=Reading(speaking_rate=10.0), seeds=[1])
        assert seen["rate"] == 20.0 and seen["prompt"] is None
        tts.read([TEXT], seeds=[1], continue_from=("good day", torch.tensor([1, 2, 3])))
        assert seen["rate"] is None and seen["prompt"].tolist() == [[1, 2, 3]]
    finally:
        del tts.voice.text_to_semantic.generate


def test_files_and_notebooks(tts, someone, tmp_path):
    speech = tts.to_file(TEXT, tmp_path / "x.wav", someone, seed=1, output_sample_rate=24000)
    assert soundfile.info(tmp_path / "x.wav").samplerate == 24000 and speech.sample_rate == 24000
    pytest.importorskip("IPython")
    assert "audio" in tts.to_notebook(TEXT, someone, seed=1)._repr_html_()


def test_callbacks_hear_of_every_token_and_may_stop(tts, someone):
    steps = []
    speech = tts.synthesize(TEXT, someone, seed=1, callback=lambda step, token: steps.append(step))
    assert len(steps) in (len(speech.tokens[0]), len(speech.tokens[0]) + 1)

    def stop(step, token):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tts.synthesize(TEXT, someone, seed=1, callback=stop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": " "}, "the text is empty"),
        ({"speed": 9.0}, "speed 9: expected a number from 0.25 to 4"),
        ({"acoustics": Acoustics("mp3")}, "decoder 'mp3': the voice 'tiny-spear' has ar, nar, bridge"),
        ({"acoustics": Acoustics("ar", "shout")}, "prompting 'shout': expected one of style, continue, both"),
        ({"level": "prompt"}, "level 'prompt'"),
        ({"output_sample_rate": 8000}, "output sample rate 8000"),
        ({"speaker": "nobody"}, "nobody: no such sound file"),
    ],
)
def test_what_a_call_refuses_by_name(tts, someone, options, message):
    options = {"text": TEXT, "speaker": someone} | options
    with pytest.raises(ValueError, match=message):
        tts.synthesize(**options)


def test_a_prompt_of_another_voice_is_refused(tts, someone, tmp_path):
    prompt = tts.clone(someone)
    prompt.voice = "other-1"
    with pytest.raises(
        ValueError, match="made with the voice 'other-1', but this voice is 'tiny-spear-1 on "
    ):
        tts.synthesize(TEXT, prompt)
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not a saved prompt of a token voice"):
        tts.synthesize(TEXT, tmp_path / "x.safetensors")


def test_a_prompt_of_another_training_of_the_base_voice_is_refused(tts, someone, monkeypatch):
    prompt = tts.clone(someone)  # its bridge style is the base's synthesizer's
    monkeypatch.setattr(tts.voice.base.description, "version", tts.voice.base.description.version + 1)
    with pytest.raises(ValueError, match="the prompt was made with the voice 'tiny-spear-1 on tiny-1'"):
        tts.synthesize(TEXT, prompt)


def test_the_shipped_prompts_are_of_the_shipped_voices():
    from hierspeech.pipelines.spear_voice import find_spear_voice, read_spear_description
    from hierspeech.pipelines.voice import VOICES_FOLDER, read_description

    folder = find_spear_voice("lite-spear")
    token_voice = read_spear_description(folder)
    base = read_description(VOICES_FOLDER / token_voice.base)
    tag = f"{token_voice.name}-{token_voice.version} on {base.name}-{base.version}"
    assert token_voice.prompts
    for name in token_voice.prompts:
        assert SpearPrompt.load(folder / "prompts" / f"{name}.safetensors").voice == tag


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantic_to_acoustic": None, "masked": None, "bridge": None}, "tokens must become sound"),
        ({"codec": None}, "acoustic tokens need a codec"),
        ({"tokenizer": "../x"}, "expected a plain name"),
        ({"format": 9}, "reads format 1"),
        ({"decoder": "nar", "masked": None}, "decoder is 'nar', which this voice does not have"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_broken_descriptions_are_refused(folder, tmp_path, changes, message):
    values = json.loads((folder / "spear.json").read_text())
    (tmp_path / "spear.json").write_text(json.dumps(values | changes))
    with pytest.raises(ValueError, match=message):
        SpearTTS.from_pretrained(tmp_path, "cpu")


def test_a_voice_says_its_decoder(folder, tmp_path):
    from hierspeech.pipelines.spear_sound import pick_way

    assert pick_way(None, SpearTTS.from_pretrained(folder, "cpu").voice) == "ar"
    other = build_spear_voice(folder.parent / "other", folder.parent / "tiny", decoder="bridge")
    assert pick_way(None, SpearTTS.from_pretrained(other, "cpu").voice) == "bridge"


def test_a_voice_says_how_closely_its_models_follow(folder, someone):
    follows = {"guidance": 30.0, "acoustic_guidance": 3.0}
    other = build_spear_voice(folder.parent / "close", folder.parent / "tiny", **follows)
    close, plain = (SpearTTS.from_pretrained(place, "cpu") for place in (other, folder))

    def said(tts, text=None, sound=None):
        reading, acoustics = Reading(guidance=text), Acoustics("ar", guidance=sound)
        speech = tts.synthesize(TEXT, someone, reading=reading, acoustics=acoustics, seed=1)
        return speech.tokens[0].tolist(), speech.codes[0].tolist()

    assert said(close) == said(plain, 30.0, 3.0)
    assert said(close, 1.0, 1.0) == said(plain)
    assert said(close)[0] != said(plain)[0]
    assert said(close, 1.0)[0] == said(plain)[0] and said(close, 1.0)[1] != said(plain)[1]


def test_a_voice_is_published_of_its_parts(folder, someone, tmp_path):
    from hierspeech.pipelines.publish_spear import main

    build_voice(tmp_path / "tiny", "lite")
    out = tmp_path / "mine"
    parts = [
        f"--{name}={folder / name}" for name in ("tokenizer", "t2s", "s2a", "soundstorm", "codec", "bridge")
    ]
    assert main([str(out), *parts, "--base", "tiny", "--decoder", "nar", "--prompt", f"me={someone}"]) == 0
    spoken = SpearTTS.from_pretrained(out, "cpu").synthesize(TEXT, "me", seed=1)
    assert spoken.codes and np.isfinite(spoken.audio).all()
    assert main([str(out), *parts, "--base", "tiny"]) == 2, "it is there already"
    assert main([str(tmp_path / "no"), "--t2s", str(folder / "t2s")]) == 2
    assert not (tmp_path / "no").exists()


def test_the_scripts_speak_and_convert(folder, someone, tmp_path, capsys):
    out = tmp_path / "out.wav"
    arguments = ["--ref", str(someone), "--device", "cpu", "--out", str(out)]
    spear = ["--mode", "spear", "--voice", str(folder)]
    assert infer.main(["--text", TEXT, *arguments, *spear, "--decoder", "nar", "--top-p", "0.9"]) == 0
    assert soundfile.info(out).samplerate == 16000
    assert infer.main(["--text", TEXT, *arguments, "--voice", str(folder), "--stream"]) == 0, (
        "the voice says the mode"
    )
    assert convert.main(["--source", str(someone), *arguments, *spear]) == 0
    assert infer.main(["--text", TEXT, *arguments, *spear, "--noise-scale", "1"]) == 2
    assert infer.main(["--text", TEXT, *arguments, "--temperature", "1"]) == 2
    assert convert.main(["--source", str(someone), *arguments, *spear, "--articulation", "0.5"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert [line for line in errors if "came to no end" not in line] == [
        "infer.py: --noise-scale: expected without --mode spear only.",
        "infer.py: --temperature: expected with --mode spear only.",
        "convert.py: --articulation: expected without --mode spear only.",
    ]


def test_speech_that_comes_to_no_end_is_said_so(folder, someone, tmp_path, monkeypatch, capsys):
    logits = TokenTable.logits

    def endless(table, x):
        found = logits(table, x)
        return torch.cat([found[..., :-1], torch.full_like(found[..., -1:], -torch.inf)], -1)

    monkeypatch.setattr(TokenTable, "logits", endless)
    arguments = ["--text", TEXT, "--ref", str(someone), "--device", "cpu", "--voice", str(folder)]
    for stream in ([], ["--stream"]):
        assert infer.main([*arguments, "--out", str(tmp_path / "out.wav"), *stream]) == 0
        said = capsys.readouterr().err.strip().splitlines()
        assert [line.partition(":")[0] for line in said] == ["infer.py"]
        assert f"came to no end within 40 tokens of {TEXT!r}" in said[0]


def test_a_voice_that_is_none_is_named(tmp_path, someone, capsys):
    build_voice(tmp_path / "tiny", "lite")
    arguments = ["--text", TEXT, "--mode", "spear", "--voice", str(tmp_path / "tiny"), "--ref", str(someone)]
    assert infer.main(arguments) == 2
    assert "this folder has no spear.json" in capsys.readouterr().err
