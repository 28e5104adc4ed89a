// The voices to choose from: the server's list as radio buttons, uploaded ones with a button that removes them.

export class Voices extends EventTarget {
  /** @param {HTMLElement} place is filled; `fail(error)` shows what went wrong, `tell(text)` what went well. */
  constructor(client, place, { fail, tell }) {
    super();
    Object.assign(this, { client, place, fail, tell, list: [], chosen: null });
    place.addEventListener("change", (event) => this.#choose(event.target.value));
  }

  /** Asks the server; `id`: the voice to choose, by default the one that was chosen. */
  async load(id = this.chosen?.id) {
    this.list = (await this.client.json("v1/audio/voices")).voices;
    const chosen = this.list.find((voice) => voice.id === id) || this.list[0];
    this.place.replaceChildren(...this.list.map((voice) => this.#row(voice, voice === chosen)));
    if (!chosen) this.place.append(hint("This server ships no voice. Add one below."));
    this.#choose(chosen?.id);
  }

  #choose(id) {
    this.chosen = this.list.find((voice) => voice.id === id) || null;
    this.dispatchEvent(new Event("change"));
  }

  #row(voice, checked) {
    const row = document.createElement("div"), label = document.createElement("label");
    row.className = "voice";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "voice", value: voice.id, checked });
    const letter = text("span", "letter", Array.from(voice.name)[0]?.toUpperCase() || "?");
    letter.setAttribute("aria-hidden", "true");
    letter.style.setProperty("--hue", hue(voice.name));
    const about = voice.kind === "uploaded" ? "yours" : languageName(voice.language);
    label.append(input, letter, text("span", "voice-name", shown(voice)), text("span", "hint", about));
    row.append(label);
    if (voice.kind === "uploaded") row.append(this.#removal(voice));
    return row;
  }

  /** Two clicks: the first asks. */
  #removal(voice) {
    const button = text("button", "plain remove", "Remove");
    button.type = "button";
    button.setAttribute("aria-label", `Remove the voice ${voice.name}`);
    button.addEventListener("blur", () => {
      delete button.dataset.sure;
      button.textContent = "Remove";
      button.setAttribute("aria-label", `Remove the voice ${voice.name}`);
    });
    button.addEventListener("click", async () => {
      if (!button.dataset.sure) {
        button.dataset.sure = "yes";
        button.textContent = "Sure?";
        button.setAttribute("aria-label", `Really remove the voice ${voice.name}?`);
        return;
      }
      try {
        await this.client.request(`v1/audio/voices/${encodeURIComponent(voice.id)}`, { method: "DELETE" });
        await this.load();
        this.tell(`The voice ${voice.name} is removed.`);
        this.place.querySelector("input:checked")?.focus();
      } catch (error) {
        this.fail(error);
      }
    });
    return button;
  }

  /** Uploads a recording and chooses the new voice. */
  async add(file, name) {
    const form = new FormData();
    form.append("file", file.blob, file.name);
    form.append("name", name);
    const voice = await (await this.client.post("v1/audio/voices", form)).json();
    await this.load(voice.id);
    return voice;
  }
}

export const shown = (voice) => voice.name.charAt(0).toUpperCase() + voice.name.slice(1);

/** "en-us" -> "American English"; the code itself where the browser knows no name. */
export function languageName(code) {
  try {
    return code ? new Intl.DisplayNames(["en"], { type: "language" }).of(code) : "";
  } catch {
    return code;
  }
}

function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

function text(tag, className, content) {
  return Object.assign(document.createElement(tag), { className, textContent: content });
}

const hint = (content) => text("p", "hint", content);
