"""Settings for all tests, and what several of them share."""

import os
import signal

import pytest

# Tiny models gain nothing from threads, and OpenMP threads that wait for each other on a busy machine lose a
# hundredfold. Set before torch is first imported, so that child processes have it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a script starts in the background ignores Ctrl-C, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", params=["lite", "official"])
def folder(request, tmp_path_factory):
    """A tiny random voice of either family, super-resolution included, that speaks in pieces of at most 20 characters."""
    from tiny_voice import build_voice

    place = tmp_path_factory.mktemp("voices") / request.param
    return build_voice(place, request.param, speechsr=True, max_chars=20)


@pytest.fixture(scope="module")
def tts(folder):
    """Text to speech with that voice."""
    from hierspeech import TextToSpeech

    return TextToSpeech.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def convert(folder):
    """Voice conversion with that voice."""
    from hierspeech import VoiceConversion

    return VoiceConversion.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def prompt(tts):
    """The voice prompt of a generated recording."""
    from tiny_voice import recording

    return tts.prompt(recording())
