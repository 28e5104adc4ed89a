// Draws a sound on a canvas: bars of its loudness above, its spectrogram below, a line where it is heard.

import { BANDS } from "./spectrum.js";

const COLOURS = ["--bar", "--bar-heard", "--line-now", "--spectrum-0", "--spectrum-1", "--spectrum-2"];
const BAR = 3, SPACE = 2, WAVE = 0.4; // bar and space in CSS pixels; the bars' part of the height

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.spectrum = null;
    this.expected = 0; // seconds that the whole will last, as far as is known
    this.drawn = ""; // what the stored spectrogram shows
    this.below = document.createElement("canvas");
    this.#colours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#colours());
  }

  #colours() {
    const style = getComputedStyle(this.canvas);
    this.colour = Object.fromEntries(COLOURS.map((name) => [name.slice(2), style.getPropertyValue(name).trim()]));
    const stops = [0, 1, 2].map((n) => channels(this.colour[`spectrum-${n}`]));
    this.map = new Uint32Array(256); // level -> red, green, blue, 255, the lowest byte first
    const bytes = new Uint8Array(this.map.buffer);
    for (let level = 0; level < 256; level++) {
      const place = level / 127.5, first = Math.min(1, Math.floor(place));
      stops[first].forEach((from, n) => {
        bytes[4 * level + n] = Math.round(from + (stops[first + 1][n] - from) * (place - first));
      });
      bytes[4 * level + 3] = 255;
    }
    this.drawn = "";
  }

  /** Draws `spectrum` with the line at `seconds`; cheap where nothing changed but the line. */
  draw(spectrum, seconds, expected) {
    const ratio = devicePixelRatio || 1, { canvas } = this;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const columns = Math.max(spectrum.columns, Math.round(expected * 100), 100);
    const seen = [spectrum.columns, columns, width, height].join();
    const split = Math.round(height * WAVE), gap = Math.round(6 * ratio);
    if (seen !== this.drawn) {
      this.#spectrogram(spectrum);
      this.drawn = seen;
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    if (spectrum.columns) {
      const wide = (width * spectrum.columns) / columns;
      context.drawImage(this.below, 0, split + gap, wide, height - split - gap);
    }
    const line = Math.min(width - ratio, (width * seconds * 100) / columns);
    this.#bars(context, spectrum, columns, width, split, line, ratio);
    context.fillStyle = this.colour["line-now"];
    context.fillRect(Math.round(line), 0, Math.max(1, Math.round(1.5 * ratio)), height);
  }

  #bars(context, spectrum, columns, width, height, line, ratio) {
    const step = (BAR + SPACE) * ratio, middle = height / 2;
    let loudest = 0.05;
    for (let column = 0; column < spectrum.columns; column++) loudest = Math.max(loudest, spectrum.peaks[column]);
    for (let x = 0; x + BAR * ratio <= width; x += step) {
      const first = Math.floor((x / width) * columns);
      const last = Math.max(first + 1, Math.floor(((x + step) / width) * columns));
      if (first >= spectrum.columns) break;
      let peak = 0;
      for (let column = first; column < Math.min(last, spectrum.columns); column++) {
        peak = Math.max(peak, spectrum.peaks[column]);
      }
      const half = Math.max(ratio, (0.94 * middle * peak) / loudest);
      context.fillStyle = this.colour[x <= line ? "bar-heard" : "bar"];
      context.beginPath();
      context.roundRect(x, middle - half, BAR * ratio, 2 * half, ratio * 1.5);
      context.fill();
    }
  }

  /** One pixel a column and band, low bands at the bottom; of very long sounds every n-th column. */
  #spectrogram(spectrum) {
    const stride = Math.max(1, Math.ceil(spectrum.columns / 8192)), wide = Math.ceil(spectrum.columns / stride);
    if (!wide) return;
    Object.assign(this.below, { width: wide, height: BANDS });
    const image = new ImageData(wide, BANDS), pixels = new Uint32Array(image.data.buffer);
    for (let x = 0; x < wide; x++) {
      for (let band = 0; band < BANDS; band++) {
        pixels[(BANDS - 1 - band) * wide + x] = this.map[spectrum.levels[x * stride * BANDS + band]];
      }
    }
    this.below.getContext("2d").putImageData(image, 0, 0);
  }
}

function channels(colour) {
  const [, digits] = /^#([0-9a-f]{6})$/i.exec(colour) || [null, "808080"];
  return [0, 2, 4].map((place) => parseInt(digits.slice(place, place + 2), 16));
}
