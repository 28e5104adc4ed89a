"""How long a voice pauses between two pieces of a text, by what stands between them."""

from speech.text.chunking import BORDERS

# Seconds at speed 1, besides the silence that pieces end with of themselves. "sentence" is that of every pause before
# there were others; a model speaks the sentences within a piece without one.
PAUSE_SECONDS = {
    "word": 0.05,
    "comma": 0.1,
    "colon": 0.15,
    "sentence": 0.2,
    "paragraph": 0.5,
    "section": 1.0,
}


def pause_samples(border: str, speed: float, sample_rate: int) -> int:
    """Samples of silence after a piece that ends with `border`; twice the speed halves them."""
    if border not in PAUSE_SECONDS:
        raise ValueError(f"border {border!r}: expected one of {', '.join(BORDERS)}.")
    return int(PAUSE_SECONDS[border] / speed * sample_rate)
