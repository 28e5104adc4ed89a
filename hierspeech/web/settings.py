"""What the server can be told: one dataclass, checked once; `serve.py` fills it from the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from hierspeech.pipelines.arguments import MAX_ADAPT_STEPS
from hierspeech.pipelines.command_line import DEFAULT_VOICE, OUTPUT_RATES

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Limits of the numbers: (lowest, highest).
RANGES = {
    "port": (0, 65535),
    "workers": (1, 64),
    "queue": (1, 100_000),
    "max_batch": (1, 1024),
    "max_text": (1, 1_000_000),
    "max_upload": (1024, 2**30),
    "max_seconds": (1.0, 3600.0),
    "max_voices": (0, 100_000),
    "adapt": (0, MAX_ADAPT_STEPS),
    "timeout": (0.01, 86_400.0),
}


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Raises:
        ValueError: a value outside its range, in one sentence.
    """

    voice: str = DEFAULT_VOICE  # name, folder or hub id
    device: str = "auto"
    precision: str = "fp32"
    host: str = "127.0.0.1"
    port: int = 8000  # 0 is any free one
    workers: int = 1  # threads that compute; they share the models
    queue: int = 64  # requests in the house at a time, waiting or at work; one more is refused with 429
    max_batch: int = 8  # sentences of several requests that are spoken together
    max_text: int = 4096  # characters, as OpenAI
    max_upload: int = 10 * 2**20  # bytes of a recording
    max_seconds: float = 300.0  # length of a recording
    max_voices: int = 100  # uploaded ones
    timeout: float = (
        60.0  # s until all (of a stream: the first, the next) sound is there, and for a client to read on
    )
    adapt: int = (
        0  # steps of gradient descent that bring an uploaded voice nearer; a third of a second each on a core
    )
    sample_rate: int = 24000  # Hz of what goes out; OpenAI's is 24000
    stream: bool = False  # answer in chunks where the request does not say `stream_format`
    api_keys: tuple[str, ...] = field(default=(), repr=False)  # none: whoever reaches the port may speak
    voices_folder: Path | None = None  # where uploaded voices outlive the server
    cors_origins: tuple[str, ...] = ()  # web pages elsewhere that may call the server
    allowed_hosts: tuple[
        str, ...
    ] = ()  # values of the Host header; none: loopback's if bound to it, else any

    def __post_init__(self):
        for name, (lowest, highest) in RANGES.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} {value:g}: expected a number from {lowest:g} to {highest:g}.")
        if self.sample_rate not in OUTPUT_RATES:
            rates = ", ".join(map(str, OUTPUT_RATES))
            raise ValueError(f"--output-sr {self.sample_rate}: expected one of {rates} Hz.")
        if any(len(key) < 16 for key in self.api_keys):
            raise ValueError("an API key has fewer than 16 characters, expected one that cannot be guessed.")
        if any(not key.isascii() or not key.isprintable() or " " in key for key in self.api_keys):
            raise ValueError("an API key holds a space or a letter that no HTTP header can carry.")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names by which the server may be called; empty is any."""
        # On loopback a name of somebody else's can only come from a web page that made it point here (DNS rebinding).
        return self.allowed_hosts or (LOOPBACK if self.host in LOOPBACK else ())
