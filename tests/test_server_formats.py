"""Encoders: what they write is decoded by others, has the right length and level, and comes early."""

import io

import numpy as np
import pytest
import soundfile

av = pytest.importorskip("av")

from hierspeech import Speech  # noqa: E402
from hierspeech.pipelines.output import SYNTHETIC  # noqa: E402
from hierspeech.web.formats import MEDIA_TYPES, Encoder, encode, to_pcm  # noqa: E402

WAV = (0.5 * np.sin(np.arange(48000) / 10)).astype(np.float32)


def decode(data: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(data)) as file:
        wav = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
        return wav / 32768 if wav.dtype == np.int16 else wav, file.streams.audio[0].rate


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
@pytest.mark.parametrize("name", [name for name in MEDIA_TYPES if name != "pcm"])
def test_both_ways_decode_to_the_sound(name, rate):
    encoder = Encoder(name, rate)
    parts = [encoder.push(WAV[start : start + 5000]) for start in range(0, len(WAV), 5000)]
    for data in (encode(WAV, rate, name), b"".join([*parts, encoder.finish()])):
        wav, decoded_rate = decode(data)
        scale = decoded_rate / rate  # Opus decodes at 48 kHz whatever it was
        assert len(WAV) * scale <= len(wav) <= (len(WAV) + 3000) * scale
        middle = wav[len(wav) // 4 : len(wav) // 2]
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "wav", "pcm"])
def test_the_first_bytes_come_with_the_first_chunk(name):
    encoder = Encoder(name, 24000)
    assert len(encoder.push(WAV[:7680])) > 500  # 0.32 s, the first chunk of a stream
    encoder.finish()


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus"])
def test_whole_files_state_their_length_and_what_they_are(name):
    with soundfile.SoundFile(io.BytesIO(encode(WAV, 24000, name))) as file:
        assert len(WAV) <= file.frames <= len(WAV) + 3000
    with av.open(io.BytesIO(encode(WAV, 24000, name))) as file:
        assert SYNTHETIC in (file.metadata | file.streams.audio[0].metadata).values()


def test_pcm_is_what_a_saved_file_holds(tmp_path):
    noise = np.random.default_rng(0).uniform(-1.2, 1.2, 5000)
    wav = np.concatenate([noise, 1e-5 * noise, [1.0, -1.0, 0.0]]).astype(np.float32)
    Speech(wav, 24000).save(tmp_path / "speech.wav")
    saved = soundfile.read(tmp_path / "speech.wav", dtype="int16")[0]
    np.testing.assert_array_equal(to_pcm(wav), saved)
    np.testing.assert_array_equal(
        soundfile.read(io.BytesIO(encode(wav, 24000, "wav")), dtype="int16")[0], saved
    )


def test_an_empty_sound_is_a_file_still():
    assert decode(encode(np.zeros(0, np.float32), 24000, "wav") + b"\0\0")[1] == 24000
    assert encode(np.zeros(0, np.float32), 24000, "pcm") == b""
