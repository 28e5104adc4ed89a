// What is drawn of a sound, column by column while its samples come: the loudest sample, and the power in mel bands.

import { FFT } from "./fft.js";

export const BANDS = 80;
const FRAME = 1024, FLOOR_DB = -78, CEILING_DB = -14;
const mel = (hz) => 1127 * Math.log(1 + hz / 700);

/** Columns of 10 ms. `peaks[c]` is 0 .. 1, `levels[c * BANDS + band]` 0 .. 255 from the lowest band up. */
export class Spectrum {
  constructor(rate) {
    this.hop = Math.round(rate / 100);
    this.columns = 0;
    this.peaks = new Float32Array(512);
    this.levels = new Uint8Array(512 * BANDS);
    this.fft = new FFT(FRAME);
    this.window = Float64Array.from({ length: FRAME }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FRAME));
    this.scale = 16 / (FRAME * FRAME); // a full-scale sine under this window is 0 dB
    this.edges = melEdges(rate);
    this.frame = new Float64Array(FRAME);
    this.recent = new Float32Array(FRAME); // a ring of the newest samples
    this.place = 0;
    this.filled = 0; // samples in the column that is being filled
    this.peak = 0;
  }

  /** Takes samples, 16 bit. */
  push(samples) {
    for (const sample of samples) {
      const value = sample / 32768;
      this.recent[this.place] = value;
      this.place = (this.place + 1) % FRAME;
      this.peak = Math.max(this.peak, Math.abs(value));
      if (++this.filled === this.hop) this.#close();
    }
  }

  #close() {
    if (this.columns === this.peaks.length) {
      this.peaks = grown(this.peaks);
      this.levels = grown(this.levels);
    }
    for (let n = 0; n < FRAME; n++) this.frame[n] = this.recent[(this.place + n) % FRAME] * this.window[n];
    const power = this.fft.power(this.frame);
    for (let band = 0; band < BANDS; band++) {
      const [first, last] = this.edges[band];
      let loudest = 0;
      for (let k = first; k <= last; k++) loudest = Math.max(loudest, power[k]);
      const db = 10 * Math.log10(loudest * this.scale + 1e-12);
      const level = (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB);
      this.levels[this.columns * BANDS + band] = 255 * Math.max(0, Math.min(1, level));
    }
    this.peaks[this.columns++] = this.peak;
    this.peak = this.filled = 0;
  }
}

/** First and last bin of each band, none empty. */
function melEdges(rate) {
  const low = mel(60), high = mel(Math.min(rate / 2, 11000));
  const bin = (place) => (700 * (Math.exp((low + ((high - low) * place) / BANDS) / 1127) - 1) * FRAME) / rate;
  return Array.from({ length: BANDS }, (_, band) => {
    const first = Math.round(bin(band));
    return [first, Math.max(first, Math.min(Math.round(bin(band + 1)) - 1, FRAME / 2))];
  });
}

function grown(values) {
  const larger = new values.constructor(values.length * 2);
  larger.set(values);
  return larger;
}
