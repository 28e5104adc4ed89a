"""Speech as a piece of HTML: a player with the sound inside, and words that light up while they are heard; for notebooks.

Nothing outside is fetched, and without scripts (a notebook that is not trusted) the player and the words are still there.
"""

import base64
import html
import io
import uuid
from typing import TYPE_CHECKING

import soundfile

if TYPE_CHECKING:
    from hierspeech.pipelines.output import Speech

LONGEST_SECONDS = 600.0  # a notebook that holds more becomes too large to open

_SCRIPT = """
(() => {
  const box = document.getElementById("%s"), audio = box.querySelector("audio");
  const words = [...box.querySelectorAll("[data-start]")];
  audio.addEventListener("timeupdate", () => {
    const now = audio.currentTime + 0.1;
    for (const word of words)
      word.style.background = word.dataset.start <= now && now < word.dataset.end ? "#fd6" : "";
  });
  for (const word of words)
    word.addEventListener("click", () => { audio.currentTime = word.dataset.start; audio.play(); });
})();
"""


def player_html(speech: "Speech") -> str:
    """A <div> with a player of the speech; of one that is too long for a notebook, a line that says so."""
    facts = f"{speech.seconds:.2f} s at {speech.sample_rate} Hz"
    if speech.seconds > LONGEST_SECONDS:
        return f"<div>{facts}: too long to be played here, <code>speech.save('speech.wav')</code> writes a file.</div>"
    file = io.BytesIO()
    soundfile.write(file, speech.audio.clip(-1.0, 1.0), speech.sample_rate, "PCM_16", format="WAV")
    sound = base64.b64encode(file.getvalue()).decode("ascii")
    name = f"speech-{uuid.uuid4().hex}"
    words = " ".join(
        f'<span data-start="{word.start:.3f}" data-end="{word.end:.3f}">{html.escape(word.text)}</span>'
        for word in speech.words
    )
    script = f"<script>{_SCRIPT % name}</script>" if words else ""
    return (
        f'<div id="{name}"><audio controls src="data:audio/wav;base64,{sound}"></audio> '
        f"<small>{facts}</small><p>{words}</p></div>{script}"
    )
