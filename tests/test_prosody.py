"""Pitch, range, energy, speed, pauses and mixed voices: measured, alike in every way of speaking, refused out of range."""

import numpy as np
import pytest
from tiny_voice import recording

import infer
from hierspeech import TextToSpeech, VoicePrompt
from hierspeech.pipelines.arguments import piece_generator
from speech.f0 import extract_f0

pytestmark = pytest.mark.filterwarnings("ignore:the voice was trained on")

SENTENCE = "Nobody knew where they were all along."
MARKED = "Hello <pitch=5>there</pitch>, <energy=-9>you.</energy> <speed=0.7>I am <range=0>well.</speed> <pause=0.7>Good <mix=0.8>bye."


@pytest.fixture(scope="module")
def other(tts):
    return tts.prompt(recording(2.0, 220.0))


@pytest.fixture(scope="module")
def lite():
    return TextToSpeech.from_pretrained("lite", "cpu")


def log_f0(speech):
    f0 = extract_f0(speech.audio, speech.sample_rate, f0_max=500.0)
    return np.log(f0[f0 > 0])


def test_average_of_prompts(prompt, other):
    mean = VoicePrompt.average([prompt, other])
    assert np.allclose(mean.ttv_style, (prompt.ttv_style + other.ttv_style) / 2)
    assert mean.log_f0_mean == pytest.approx((prompt.log_f0_mean + other.log_f0_mean) / 2)
    assert mean.peak == pytest.approx((prompt.peak + other.peak) / 2)
    third = VoicePrompt.average([prompt, other], [1, 3])
    assert np.allclose(third.synthesizer_style, VoicePrompt.mix(prompt, other, 0.75).synthesizer_style)
    assert VoicePrompt.average([other, prompt]).log_f0_std == pytest.approx(mean.log_f0_std)
    for share, same in ((0.0, prompt), (1.0, other)):
        mixed = VoicePrompt.mix(prompt, other, share)
        assert mixed.ttv_style.equal(same.ttv_style) and mixed.log_f0_mean == same.log_f0_mean


def test_a_whisper_has_no_say_in_the_pitch(prompt, other):
    from dataclasses import replace

    whisper = replace(other, log_f0_mean=0.0, log_f0_std=0.0, peak=None)
    mean = VoicePrompt.average([prompt, whisper])
    assert mean.log_f0_mean == prompt.log_f0_mean and mean.peak is None


def test_prompts_that_do_not_fit_are_refused(prompt, other):
    from dataclasses import replace

    for given, said in (
        (([],), "at least one"),
        (([prompt, replace(other, voice="else-1")],), "one voice"),
        (([prompt, other], [1]), "one for each"),
        (([prompt, other], [0, 0]), "not all 0"),
        (([prompt, other], [2, -1]), "none negative"),
        (([prompt, other], [1, float("nan")]), "none negative"),
    ):
        with pytest.raises(ValueError, match=said):
            VoicePrompt.average(*given)
    with pytest.raises(ValueError, match="mix 2"):
        VoicePrompt.mix(prompt, other, 2)


def test_a_list_of_references_is_their_average(tts, prompt, other):
    ours = tts("Hi.", [prompt, recording(2.0, 220.0)], seed=0)
    assert np.array_equal(ours.audio, tts("Hi.", VoicePrompt.average([prompt, other]), seed=0).audio)
    batch = next(tts.batch([{"text": "Hi.", "reference": [prompt, other]}], seed=0)).speech
    assert abs(batch.audio - ours.audio).max() < 1e-4
    with pytest.raises(ValueError, match="list of references is empty"):
        tts("Hi.", [])


def test_pitch_is_shifted_and_spread(lite):
    plain = extract_f0(lite(SENTENCE, seed=0).audio, 16000, f0_max=500.0)
    for semitones in (-4, 5):
        moved = extract_f0(lite(SENTENCE, seed=0, pitch_shift=semitones).audio, 16000, f0_max=500.0)
        # frame by frame: which ones the tracker calls voiced depends on the pitch
        both = (plain > 0) & (moved > 0)
        change = np.log(moved[both] / plain[both])
        assert np.median(change) == pytest.approx(semitones * np.log(2) / 12, abs=0.01)
    # by a voice whose widened melody, 400 Hz at most, the tracker follows
    plain, wide, flat = (
        log_f0(lite(SENTENCE, "emma", seed=0, pitch_range=factor)) for factor in (1.0, 1.6, 0.0)
    )
    assert wide.std() == pytest.approx(1.6 * plain.std(), rel=0.1) and flat.std() < 0.1 * plain.std()


def test_a_word_is_shifted_alone(lite):
    plain = lite("Many boys. Are you away?", seed=0)
    moved = lite("Many boys. Are <pitch=6>you</pitch> away?", seed=0)
    assert [w.text for w in moved.words] == [w.text for w in plain.words]
    assert [(w.start, w.end) for w in moved.words] == [(w.start, w.end) for w in plain.words]
    assert [w.offset for w in moved.words] == [0, 5, 11, 24, 36]

    def median(speech, word):
        a, b = (int(t * 16000) for t in (word.start, word.end))
        f0 = extract_f0(speech.audio, 16000, f0_max=500.0)[a // 80 : b // 80]
        return np.log(np.median(f0[f0 > 0]))

    change = [median(moved, word) - median(plain, word) for word in plain.words]
    assert change[3] > 0.25 and max(map(abs, change[:2])) < 0.02


def test_energy_moves_the_level_and_words(lite, tts, prompt):
    def db(audio):
        return 10 * np.log10(np.mean(audio**2))

    plain, soft = (lite(SENTENCE, seed=0, energy=e) for e in (0, -9))
    assert db(soft.audio) - db(plain.audio) == pytest.approx(-9, abs=0.01)
    loud = tts("Hello there.", prompt, seed=0, energy=20, level="peak")
    assert np.abs(loud.audio).max() <= 0.9991
    marked = lite("Nobody knew. <energy=-12>Where were they?", seed=0)
    half = lite("Nobody knew. Where were they?", seed=0)
    a, b = (int(w.start * 16000) for w in (marked.words[1], marked.words[2]))
    ratio = [db(s.audio[b:]) - db(s.audio[a:b]) for s in (marked, half)]
    assert ratio[0] - ratio[1] == pytest.approx(-12, abs=1.5)
    stream = np.concatenate([c.audio for c in lite.stream(SENTENCE, seed=0, energy=-9)])
    level = np.concatenate([c.audio for c in lite.stream(SENTENCE, seed=0)])
    assert db(stream) - db(level) == pytest.approx(-9, abs=0.5)


def test_speed_and_pauses_of_parts(tts, prompt):
    plain = tts("Hello. Good bye.", prompt, seed=0)
    slow = tts("Hello. <speed=0.5>Good bye.", prompt, seed=0)
    assert slow.words[0].end == plain.words[0].end and slow.seconds > plain.seconds
    slower = tts("<speed=0.5>Good bye.", prompt, seed=0, speed=2.0)
    assert len(slower.audio) == len(tts("Good bye.", prompt, seed=0).audio)
    for seconds in (0.0, 1.3):
        paused = tts(f"Hello. <pause={seconds}> Good bye.", prompt, seed=0)
        first, second = (
            tts.speak(ids, prompt, generator=piece_generator(0, k))
            for k, ids in enumerate(tts.encode("Hello. <pause=0>Good bye.")[0])
        )
        assert paused.seconds == pytest.approx((len(first) + len(second)) / 16000 + seconds, abs=1e-3)


def test_voices_are_mixed_by_sentence(tts, prompt, other):
    text = "One.\n\nTwo."
    whole = tts(text, prompt, seed=0, mix_with=other, mix=0.3)
    assert np.array_equal(whole.audio, tts(text, VoicePrompt.mix(prompt, other, 0.3), seed=0).audio)
    listed = tts(text, prompt, seed=0, mix_with=other, mix=[0.0, 1.0])
    inline = tts("<mix=0>One.\n\n<mix=1>Two.", prompt, seed=0, mix_with=other)
    assert np.array_equal(listed.audio, inline.audio)
    ends = tts("<mix=0>One.\n\n<mix=1>Two.", prompt, seed=0, mix_with=prompt)
    assert len(ends.audio) != len(listed.audio) or not np.array_equal(ends.audio, listed.audio)
    default = tts("One.", prompt, seed=0, mix_with=other)
    assert np.array_equal(default.audio, tts("One.", prompt, seed=0, mix_with=other, mix=0.5).audio)


def test_every_way_of_speaking_says_marks_alike(tts, prompt, other, tmp_path, monkeypatch):
    from hierspeech.pipelines import output
    from hierspeech.pipelines import tts as module
    from hierspeech.pipelines.stream_output import Leveller
    from speech.text.chunking import split_text

    options = {"seed": 2, "pitch_shift": 1.5, "pitch_range": 0.8, "energy": -3.0, "mix_with": other}
    call = tts(MARKED, prompt, **options)
    result = next(tts.batch([{"text": MARKED, "reference": prompt}], **options)).speech
    assert len(result.audio) == len(call.audio) and abs(result.audio - call.audio).max() < 1e-3
    assert result.words == call.words
    tts.speak_to_file(MARKED, tmp_path / "file.wav", prompt, **options)
    call.save(tmp_path / "call.wav")
    assert (tmp_path / "file.wav").read_bytes() == (tmp_path / "call.wav").read_bytes()

    monkeypatch.setattr(module, "stream_pieces", split_text)
    monkeypatch.setattr(output, "set_level", lambda wav, *others: wav)
    monkeypatch.setattr(Leveller, "__call__", lambda self, wav: wav)
    chunks = list(tts.stream(MARKED, prompt, **options))
    streamed, call = np.concatenate([chunk.audio for chunk in chunks]), tts(MARKED, prompt, **options).audio
    assert streamed.shape == call.shape and abs(streamed - call).max() < 1e-4


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("Hi.", {"pitch_shift": 13}, "pitch shift 13: expected a number from -12 to 12"),
        ("Hi.", {"pitch_range": -1}, "pitch range"),
        ("Hi.", {"energy": 99}, "energy"),
        ("Hi.", {"mix": 0.5}, "mix_with"),
        ("Hi.", {"mix": 1.5, "mix_with": "x"}, "mix 1.5"),
        ("Hi. Ho.", {"mix": [0.5], "mix_with": recording(1.0)}, "1 shares, expected one for each of 2"),
        ("<mix=0.5>Hi.", {}, "<mix=0.5>"),
        ("Hi <pitch=99>there.", {}, "<pitch=99>"),
        ("<speed=2>", {}, "empty"),
    ],
)
def test_what_cannot_be_is_refused(tts, prompt, text, options, said):
    with pytest.raises(ValueError, match=said):
        tts(text, prompt, **options)
    with pytest.raises(ValueError, match=said):
        list(tts.stream(text, prompt, **options))
    try:
        error = next(tts.batch([{"text": text, "reference": prompt}], **options)).error
    except ValueError as raised:
        error = str(raised)
    assert said.split(":")[0] in error


def test_command_line(folder, tmp_path, capsys):
    import soundfile

    soundfile.write(tmp_path / "a.wav", recording(1.0), 16000)
    soundfile.write(tmp_path / "b.wav", recording(1.0, 200.0), 16000)
    voice = ["--device", "cpu", "--voice", str(folder), "--text", MARKED]
    refs = [word for name in "ab" for word in ("--ref", str(tmp_path / f"{name}.wav"))]
    more = [
        "--pitch-shift",
        "2",
        "--pitch-range",
        "1.2",
        "--energy=-3",
        "--mix-with",
        refs[3],
        "--mix",
        "0.2",
    ]
    assert infer.main([*voice, *refs, *more, "--out", str(tmp_path / "out.wav")]) == 0
    assert infer.main([*voice, *refs, *more, "--stream", "--out", str(tmp_path / "out2.wav")]) == 0
    assert infer.main([*voice, *refs, "--out", refs[1]]) == 2  # it would replace a reference
    for option in ("--pitch-shift", "--pitch-range", "--energy"):
        assert infer.main([*voice, *refs, option, "99", "--out", str(tmp_path / "no.wav")]) == 2
        assert infer.main(["--text", "x", "--mode", "spear", option, "1"]) == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 7 and not (tmp_path / "no.wav").exists()


# long enough for voiced frames in any draw of weights and on any processor
TEXT_OF_TABLE = "Hello there my friend how are you doing on this fine morning."


def test_a_table_has_columns_for_them(folder, tmp_path):
    table = tmp_path / "t.csv"
    rows = [("1.wav", "4", ""), ("2.wav", "", ""), ("3.wav", "", "-40")]
    lines = [f"{TEXT_OF_TABLE},{tmp_path / out},{pitch},{energy}\n" for out, pitch, energy in rows]
    table.write_text("text,out,pitch_shift,energy\n" + "".join(lines))
    (tmp_path / "a.wav").write_bytes(b"")
    import soundfile

    soundfile.write(tmp_path / "a.wav", recording(1.0), 16000)
    arguments = ["--batch", str(table), "--ref", str(tmp_path / "a.wav"), "--voice", str(folder)]
    assert infer.main(["--device", "cpu", *arguments]) == 2
    assert (tmp_path / "1.wav").read_bytes() != (tmp_path / "2.wav").read_bytes()
    assert not (tmp_path / "3.wav").exists()
