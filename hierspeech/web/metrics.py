"""What the server tells Prometheus; every application counts for itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hierspeech.web.protocol import Engine

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters and histograms, and the engine's own state when somebody asks."""

    def __init__(self, engine: Engine):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hierspeech_requests", "Requests answered", ["endpoint", "status"], registry=self.registry
        )
        self.rejected = Counter("hierspeech_rejected", "Requests refused", ["reason"], registry=self.registry)
        self.disconnected = Counter(
            "hierspeech_disconnected", "Clients that went away before the end", registry=self.registry
        )
        self.latency = Histogram(
            "hierspeech_request_seconds",
            "From the request to its last byte",
            ["endpoint"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "hierspeech_first_byte_seconds",
            "From the request to the first bytes of sound",
            ["endpoint", "mode"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.audio = Counter("hierspeech_audio_seconds", "Sound made", ["endpoint"], registry=self.registry)
        self.characters = Counter(
            "hierspeech_characters", "Characters of text spoken", registry=self.registry
        )
        self.registry.register(_EngineState(engine))

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


class _EngineState(Collector):
    def __init__(self, engine: Engine):
        self._engine = engine

    def collect(self):
        stats = self._engine.stats()
        for name, text, value in (
            ("ready", "1 when the models are loaded", stats.status == "ready"),
            ("queue_length", "Requests that nothing was done for yet", stats.waiting),
            ("active", "Requests at work", stats.active),
            ("limit", "Requests that are taken in at a time", stats.limit),
            ("replicas", "Processes with models", stats.replicas),
            ("batches", "Batches spoken since the start", stats.batches),
            ("batched_sentences", "Sentences in them", stats.batched),
        ):
            yield GaugeMetricFamily(f"hierspeech_{name}", text, value=float(value))
