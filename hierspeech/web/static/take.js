// One take: asks the server for a sound, plays, draws and marks it while it comes, and offers it as a file.

import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { wavFile } from "./sound.js";
import { Spectrum } from "./spectrum.js";

const get = (id) => document.getElementById(id);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export class Take {
  constructor(client, reading, { tell, fail }) {
    Object.assign(this, { client, reading, tell, fail, job: null, running: null, whole: false });
    this.player = new Player();
    this.picture = new Picture(get("canvas"));
    this.spectrum = new Spectrum(24000);
    this.player.addEventListener("change", () => this.#showState());
    this.player.addEventListener("ended", () => this.#ended());
    get("play").addEventListener("click", () => (this.player.playing ? this.player.pause() : this.player.play()));
    get("seek").addEventListener("input", () => this.#seek(Number(get("seek").value)));
    get("seek").addEventListener("keydown", (event) => this.#seekByKey(event));
    for (const button of document.querySelectorAll("[data-format]")) {
      button.addEventListener("click", () => this.#download(button));
    }
    new ResizeObserver(() => this.#frame()).observe(get("canvas"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#frame());
  }

  /**
   * @param {object} job {path, body(format, live), title, text, language, expected (seconds), seed, name (of files)}.
   */
  async run(job) {
    this.running?.abort();
    const mine = (this.running = new AbortController());
    Object.assign(this, { job, whole: false, facts: `seed ${job.seed}` });
    this.#load(24000);
    this.reading.load(job.text, job.language);
    get("sound-title").textContent = job.title;
    get("sound").hidden = false;
    this.player.play(0); // in the handler of a click or key, where browsers allow sound
    this.tell("Making the sound …");
    this.#showState();
    this.#bringIntoView();
    const began = performance.now();
    try {
      for await (const part of this.client.sound(job.path, job.body("pcm", true), mine.signal)) {
        if (mine.signal.aborted) break;
        if (part.rate && part.rate !== this.player.rate) {
          this.#load(part.rate);
          this.player.play(0);
        }
        if (part.words) this.reading.add(part.words);
        if (part.samples?.length) {
          const first = !this.player.samples;
          this.player.push(part.samples);
          this.spectrum.push(part.samples);
          if (first) this.#firstSound((performance.now() - began) / 1000);
        }
      }
      if (!mine.signal.aborted && !this.player.samples) throw new Error("The server sent no sound for this.");
      this.whole = !mine.signal.aborted;
    } catch (error) {
      if (this.running === mine && error.name !== "AbortError") this.fail(error);
    } finally {
      if (this.running === mine) {
        this.running = null;
        this.player.finish();
        if (!this.player.samples) {
          this.player.pause();
          this.job = null;
          get("sound").hidden = true; // there is nothing to hear, see or keep
        }
        this.#showState();
      }
    }
  }

  #load(rate) {
    this.player.load(rate);
    this.picture.drawn = "";
    this.spectrum = new Spectrum(rate);
  }

  #firstSound(seconds) {
    this.facts = `seed ${this.job.seed} · first sound after ${seconds.toFixed(2)} s`;
    this.tell("Speaking …");
    this.#showState();
  }

  /** Aborts the request and holds the sound; what came can still be heard and kept. */
  stop() {
    const busy = this.running || this.player.playing;
    this.running?.abort();
    this.player.pause();
    if (busy) this.tell(this.player.samples ? `Stopped after ${this.player.position.toFixed(1)} seconds.` : "Stopped.");
  }

  #seek(seconds) {
    const place = Math.min(seconds, this.player.duration);
    if (this.player.playing) this.player.play(place);
    else this.player.start = Math.round(place * this.player.rate);
    this.#frame();
  }

  /** A second to either side; the slider's own step is for fingers. */
  #seekByKey(event) {
    const seconds = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!seconds || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#seek(Math.max(0, this.player.position + seconds));
  }

  #ended() {
    if (this.whole) this.tell(`Done: ${this.player.duration.toFixed(1)} seconds of synthetic speech.`);
    this.#showState();
  }

  /** Everything that changes with the state, not with time; starts the drawing of frames where there is something to see. */
  #showState() {
    const { player } = this, busy = Boolean(this.running);
    get("sound").classList.toggle("playing", Boolean(player.playing));
    get("sound").classList.toggle("empty", busy && !player.samples);
    get("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
    get("stop").setAttribute("aria-disabled", String(!busy && !player.playing));
    get("facts").textContent = this.facts || "";
    for (const button of document.querySelectorAll("[data-format]")) {
      button.disabled = button.dataset.format === "wav" ? busy || !player.samples : !this.whole;
    }
    this.#frame();
  }

  #frame() {
    const { player, spectrum } = this;
    if (!this.job) return;
    const seconds = player.position, expected = this.running ? this.job.expected : 0;
    get("sound").classList.toggle("long", this.picture.draw(spectrum, seconds, expected));
    this.reading.show(player.playing || seconds > 0 ? seconds : -1);
    const length = Math.max(player.duration, expected, 0.01);
    get("seek").max = length;
    get("seek").value = seconds;
    const time = `${clock(seconds)} / ${clock(player.duration)}`;
    if (get("time").textContent !== time) {
      get("time").textContent = time;
      get("seek").setAttribute("aria-valuetext", `${Math.round(seconds)} of ${Math.round(player.duration)} seconds`);
    }
    cancelAnimationFrame(this.next);
    if (player.playing || this.running) this.next = requestAnimationFrame(() => this.#frame());
  }

  #bringIntoView() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    get("sound").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }

  /**
   * A wav of what was heard; other formats by the same request once more, which the seed makes the same speech. They are
   * made whole, not streamed: a streamed flac or mp3 does not know its own length.
   */
  async #download(button) {
    const { job, player } = this, { format } = button.dataset;
    if (button.ariaBusy === "true") return;
    if (format === "wav") return save(wavFile(player.blocks.map(({ block }) => block), player.rate, true), job.name, format);
    button.setAttribute("aria-busy", "true");
    this.tell(`Making the ${format} file …`);
    try {
      const answer = await this.client.post(job.path, job.body(format, false));
      save(await answer.blob(), job.name, format);
      this.tell(`The ${format} file is made.`);
    } catch (error) {
      this.fail(error);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }
}

function save(blob, name, format) {
  const words = name.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) || ["speech"];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${words.slice(0, 6).join("-").slice(0, 60)}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
