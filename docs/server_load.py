"""Loads a server on loopback: python docs/server_load.py [--requests 100] [--at-a-time 8] [-- options of serve.py]

Starts serve.py in a process of its own, times it cold and warm, sends requests many at a time, half of them in chunks, compares
every whole answer with a single call of `TextToSpeech`, and prints a table. Needs nothing but this repository's `server` extra.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RATE = 24000
SENTENCES = [
    "Good morning.",
    "The train to the coast leaves in ten minutes from platform four.",
    "She closed the door, put on her coat, and walked down to the river.",
    "It was quiet. Nobody spoke for a while. Then the bell rang, and everybody got up at once.",
    "Please remember to bring your own cup, because there are never enough of them in the kitchen.",
]
VOICES = ["alloy", "onyx", "nova", "echo"]


@dataclass
class Answer:
    """What came of a request."""

    number: int
    status: int
    seconds: float
    first_seconds: float
    data: bytes


class Server:
    """serve.py in a process of its own."""

    def __init__(self, options: list[str]):
        command = [sys.executable, str(ROOT / "serve.py"), "--port", "0", *options]
        self.since = time.perf_counter()
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        lines = iter(self.process.stdout.readline, "")
        match = next((found for line in lines if (found := re.search(r"http://\S+(?=;)", line))), None)
        if match is None:
            sys.exit("the server did not start")
        self.address = urlsplit(match.group())

    def request(self, method: str, path: str, body: dict | None = None) -> tuple[int, float, bytes]:
        """Status, seconds to the first bytes of the body, and the body."""
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=120)
        began = time.perf_counter()
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        first = answer.read(1)
        first_seconds = time.perf_counter() - began
        content = first + answer.read()
        connection.close()
        return answer.status, first_seconds, content

    def speak(self, number: int, chunks: bool) -> Answer:
        """Request `number`: its text, voice and seed."""
        text, voice, seed = item(number)
        body = {"model": "tts-1", "input": text, "voice": voice, "seed": seed, "response_format": "pcm"}
        if chunks:
            body["stream_format"] = "audio"
        began = time.perf_counter()
        status, first, data = self.request("POST", "/v1/audio/speech", body)
        return Answer(number, status, time.perf_counter() - began, first, data)

    def memory(self) -> float:
        """MiB that the process holds now (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def stop(self) -> None:
        """Asks it to stop, as Ctrl-C does."""
        self.process.send_signal(2)
        self.process.wait(60)


def item(number: int) -> tuple[str, str, int]:
    """Text, voice and seed of a request."""
    return SENTENCES[number % len(SENTENCES)], VOICES[number % len(VOICES)], number


def main() -> None:
    """Runs it all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--at-a-time", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="of so many requests, to see memory settle")
    arguments, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    server = Server(options)
    try:
        row("load average of the machine before", os.getloadavg()[0], f"on {os.cpu_count()} cores")
        first = server.speak(0, chunks=False)
        row("cold: process started until the first answer", time.perf_counter() - server.since, "s")
        check([first])
        for chunks, name in ((False, "whole"), (True, "first bytes of a stream")):
            alone = [server.speak(1, chunks) for _ in range(20)]
            check(alone)
            row(f"warm, one at a time, {name}: median of 20", 1000 * middle(alone), "ms")
        row("memory before", server.memory(), "MiB")
        for turn in range(arguments.rounds):
            load(server, arguments.requests, arguments.at_a_time, turn)
            row("  memory after", server.memory(), "MiB")
        status = json.loads(server.request("GET", "/health")[2])
        print("health:", status)
    finally:
        server.stop()


def load(server: Server, requests: int, at_a_time: int, turn: int) -> None:
    """One round: even numbers whole, odd ones in chunks."""
    began = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        answers = list(pool.map(lambda number: server.speak(number, number % 2 == 1), range(requests)))
    took = time.perf_counter() - began
    check(answers)
    seconds = sum(len(answer.data) for answer in answers) / 2 / RATE
    print(f"round {turn + 1}: {requests} requests, {at_a_time} at a time, no failure")
    row("  requests a second", requests / took, "")
    row("  sound made in a second", seconds / took, "s")
    for name, values in (
        ("whole: until all is there", [a.seconds for a in answers if a.number % 2 == 0]),
        ("stream: until the first bytes", [a.first_seconds for a in answers if a.number % 2]),
        ("stream: until all is there", [a.seconds for a in answers if a.number % 2]),
    ):
        cuts = statistics.quantiles(values, n=20)
        print(f"  {name}: p50 {1000 * cuts[9]:.0f} ms, p95 {1000 * cuts[18]:.0f} ms")
    if turn == 0:
        compare([answer for answer in answers if answer.number % 2 == 0])


def compare(answers: list[Answer]) -> None:
    """Says how far whole answers are from single calls."""
    import torch

    from hierspeech import TextToSpeech
    from hierspeech.web.formats import to_pcm
    from hierspeech.web.voices import OPENAI_VOICES

    torch.set_num_threads(1)  # the server has the cores
    tts = TextToSpeech.from_pretrained("lite", "cpu")
    prompts = tts.voice.description.prompts
    levels, equal, furthest = [], 0, 0
    for answer in answers:
        text, voice, seed = item(answer.number)
        prompt = prompts[OPENAI_VOICES[voice]]
        expected = to_pcm(tts(text, prompt, seed=seed, output_sample_rate=RATE).audio).astype(int)
        given = np.frombuffer(answer.data, "<i2").astype(int)
        if len(given) != len(expected):
            sys.exit(f"request {answer.number}: {len(given)} samples, a single call gives {len(expected)}")
        difference = given - expected
        furthest = max(furthest, int(np.abs(difference).max()))
        equal += int(not difference.any())
        levels.append(10 * np.log10(np.square(expected).sum() / max(1, np.square(difference).sum())))
    print(
        f"  {len(answers)} whole answers against single calls: equal lengths, {equal} equal bit for bit; the difference is at "
        f"least {min(levels):.0f} dB under the speech, median {statistics.median(levels):.0f} dB, furthest sample {furthest} of 32768"
    )


def check(answers: list[Answer]) -> None:
    """Ends the program where a request failed."""
    failed = [answer for answer in answers if answer.status != 200 or not answer.data]
    if failed:
        sys.exit(
            f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0].status}: {failed[0].data[:200]!r}"
        )


def middle(answers: list[Answer]) -> float:
    """Median seconds to the first bytes."""
    return statistics.median(answer.first_seconds for answer in answers)


def row(name: str, value: float, unit: str) -> None:
    """One line of the table."""
    print(f"{name}: {value:.3g} {unit}" if value < 100 else f"{name}: {value:.0f} {unit}", flush=True)


if __name__ == "__main__":
    main()
