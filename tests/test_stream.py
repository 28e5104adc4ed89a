"""`stream` of text to speech and voice conversion: the samples of a call, in chunks, begun early and ended at will."""

import numpy as np
import pytest
import soundfile
from tiny_voice import build_voice, recording

from hierspeech import TextToSpeech, VoiceConversion
from hierspeech.pipelines import sentences, streaming, tts
from hierspeech.pipelines.output import OUTPUT_RATES
from hierspeech.pipelines.stream_output import Leveller
from hierspeech.pipelines.streaming import first_audio_seconds, window_sizes
from speech.text.chunking import split_text

TEXT = "Hello there, how are you? I am well. This is a test of speech. "


@pytest.fixture(scope="module", params=["lite", "official", "lite with speechsr", "official with speechsr"])
def voice(request, tmp_path_factory):
    family, _, sr = request.param.partition(" with ")
    published = {} if family == "lite" else {"recordings": "as_recorded", "level": "peak"}
    folder = tmp_path_factory.mktemp("voice") / request.param.replace(" ", "-")
    folder.mkdir()
    return build_voice(folder, family, bool(sr), noise_scale=0.5, **published)


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices") / "lite"
    folder.mkdir()
    return build_voice(folder, "lite")


@pytest.fixture
def unlevelled(monkeypatch):
    """Both ways without their level: that of a whole is not known while it is spoken."""
    from hierspeech.pipelines import output

    monkeypatch.setattr(output, "set_level", lambda wav, *others: wav)
    monkeypatch.setattr(Leveller, "__call__", lambda self, wav: wav)


def joined(chunks):
    chunks = list(chunks)
    assert all(len(chunk.audio) and chunk.audio.dtype == np.float32 for chunk in chunks)
    assert len({chunk.sample_rate for chunk in chunks}) == 1
    return np.concatenate([chunk.audio for chunk in chunks])


@pytest.mark.parametrize("rate", OUTPUT_RATES)
@pytest.mark.parametrize("text", ["Hi.", TEXT])
def test_the_joined_stream_is_the_speech_of_a_call(voice, unlevelled, monkeypatch, text, rate):
    monkeypatch.setattr(tts, "stream_pieces", split_text)  # the same pieces, so the same features
    pipeline, options = TextToSpeech.from_pretrained(voice, "cpu"), {"seed": 1, "output_sample_rate": rate}
    whole = pipeline(text, recording(), **options)
    wav = joined(pipeline.stream(text, recording(), **options))
    assert wav.shape == whole.audio.shape
    assert abs(wav - whole.audio).max() < 1e-4 and abs(wav).max() > 1e-3


@pytest.mark.parametrize("sizes", [[1], [3], [7, 50], [1000]])
def test_window_sizes_do_not_change_the_samples(lite, unlevelled, monkeypatch, sizes):
    pipeline = TextToSpeech.from_pretrained(lite, "cpu")
    expected = joined(pipeline.stream(TEXT, recording(), seed=1))
    monkeypatch.setattr(streaming, "window_sizes", lambda *others: iter(sizes * 10000))
    assert abs(joined(pipeline.stream(TEXT, recording(), seed=1)) - expected).max() < 1e-4


@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_first_chunk_does_not_depend_on_later_text(voice, rate):
    pipeline = TextToSpeech.from_pretrained(voice, "cpu")
    prompt = pipeline.prompt(recording())
    options = {"seed": 3, "output_sample_rate": rate}
    short = next(pipeline.stream("This is the very first sentence.", prompt, **options))
    long = next(pipeline.stream("This is the very first sentence. " + TEXT * 20, prompt, **options))
    n = min(len(short.audio), len(long.audio))
    assert n and np.array_equal(short.audio[:n], long.audio[:n])


def test_later_text_is_not_touched_before_the_first_chunk(lite, monkeypatch):
    seen = []
    original = sentences.text_to_phonemes
    monkeypatch.setattr(
        sentences, "text_to_phonemes", lambda text, *rest: (seen.append(text), original(text, *rest))[1]
    )
    pipeline = TextToSpeech.from_pretrained(lite, "cpu")
    stream = pipeline.stream(TEXT * 50, recording())
    assert len(seen) == 1
    next(stream)
    assert len(seen) <= 2 and sum(map(len, seen)) < 400


def test_closing_a_stream_ends_the_work(lite, monkeypatch):
    spoken = []
    pipeline = TextToSpeech.from_pretrained(lite, "cpu")
    original = pipeline._text_to_vec
    monkeypatch.setattr(pipeline, "_text_to_vec", lambda *given: (spoken.append(1), original(*given))[1])
    stream = pipeline.stream(TEXT * 50, recording())
    next(stream)
    stream.close()
    assert spoken == [1] and list(stream) == []


def test_conversion_in_chunks_is_that_of_a_call(voice, unlevelled):
    pipeline = VoiceConversion.from_pretrained(voice, "cpu")
    for rate, seconds in ((16000, 0.5), (24000, 1.01), (48000, 2.0)):
        options = {"seed": 1, "output_sample_rate": rate, "sample_rate": 16000}
        source = recording(seconds)
        whole = pipeline(source, recording(), **options)
        wav = joined(pipeline.stream(source, recording(), **options))
        assert wav.shape == whole.audio.shape
        assert abs(wav - whole.audio).max() < 1e-4


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_long_file_is_converted_block_by_block(lite, tmp_path, monkeypatch, rate):
    from hierspeech.pipelines import source_reader

    monkeypatch.setattr(source_reader, "BLOCK_SECONDS", 5)
    blocks = []
    original = source_reader.load_audio
    monkeypatch.setattr(
        source_reader,
        "load_audio",
        lambda *given, **named: (blocks.append(named), original(*given, **named))[1],
    )
    wav = np.concatenate([np.zeros(6 * rate, np.float32), recording(30.5, sample_rate=rate)])  # begins silent
    soundfile.write(tmp_path / "long.wav", wav, rate, subtype="FLOAT")
    pipeline = VoiceConversion.from_pretrained(lite, "cpu")
    stream = pipeline.stream(tmp_path / "long.wav", recording())
    next(stream)
    assert len(blocks) <= 4 and all(block["max_seconds"] == 5 for block in blocks)
    assert len(joined(pipeline.stream(tmp_path / "long.wav", recording()))) == 36.5 * 16000


BAD_TEXT = [
    (("",), {}, "empty"),
    (("\ue000",), {}, "nothing that can be spoken"),
    (("Hi. <pl>Cześć. <qq>x",), {}, "<qq>"),
    (("Hi.",), {"language": "xx-nowhere"}, "xx-nowhere"),
    (("Hi.",), {"speed": 9.0}, "speed"),
    (("Hi.",), {"output_sample_rate": 8000}, "8000"),
    (("Hi.",), {"level": "high"}, "level"),
    (("Hi.",), {"seed": -1}, "seed"),
    (("Hi.", np.zeros(16000, np.float32)), {}, "silent"),
]


@pytest.mark.parametrize(("given", "named", "said"), BAD_TEXT)
def test_bad_input_is_refused_at_the_call(lite, given, named, said):
    given = given if len(given) > 1 else (*given, recording())
    with pytest.raises(ValueError, match=said) as caught:
        TextToSpeech.from_pretrained(lite, "cpu").stream(*given, **named)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros(16000, np.float32), "silent"),
        (np.zeros(0, np.float32), "no samples"),
        (np.full(16000, np.nan, np.float32), "finite"),
        (np.zeros((2, 16000), np.float32), "shape"),
        (recording(0.05), "too short"),
        ("missing.wav", "missing.wav"),
    ],
)
def test_a_bad_source_is_refused_at_the_call(lite, source, said):
    with pytest.raises(ValueError, match=said):
        VoiceConversion.from_pretrained(lite, "cpu").stream(source, recording())


def test_symbols_without_a_sound_come_with_the_chunks(lite):
    pipeline = TextToSpeech.from_pretrained(lite, "cpu")
    text = "Hello \ue000. Again and again and so on. \ue001"
    chunks = list(pipeline.stream(text, recording()))
    met = [symbol for chunk in chunks for symbol in chunk.unknown]
    assert met == pipeline.encode(text)[1] and len(met) == 2


def test_window_sizes_double():
    sizes = window_sizes(4, 20)
    assert [next(sizes) for _ in range(5)] == [4, 8, 16, 20, 20]


def test_first_audio_seconds(lite):
    pipeline = TextToSpeech.from_pretrained(lite, "cpu")
    first, sound, everything = first_audio_seconds(lambda: pipeline.stream(TEXT, recording()), rest=True)
    assert 0 < first < everything and sound > 0
    assert first_audio_seconds(lambda: pipeline.stream(TEXT, recording()))[2] is None
