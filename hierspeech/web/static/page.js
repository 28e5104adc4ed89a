// The page: its controls, and one take at a time from the server to the loudspeaker, the picture and the marked words.

import { Client } from "./client.js";
import { Picker } from "./picker.js";
import { Reading } from "./reading.js";
import { Take } from "./take.js";
import { languageName, shown, Voices } from "./voices.js";

const get = (id) => document.getElementById(id);
const SEEDS = 2 ** 31;

function tell(text) {
  get("status").textContent = text;
  get("problem").textContent = "";
}

/** An error, or a sentence; whatever the program itself did wrong also goes to the console. */
function fail(error) {
  if (error instanceof TypeError || error instanceof ReferenceError) console.error(error);
  get("status").textContent = "";
  get("problem").textContent = error.message || error;
}

function askForKey(refused) {
  const dialog = get("key-dialog");
  get("key-refused").hidden = !refused;
  get("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
  }).then((key) => {
    get("forget-key").hidden = !key;
    return key;
  });
}

const client = new Client(askForKey);
const voices = new Voices(client, get("voices"), { fail, tell });
const source = new Picker(get("source"), { limit: 300, fail });
const reference = new Picker(get("reference"), { limit: 30, fail });
const take = new Take(client, new Reading(get("reading"), (seconds) => take.player.play(seconds)), { tell, fail });
let model = null;

const mode = () => document.querySelector("input[name=mode]:checked").value;

function go() {
  if (reference.recorder || source.recorder) return fail("Stop the recording first.");
  if (!voices.chosen) return fail("There is no voice to speak with. Add one first.");
  const seed = get("seed").value === "" ? Math.floor(Math.random() * SEEDS) : Number(get("seed").value);
  if (!(Number.isInteger(seed) && seed >= 0 && seed < SEEDS)) {
    get("seed").focus();
    return fail(`The seed is a whole number from 0 to ${SEEDS - 1}, or nothing.`);
  }
  const common = { voice: voices.chosen.id, seed };
  return mode() === "speak" ? speak(common) : convert(common);
}

function speak(common) {
  const text = get("text").value;
  if (!text.trim()) {
    get("text").focus();
    return fail("Write something to say first.");
  }
  const speed = Number(get("speed").value), language = get("language").value;
  const body = { ...common, ...(model && { model }), input: text, speed, ...(language && { language }) };
  return take.run({
    path: "v1/audio/speech",
    body: (format, live) => ({
      ...body, response_format: format, ...(live && { stream_format: "sse", timestamps: true }),
    }),
    title: `${shown(voices.chosen)} speaks`,
    text,
    language: language || voices.chosen.language,
    expected: text.trim().length / (wide(text) ? 5 : 15) / speed,
    seed: common.seed,
    name: text,
  });
}

/** Chinese, Japanese and Korean letters take about three times as long as others. */
const wide = (text) => (text.match(/[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]/g) || []).length > text.length / 3;

function convert(common) {
  const { file } = source;
  if (!file) return fail("Choose or record something to convert first.");
  return take.run({
    path: "v1/audio/conversions",
    body: (format) => {
      const form = new FormData();
      form.append("file", file.blob, file.name);
      for (const [name, value] of Object.entries({ ...common, response_format: format })) form.append(name, value);
      return form;
    },
    title: `“${file.name}” in the voice of ${shown(voices.chosen)}`,
    text: "",
    expected: file.seconds || 0,
    seed: common.seed,
    name: `${file.name.replace(/\.\w+$/, "")} ${voices.chosen.name}`,
  });
}

function stop() {
  for (const picker of [source, reference]) if (picker.recorder) picker.stop();
  take.stop();
}

async function addVoice(event) {
  event.preventDefault();
  const name = get("voice-name").value.trim();
  if (!reference.file) return fail("Choose or record a recording of the voice first.");
  if (!name) {
    get("voice-name").focus();
    return fail("Give the voice a name.");
  }
  if (!get("consent").checked) {
    get("consent").focus();
    return fail("A voice is added only with the consent of the person it belongs to: please confirm it.");
  }
  if (get("upload").ariaDisabled === "true") return;
  get("upload").ariaDisabled = "true";
  tell("Adding the voice …");
  try {
    const voice = await voices.add(reference.file, name);
    reference.clear();
    document.querySelector("#voices input:checked")?.focus();
    tell(`The voice ${voice.name} is added and chosen.`);
  } catch (error) {
    fail(error);
  } finally {
    get("upload").ariaDisabled = "false";
  }
}

function showReference() {
  const there = Boolean(reference.file);
  get("new-voice").hidden = !there;
  get("reference-hint").hidden = there;
  get("consent").checked = false;
  if (there && !get("voice-name").value) {
    get("voice-name").value = reference.file.name.replace(/\.\w+$/, "").replace(/[-_]+/g, " ").replace("recording", "My voice");
  }
  if (!there) get("voice-name").value = "";
}

function showMode() {
  const speaking = mode() === "speak";
  get("speak-panel").hidden = !speaking;
  get("convert-panel").hidden = speaking;
  get("words-title").textContent = speaking ? "What to say" : "What to convert";
  get("go").textContent = speaking ? "Speak" : "Convert";
}

function showSettings() {
  const letters = Array.from(get("text").value.trim()).length;
  get("count").textContent = `${letters} ${letters === 1 ? "character" : "characters"}`;
  get("speed-shown").textContent = `${Number(get("speed").value).toFixed(2)}×`;
  const asked = get("language").value, own = voices.chosen?.language;
  const foreign = asked && own && asked.split("-")[0] !== own.split("-")[0];
  get("language-note").hidden = !foreign;
  if (foreign) {
    const [wanted, trained] = [languageName(asked), languageName(own)];
    get("language-note").textContent = `${shown(voices.chosen)} speaks ${trained}; ${wanted} may be hard to understand.`;
  }
}

async function begin() {
  try {
    model = (await client.json("v1/models")).data[0].id;
    await voices.load();
  } catch (error) {
    get("voices").textContent = "";
    fail(error);
  }
}

get("go").addEventListener("click", go);
get("stop").addEventListener("click", stop);
get("add-voice").addEventListener("submit", addVoice);
reference.addEventListener("change", showReference);
for (const picker of [source, reference]) {
  picker.addEventListener("recording", () => tell("Recording …"));
  picker.addEventListener("change", () => tell(picker.file ? `${picker.file.name} is ready.` : ""));
}
voices.addEventListener("change", showSettings);
for (const id of ["text", "speed", "language"]) get(id).addEventListener("input", showSettings);
for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", showMode);
document.addEventListener("keydown", (event) => {
  if (get("key-dialog").open) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    go();
  } else if (event.key === "Escape") stop();
});
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault()); // a file beside the places for it does not replace the page
get("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  get("key-dialog").close(get("key").value.trim());
});
get("key-cancel").addEventListener("click", () => get("key-dialog").close(""));
get("key-dialog").addEventListener("cancel", () => (get("key-dialog").returnValue = ""));
get("forget-key").hidden = !client.key;
get("forget-key").addEventListener("click", () => {
  client.forget();
  get("forget-key").hidden = true;
  tell("The API key is forgotten.");
});
showMode();
showSettings();
begin();

export { client, reference, source, take, voices };
