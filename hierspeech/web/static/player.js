// Plays 16-bit samples while they come, without gaps: buffers laid end to end on the clock of a WebAudio context.

const AHEAD = 8; // seconds laid out at most, so that an hour of speech does not become an hour of float buffers
const LEAD = 0.06; // seconds between laying out a sound and hearing it

export class Player extends EventTarget {
  /** @param {(rate: number) => BaseAudioContext} open makes the context; its own rate saves resampling at the seams. */
  constructor(open = openContext) {
    super();
    this.open = open;
    this.load(24000);
  }

  /** Forgets what was there; `rate` in Hz. */
  load(rate) {
    this.pause();
    if (this.context && this.rate !== rate) {
      this.context.close?.();
      this.context = null;
    }
    Object.assign(this, { rate, blocks: [], samples: 0, finished: false, start: 0, gaps: 0 });
  }

  get duration() {
    return this.samples / this.rate;
  }

  /** Browsers let a page make sound only from a click or key: call this in its handler. */
  wake() {
    if (!this.context) {
      this.context = this.open(this.rate);
      this.output = this.context.createGain();
      this.output.connect(this.context.destination);
    }
    if (this.context.state === "suspended") this.context.resume?.();
  }

  push(block) {
    if (!block.length) return;
    this.blocks.push({ at: this.samples, block });
    this.samples += block.length;
    if (this.playing) this.#layOut();
  }

  /** No more samples will come. */
  finish() {
    this.finished = true;
    if (this.playing) this.#layOut();
  }

  /** From a place in seconds, by default where it stands; at the end, from the beginning. */
  play(from = this.position) {
    this.pause();
    this.wake();
    const ended = this.finished && from >= this.duration - 0.01;
    this.start = ended ? 0 : Math.max(0, Math.round(from * this.rate));
    Object.assign(this, { playing: true, next: this.start, frame: null, laid: [] });
    this.timer = setInterval(() => this.#layOut(), 100);
    this.#layOut();
    this.dispatchEvent(new Event("change"));
  }

  pause() {
    if (!this.playing) return;
    this.start = Math.round(this.position * this.rate);
    this.playing = false;
    clearInterval(this.timer);
    for (const { node } of this.laid) node.stop();
    this.laid = [];
    this.dispatchEvent(new Event("change"));
  }

  /** Seconds into the sound of what is heard now. */
  get position() {
    if (!this.playing) return this.start / this.rate;
    const now = this.context.currentTime - (this.context.outputLatency || 0);
    let place = this.start;
    for (const part of this.laid) {
      if (part.when > now) break;
      place = part.from + Math.min(part.count, (now - part.when) * this.rate);
    }
    return place / this.rate;
  }

  #layOut() {
    const now = this.context.currentTime * this.rate; // in frames, as `frame`: the end of what is laid out
    while (this.next < this.samples && (this.frame ?? now) < now + AHEAD * this.rate) {
      const late = this.frame !== null && this.frame < now;
      if (late) this.gaps += 1;
      if (late || this.frame === null) this.frame = Math.ceil(now + LEAD * this.rate);
      const { at, block } = this.blocks[this.#blockOf(this.next)];
      this.#lay(block.subarray(this.next - at));
    }
    this.laid = this.laid.filter((part) => part.when * this.rate + part.count > now - 2 * this.rate);
    if (this.finished && this.next >= this.samples && this.position >= this.duration - 1e-3) {
      this.pause();
      this.start = this.samples;
      this.dispatchEvent(new Event("ended"));
    }
  }

  #lay(samples) {
    const count = samples.length, when = this.frame / this.rate;
    const buffer = this.context.createBuffer(1, count, this.rate);
    const channel = buffer.getChannelData(0);
    for (let n = 0; n < count; n++) channel[n] = samples[n] / 32768;
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.output);
    node.start(when);
    this.laid.push({ node, when, from: this.next, count });
    this.next += count;
    this.frame += count;
  }

  /** Index of the block that holds a sample; they lie in order. */
  #blockOf(sample) {
    let low = 0, high = this.blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.blocks[middle].at <= sample) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function openContext(rate) {
  try {
    return new AudioContext({ sampleRate: rate, latencyHint: "balanced" });
  } catch {
    return new AudioContext(); // a browser that knows its own rate only resamples each buffer
  }
}
