// Draws a sound on a canvas: bars of its loudness above, its spectrogram below, a line where it is heard.

import { BANDS } from "./spectrum.js";

const COLOURS = ["--bar", "--bar-heard", "--line-now", "--part", "--spectrum-0", "--spectrum-1", "--spectrum-2"];
const BAR = 3, SPACE = 2, WAVE = 0.4; // bar and space in CSS pixels; the bars' part of the height
const LONG = 1600, PART = 1200; // columns (10 ms): of sounds longer than LONG, PART are shown at a time

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
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

  /**
   * Draws `spectrum` with the line at `seconds` of `expected`. The bars are always of the whole; of a long sound the
   * spectrogram shows a part that goes along -> whether it does.
   */
  draw(spectrum, seconds, expected) {
    const ratio = devicePixelRatio || 1, { canvas } = this;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    const columns = Math.max(spectrum.columns, Math.round(expected * 100), 100), now = seconds * 100;
    const part = partOf(columns, now, this.still.matches);
    if (!width || !height) return part.columns < columns;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), split = Math.round(height * WAVE), gap = Math.round(6 * ratio);
    const place = (column) => Math.min(width - ratio, (width * column) / columns);
    context.clearRect(0, 0, width, height);
    if (part.columns < columns) {
      context.fillStyle = this.colour.part;
      context.fillRect(place(part.first), 0, (width * part.columns) / columns, split);
    }
    this.#bars(context, spectrum, columns, width, split, place(now), ratio);
    this.#spectrogram(context, spectrum, part, split + gap, width, height - split - gap);
    context.fillStyle = this.colour["line-now"];
    const line = Math.max(1, Math.round(1.5 * ratio)), below = (width * (now - part.first)) / part.columns;
    context.fillRect(Math.round(place(now)), 0, line, split);
    context.fillRect(Math.round(Math.min(width - ratio, below)), split, line, height - split);
    return part.columns < columns;
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

  /** One pixel a column and band, low bands at the bottom, stretched to its place. */
  #spectrogram(context, spectrum, part, top, width, height) {
    const first = Math.floor(part.first), last = Math.min(spectrum.columns, Math.ceil(part.first + part.columns));
    if (last <= first) return;
    const seen = [first, last].join();
    if (seen !== this.drawn) {
      const wide = (this.below.width = last - first), image = new ImageData(wide, BANDS);
      this.below.height = BANDS;
      const pixels = new Uint32Array(image.data.buffer);
      for (let x = 0; x < wide; x++) {
        for (let band = 0; band < BANDS; band++) {
          pixels[(BANDS - 1 - band) * wide + x] = this.map[spectrum.levels[(first + x) * BANDS + band]];
        }
      }
      this.below.getContext("2d").putImageData(image, 0, 0);
      this.drawn = seen;
    }
    const step = width / part.columns;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.below, (first - part.first) * step, top, (last - first) * step, height);
  }
}

/** The columns {first, columns} of which the spectrogram is shown: all, or some that move along (turn, if `still`). */
function partOf(columns, now, still) {
  if (columns <= LONG) return { first: 0, columns };
  const first = still ? Math.floor(now / PART) * PART : now - PART / 3;
  return { first: Math.max(0, Math.min(first, columns - PART)), columns: PART };
}

function channels(colour) {
  const [, digits] = /^#([0-9a-f]{6})$/i.exec(colour) || [null, "808080"];
  return [0, 2, 4].map((place) => parseInt(digits.slice(place, place + 2), 16));
}
