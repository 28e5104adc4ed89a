// Talks to the server: requests with the key it may want, errors in plain words, speech as a stream of events.

import { fromBase64, PcmReader } from "./sound.js";

/** What went wrong, in a sentence for people. */
export class Problem extends Error {}

const PLAIN = {
  404: "The server does not have that.",
  405: "This server does not offer that.",
  408: "The server took too long. Try a shorter text, or again in a moment.",
  413: "That is too large for this server.",
  429: "The server is busy.",
  500: "The server failed on this one.",
  502: "The server is not running behind its address.",
  503: "The server is not ready.",
  504: "The server took too long. Try a shorter text, or again in a moment.",
};

export class Client {
  /** @param {(refused: boolean) => Promise<string | null>} askForKey asks the person; null: no key is given. */
  constructor(askForKey) {
    this.askForKey = askForKey;
    this.key = kept() || "";
    this.asking = null;
  }

  /** A fetch whose answer is good -> Response. Throws Problem, or the AbortError of `options.signal`. */
  async request(path, options = {}) {
    for (;;) {
      const used = this.key;
      const headers = { ...options.headers, ...(used ? { Authorization: `Bearer ${used}` } : {}) };
      let answer;
      try {
        answer = await fetch(new URL(path, document.baseURI), { ...options, headers });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Problem("The server cannot be reached. Is it still running?");
      }
      if (answer.ok) return answer;
      if (answer.status !== 401) throw await problemOf(answer);
      if (used === this.key && !(await this.#newKey(Boolean(used)))) throw await problemOf(answer);
    }
  }

  /** One question however many requests wait for it. */
  async #newKey(refused) {
    this.asking ??= this.askForKey(refused).finally(() => (this.asking = null));
    const key = await this.asking;
    this.key = key || "";
    keep(key);
    return Boolean(key);
  }

  forget() {
    this.key = "";
    keep(null);
  }

  async json(path, options) {
    return (await this.request(path, options)).json();
  }

  post(path, body, signal) {
    const form = body instanceof FormData;
    const headers = form ? {} : { "Content-Type": "application/json" };
    return this.request(path, { method: "POST", body: form ? body : JSON.stringify(body), headers, signal });
  }

  /** Yields {rate}, then {samples: Int16Array} and {words: [{word, start, end, offset}]} as they come. */
  async *sound(path, body, signal) {
    const answer = await this.post(path, body, signal);
    yield { rate: Number(answer.headers.get("X-Sample-Rate")) || 24000 };
    const reader = new PcmReader();
    if (!(answer.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
      for await (const bytes of blocks(answer)) yield { samples: reader.read(bytes) };
      return;
    }
    for await (const event of events(answer)) {
      if (event.type === "speech.audio.delta") yield { samples: reader.read(fromBase64(event.audio)) };
      else if (event.type === "speech.audio.words") yield { words: event.words };
      else if (event.type === "speech.audio.done") return;
      else if (event.error) throw new Problem(sentence(event.error.message) || PLAIN[500]);
    }
    throw new Problem("The server broke off before the end.");
  }
}

/** The key that is kept for this tab; browsers that are told to keep nothing throw. */
function kept() {
  try {
    return sessionStorage.getItem("key");
  } catch {
    return null;
  }
}

function keep(key) {
  try {
    if (key) sessionStorage.setItem("key", key);
    else sessionStorage.removeItem("key");
  } catch {
    // then it is asked for again after the next visit
  }
}

async function* blocks(answer) {
  const reader = answer.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : new Problem("The connection to the server was lost.");
      });
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Server-sent events -> the JSON of each. */
async function* events(answer) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of blocks(answer)) {
    text += decoder.decode(bytes, { stream: true });
    const parts = text.split(/\r?\n\r?\n/);
    text = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length && data[0] !== "[DONE]") yield JSON.parse(data.join("\n"));
    }
  }
}

async function problemOf(answer) {
  let message = "";
  try {
    message = sentence((await answer.json()).error.message);
  } catch {
    // no answer of this server's own: the status alone has to do
  }
  if (answer.status === 401) return new Problem("The server wants an API key, and none that it knows was given.");
  const plain = PLAIN[answer.status] || "";
  if (answer.status === 429) {
    const wait = Number(answer.headers.get("Retry-After"));
    return new Problem(`${plain} Try again in ${wait > 1 ? `${wait} seconds` : "a moment"}.`);
  }
  return new Problem([plain, message].filter(Boolean).join(" ") || `The server answered with status ${answer.status}.`);
}

function sentence(text) {
  const trimmed = String(text || "").trim();
  return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
