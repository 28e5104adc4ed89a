// Records the microphone and gives a wav, which every server reads; the page's part of MediaRecorder.

import { asWav } from "./sound.js";

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

export class Recorder {
  /** @param {(level: number, seconds: number) => void} heard is called while it records; level 0 .. 1. */
  constructor(heard) {
    this.heard = heard;
  }

  /** Begins; throws a sentence for people if the microphone is not to be had. */
  async start() {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      throw new Error(refused ? "The browser was not allowed to use the microphone." : "No microphone was found.");
    }
    this.parts = [];
    this.recorder = new MediaRecorder(this.stream);
    this.recorder.addEventListener("dataavailable", (event) => this.parts.push(event.data));
    this.ended = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.recorder.start(250);
    this.began = performance.now();
    this.#listen();
  }

  #listen() {
    this.context = new AudioContext();
    const analyser = new AnalyserNode(this.context, { fftSize: 8192 }); // more than 100 ms: no sound falls between two looks
    const samples = new Float32Array(analyser.fftSize);
    this.microphone = this.context.createMediaStreamSource(this.stream); // kept, or it is collected while it runs
    this.microphone.connect(analyser);
    let level = 0;
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
      const now = Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-12) / 6)); // -60 dB .. 0 dB
      level = Math.max(now, 0.8 * level); // falls slowly, to be seen
      this.heard(level, (performance.now() - this.began) / 1000);
    }, 100);
  }

  /** Ends -> {blob: wav, seconds}. */
  async stop() {
    this.#release();
    await this.ended;
    return asWav(new Blob(this.parts, { type: this.recorder.mimeType }));
  }

  /** Ends and forgets. */
  cancel() {
    this.#release();
  }

  #release() {
    clearInterval(this.timer);
    this.context?.close();
    if (this.recorder?.state === "recording") this.recorder.stop();
    this.stream?.getTracks().forEach((track) => track.stop());
  }
}
