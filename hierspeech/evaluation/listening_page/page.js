"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const get = id => document.getElementById(id);
const LABELS = { 5: "Excellent", 4: "Good", 3: "Fair", 2: "Poor", 1: "Bad" };  // ITU-T P.800
const COLUMNS = ["page", "listener", "kind", "number", "first", "second", "answer", "seconds", "plays"];
const store = {  // some browsers keep nothing for files: then answers live as long as the page
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); return true; } catch { return false; } },
};
let listener, trials, answers, at, shown, audio = null, state;

function random(text) {  // xmur3 and mulberry32 (public domain): equal listener ids, equal orders
  let h = 1779033703 ^ text.length;
  for (const c of text) { h = Math.imul(h ^ c.codePointAt(0), 3432918353); h = (h << 13) | (h >>> 19); }
  return () => {
    h = (h + 0x6D2B79F5) | 0;
    let t = Math.imul(h ^ (h >>> 15), 1 | h);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(list, draw) {
  const out = [...list];
  for (let k = out.length - 1; k > 0; k--) {
    const other = Math.floor(draw() * (k + 1));
    [out[k], out[other]] = [out[other], out[k]];
  }
  return out;
}

function newListener() {
  return [...crypto.getRandomValues(new Uint8Array(4))].map(x => x.toString(16).padStart(2, "0")).join("");
}

function start(id) {
  stop();
  listener = id;
  store.set(`listening-${data.page}`, id);
  const draw = random(`${data.page} ${id}`);
  trials = shuffled(data.trials, draw).slice(0, data.count).map(t => ({ ...t, sounds: shuffled(t.sounds, draw) }));
  answers = JSON.parse(store.get(`listening-${data.page}-${id}`) || "[]").slice(0, trials.length);
  get("listener").textContent = id;
  at = Math.min(answers.filter(Boolean).length, trials.length);
  get("about").textContent = `${trials.length} ${trials.length === 1 ? "trial" : "trials"}. ${data.question}`;
  get("begin").textContent = at ? "Go on" : "Begin";
  get("start").hidden = false; get("trial").hidden = get("end").hidden = true;
  get("save").hidden = !at;
  get("begin").focus();
}

function stop() {
  if (audio) { audio.onended = null; audio.pause(); audio = null; }
  for (const b of document.querySelectorAll("#sounds button")) b.classList.remove("playing");
}

function show() {
  stop();
  get("start").hidden = true;
  const done = at >= trials.length;
  get("trial").hidden = done; get("end").hidden = !done;
  get("save").hidden = !answers.length;
  get("save").classList.toggle("main", done);
  if (done) { get("save").focus(); return; }
  const trial = trials[at];
  state = { heard: new Set(), plays: 0, begin: performance.now() };
  get("number").textContent = `${at + 1} of ${trials.length}`;
  get("progress").max = trials.length; get("progress").value = at;
  get("question").textContent = data.question;
  get("text").textContent = trial.text || ""; get("text").hidden = !trial.text;
  const names = data.kind === "mos" ? ["Play"] : ["A", "B"];
  shown = trial.sounds.map((code, k) => ({ code, name: names[k] }));
  if (trial.x) shown.unshift({ code: trial.x, name: "X" });
  get("sounds").replaceChildren(...shown.map((sound, k) => {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = sound.name; b.onclick = () => play(k);
    b.setAttribute("aria-label", sound.name === "Play" ? "Play the sound" : `Play ${sound.name}`);
    return b;
  }));
  const choices = data.kind === "mos" ? [5, 4, 3, 2, 1].map(n => [String(n), `${n} ${LABELS[n]}`])
    : trial.sounds.map((code, k) => [code, names[k]]);
  const before = answers[at];
  get("answers").replaceChildren(...choices.map(([value, label]) => {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = label; b.dataset.value = value; b.disabled = true;
    b.setAttribute("aria-pressed", String(Boolean(before) && before.answer === value));
    b.onclick = () => answer(value);
    return b;
  }));
  get("back").disabled = at === 0;
  get("keys").textContent = data.kind === "mos" ? "Keys: space plays, 1 to 5 answer, Backspace goes back."
    : `Keys: ${trial.x ? "x, " : ""}a and b play, 1 answers A, 2 answers B, Backspace goes back.`;
  get("sounds").firstChild.focus();
}

function play(k) {
  stop();
  const button = get("sounds").children[k], code = shown[k].code;
  audio = new Audio(data.media[code]);
  state.plays++;
  button.classList.add("playing");
  audio.onended = () => {
    button.classList.remove("playing"); button.classList.add("heard");
    state.heard.add(k);
    if (state.heard.size === shown.length) for (const b of get("answers").children) b.disabled = false;
  };
  const mine = audio;
  audio.play().catch(() => { if (audio === mine) { stop(); get("saved").textContent = "This browser could not play the sound."; } });
}

function answer(value) {
  if (state.heard.size < shown.length) return;
  answers[at] = { number: at + 1, first: trials[at].sounds[0], second: trials[at].sounds[1] || "", answer: value,
    seconds: ((performance.now() - state.begin) / 1000).toFixed(1), plays: state.plays };
  const kept = store.set(`listening-${data.page}-${listener}`, JSON.stringify(answers));
  get("saved").textContent = kept ? "" : "This browser keeps nothing: do not close the page before you have saved.";
  at++;
  show();
}

function csv() {
  const rows = answers.filter(Boolean).map(a => COLUMNS.map(name =>
    ({ page: data.page, listener, kind: data.kind, ...a })[name]).join(","));
  return [COLUMNS.join(","), ...rows].join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.href = url; link.download = `listening-${data.page}-${listener}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  get("saved").textContent = `${answers.filter(Boolean).length} answers saved.`;
}

document.addEventListener("keydown", event => {
  if (get("trial").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  let did = true;
  if (data.kind === "mos" && key >= "1" && key <= "5" && key.length === 1) answer(key);
  else if (data.kind !== "mos" && (key === "1" || key === "2")) answer(trials[at].sounds[Number(key) - 1]);
  else if (data.kind === "mos" && key === " " && event.target.tagName !== "BUTTON") play(0);  // a button in focus does so by itself
  else if (data.kind !== "mos" && shown.some(s => s.name.toLowerCase() === key)) play(shown.findIndex(s => s.name.toLowerCase() === key));
  else if (key === "backspace" && at > 0) { at--; show(); }
  else did = false;
  if (did) event.preventDefault();
});
get("begin").onclick = show;
get("back").onclick = () => { if (at > 0) { at--; show(); } };
get("save").onclick = save;
get("other").onclick = () => start(newListener());
// whoever runs the test may give ids: page.html#listener=anna
const given = new URLSearchParams(location.hash.slice(1)).get("listener");
start((given || "").replace(/[^\w.-]/g, "").slice(0, 40) || store.get(`listening-${data.page}`) || newListener());
