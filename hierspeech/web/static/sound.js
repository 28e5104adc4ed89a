// Sounds as bytes: 16-bit samples from streams, wav files, and any recording the browser can decode as a wav.

const NOTE = "Synthetic speech, made by hierspeech."; // as hierspeech/pipelines/output.py writes it

/** Bytes of raw 16-bit little-endian PCM in blocks of any size -> Int16Array; a sample cut in two waits for its rest. */
export class PcmReader {
  #rest = new Uint8Array(0);

  read(bytes) {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const whole = all.length - (all.length % 2);
    this.#rest = all.slice(whole);
    const view = new DataView(all.buffer);
    return Int16Array.from({ length: whole / 2 }, (_, n) => view.getInt16(2 * n, true));
  }
}

export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** A mono 16-bit wav file of blocks of samples; what is synthetic says so in the file's comment. */
export function wavFile(blocks, rate, synthetic) {
  const size = 2 * blocks.reduce((sum, block) => sum + block.length, 0);
  const info = synthetic ? infoChunk() : new Uint8Array(0);
  const head = new DataView(new ArrayBuffer(44));
  const write = (place, text) => [...text].forEach((letter, n) => head.setUint8(place + n, letter.charCodeAt(0)));
  write(0, "RIFF");
  head.setUint32(4, 36 + size + info.length, true);
  write(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // channels
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  write(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head.buffer, ...blocks.map(littleEndian), info], { type: "audio/wav" });
}

function littleEndian(block) {
  const view = new DataView(new ArrayBuffer(2 * block.length));
  block.forEach((sample, n) => view.setInt16(2 * n, sample, true));
  return view.buffer;
}

/** LIST INFO with a comment and the software's name, behind the samples. */
function infoChunk() {
  const field = (name, text) => name + length(text.length + 1) + text + "\0" + (text.length % 2 ? "" : "\0");
  const length = (n) => String.fromCharCode(n & 255, n >> 8, 0, 0);
  const body = "INFO" + field("ICMT", NOTE) + field("ISFT", "hierspeech");
  return Uint8Array.from("LIST" + length(body.length) + body, (letter) => letter.charCodeAt(0));
}

/** Whatever the browser decodes (webm, m4a, ...) -> {blob: mono wav, seconds}. The server's library reads no such files. */
export async function asWav(blob, rate = 24000) {
  const buffer = await decode(blob, rate);
  const mono = new Int16Array(buffer.length);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n));
  for (let n = 0; n < mono.length; n++) {
    const value = channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length;
    mono[n] = Math.round(32767 * Math.max(-1, Math.min(1, value)));
  }
  return { blob: wavFile([mono], rate, false), seconds: buffer.duration };
}

export function decode(blob, rate = 24000) {
  return blob.arrayBuffer().then((bytes) => new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes));
}
