// A place for one recording: dropped, chosen or recorded, heard before it is used. There are two on the page.

import { canRecord, Recorder } from "./recorder.js";
import { asWav, decode } from "./sound.js";

const READ_BY_SERVERS = /\.(wav|flac|ogg|oga|opus|mp3|aif|aiff)$/i;
const HINT = "Drop a recording here, or";
const LARGE = 64 * 2 ** 20; // bytes that are not decoded in the page only to know their length

export class Picker extends EventTarget {
  /**
   * @param {HTMLElement} place is filled from the template; `data-what` says what is wanted, in words.
   * @param {{limit: number, fail: (message: string) => void}} options the longest recording in seconds; shows errors.
   */
  constructor(place, { limit, fail }) {
    super();
    Object.assign(this, { place, limit, fail, file: null, recorder: null });
    place.append(document.getElementById("picker").content.cloneNode(true));
    const part = (name) => place.querySelector(`.${name}`);
    this.parts = Object.fromEntries(
      ["hint", "input", "record", "level", "picked", "player", "about", "discard"].map((name) => [name, part(name)]),
    );
    this.parts.hint.textContent = HINT;
    const { what } = place.dataset;
    this.parts.input.setAttribute("aria-label", `Choose a file: ${what}`);
    this.parts.player.setAttribute("aria-label", `Listen to ${what}`);
    this.parts.discard.setAttribute("aria-label", `Discard ${what}`);
    this.parts.input.addEventListener("change", () => this.#take(this.parts.input.files[0]));
    this.parts.discard.addEventListener("click", () => this.clear(true));
    this.parts.record.addEventListener("click", () => (this.recorder ? this.stop() : this.#record()));
    if (!canRecord()) {
      this.parts.record.disabled = true;
      this.parts.record.title = "Recording needs https or this machine's own address (localhost).";
    }
    this.#drops();
  }

  #drops() {
    const { place } = this;
    for (const kind of ["dragenter", "dragover"]) {
      place.addEventListener(kind, (event) => {
        event.preventDefault();
        place.classList.add("over");
      });
    }
    place.addEventListener("dragleave", (event) => {
      if (!place.contains(event.relatedTarget)) place.classList.remove("over");
    });
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      if (event.dataTransfer.files.length) this.#take(event.dataTransfer.files[0]);
      else this.fail("What was dropped is no file.");
    });
  }

  async #take(file) {
    this.parts.input.value = "";
    if (!file) return;
    try {
      if (READ_BY_SERVERS.test(file.name)) {
        const seconds = file.size > LARGE ? null : await decode(file).then((buffer) => buffer.duration, () => null);
        this.#show(file, file.name, seconds);
      } else {
        const { blob, seconds } = await asWav(file);
        this.#show(blob, file.name.replace(/\.\w+$/, "") + ".wav", seconds);
      }
    } catch {
      this.fail(`No sound could be read from “${file.name}”.`);
    }
  }

  async #record() {
    const recorder = new Recorder((level, seconds) => {
      this.parts.level.value = level;
      this.parts.hint.textContent = `Recording, ${Math.floor(seconds)} s`;
      if (seconds >= this.limit) this.stop();
    });
    try {
      await recorder.start();
    } catch (error) {
      this.fail(error.message);
      return;
    }
    this.recorder = recorder;
    this.place.classList.add("recording");
    this.parts.level.hidden = false;
    this.parts.record.textContent = "Finish";
    this.dispatchEvent(new Event("recording"));
  }

  /** Ends a recording and takes it. */
  async stop() {
    const { recorder } = this;
    this.#ended();
    try {
      const { blob, seconds } = await recorder.stop();
      this.#show(blob, "recording.wav", seconds);
    } catch {
      this.fail("Nothing was recorded.");
    }
  }

  #ended() {
    this.recorder = null;
    this.place.classList.remove("recording");
    this.parts.level.hidden = true;
    this.parts.record.textContent = "Record";
    this.parts.hint.textContent = HINT;
  }

  #show(blob, name, seconds) {
    URL.revokeObjectURL(this.parts.player.src);
    this.file = { blob, name, seconds };
    this.parts.player.src = URL.createObjectURL(blob);
    this.parts.about.textContent = seconds === null ? name : `${name}, ${seconds.toFixed(1)} s`;
    this.parts.picked.hidden = false;
    this.dispatchEvent(new Event("change"));
  }

  /** Empty again; a running recording is forgotten. `focus`: the person did it, and stands on a button that goes away. */
  clear(focus = false) {
    this.recorder?.cancel();
    if (this.recorder) this.#ended();
    URL.revokeObjectURL(this.parts.player.src);
    this.parts.player.removeAttribute("src");
    this.parts.picked.hidden = true;
    this.file = null;
    if (focus) this.parts.input.focus();
    this.dispatchEvent(new Event("change"));
  }
}
