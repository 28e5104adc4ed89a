// The discrete Fourier transform of real frames: radix 2, tables made once per size.

export class FFT {
  /** @param {number} size samples of a frame, a power of two. */
  constructor(size) {
    if (size < 2 || size & (size - 1)) throw new Error(`a frame of ${size} samples, expected a power of two.`);
    this.size = size;
    this.cos = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.sin = Float64Array.from({ length: size / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    const bits = Math.log2(size);
    this.place = Uint32Array.from({ length: size }, (_, n) => {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) reversed |= ((n >> bit) & 1) << (bits - 1 - bit);
      return reversed;
    });
    this.re = new Float64Array(size);
    this.im = new Float64Array(size);
  }

  /** |X(k)|^2 of a frame [size] for k = 0 .. size / 2 -> Float64Array [size / 2 + 1]. */
  power(frame) {
    const { size, re, im, cos, sin, place } = this;
    for (let n = 0; n < size; n++) re[place[n]] = frame[n];
    im.fill(0);
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const a = start + k, b = a + half, c = cos[k * step], s = -sin[k * step];
          const real = re[b] * c - im[b] * s, imaginary = re[b] * s + im[b] * c;
          re[b] = re[a] - real;
          im[b] = im[a] - imaginary;
          re[a] += real;
          im[a] += imaginary;
        }
      }
    }
    return Float64Array.from({ length: size / 2 + 1 }, (_, k) => re[k] * re[k] + im[k] * im[k]);
  }
}
