"""Real-time factor: seconds that the system took, as it says itself, per second of the sound it made."""

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row
from speech.audio import audio_seconds


class RealTimeFactor:
    """Divides; the timing is the system's."""

    def measure(self, item: Item) -> Row:
        """`rtf` of an item that says its seconds."""
        if not item.seconds > 0:
            raise NotMeasured(f"its seconds are {item.seconds}, expected a positive number")
        return {"rtf": item.seconds / audio_seconds(item.wav)}


RTF = Metric(
    MetricCard(
        name="rtf",
        meaning="Real-time factor: seconds of work per second of speech made, from the list's column `seconds`.",
        scale="Under 1 is faster than speaking. Says as much about the machine as about the system.",
        source="definition",
        model=None,
        licence="ours, MIT",
        install="nothing to install",
        columns=(Column("rtf", "RTF", "s/s", "lower", 3),),
    ),
    needs=("seconds",),
    make=lambda model, device: RealTimeFactor(),
)
