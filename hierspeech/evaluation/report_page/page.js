"use strict";
// The page of a report: everything is built from the JSON beside it, with text nodes only, so that no text of an item is taken for HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const state = { column: null, worstFirst: true, system: "", find: "", all: false, open: new Set() };
const rows = data.items.flatMap((item) =>
  data.systems.filter((name) => item.systems[name]).map((name) => ({ item, system: name, own: item.systems[name], key: JSON.stringify([item.id, name]) })));

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const arrow = (column) => ({ higher: " ↑", lower: " ↓" })[column.better] || "";
const show = (value, column) => (value === null || value === undefined ? "–" : value.toFixed(column.decimals));

function summary() {
  const head = make("tr", {}, make("th", { scope: "col" }, "Figure"), ...data.systems.map((name) => make("th", { scope: "col", class: "number" }, name)));
  const body = data.columns.map((column) => {
    const found = data.systems.map((name) => data.summary[name][column.name]);
    const means = found.filter(Boolean).map((estimate) => estimate.mean);
    const best = data.systems.length > 1 && means.length > 1 && column.better ? Math[column.better === "higher" ? "max" : "min"](...means) : null;
    const cells = found.map((estimate, k) => {
      if (!estimate) return make("td", { class: "number none" }, "not measured");
      const interval = estimate.low === null ? "" : ` [${show(estimate.low, column)}, ${show(estimate.high, column)}]`;
      const spread = estimate.p5 === null ? "" : `${show(estimate.p5, column)} to ${show(estimate.p95, column)}, `;
      return make("td", { class: "number" }, make("span", { class: estimate.mean === best ? "best" : "" }, show(estimate.mean, column)), interval,
        make("small", {}, `${spread}n = ${estimate.n}`), difference(column, data.systems[k]));
    });
    return make("tr", {}, make("th", { scope: "row" }, `${column.title}${arrow(column)}`, make("small", {}, column.unit)), ...cells);
  });
  get("summary").append(make("thead", {}, head), make("tbody", {}, ...body));
}

function difference(column, name) {
  const found = (data.differences[name] || {})[column.name];
  if (!found || found.low === null || (found.low === 0 && found.high === 0)) return null;
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${show(Math.abs(value), column)}`;
  return make("small", { class: found.clear ? "clear" : "", title: found.clear ? "a difference beyond chance (95 %)" : "may be chance (95 %)" },
    `${signed(found.mean)} [${signed(found.low)}, ${signed(found.high)}] item by item${found.clear ? "" : " (may be chance)"}`);
}

function facts() {
  const names = [...new Set(data.systems.flatMap((name) => Object.keys(data.facts[name] || {})))];
  if (!names.length) return get("facts").remove();
  const head = make("tr", {}, make("th", { scope: "col" }, "Fact"), ...data.systems.map((name) => make("th", { scope: "col", class: "number" }, name)));
  const body = names.map((fact) => make("tr", {}, make("th", { scope: "row" }, fact), ...data.systems.map((name) => {
    const value = (data.facts[name] || {})[fact];
    return value === undefined || value === null ? make("td", { class: "number none" }, "not measured") : make("td", { class: "number" }, String(value));
  })));
  get("facts").append(make("thead", {}, head), make("tbody", {}, ...body));
}

function missing() {
  for (const sentence of data.explanations) get("missing").append(make("p", { class: "hint" }, sentence));
}

function player(key, label) {
  if (!key) return make("span", { class: "none" }, "–");
  const audio = make("audio", { controls: true, preload: "metadata", "aria-label": label, src: data.media[key].sound });
  audio.addEventListener("play", () => document.querySelectorAll("audio").forEach((other) => other !== audio && other.pause()));
  return audio;
}

function pitch(key, targetKey) {
  const own = data.media[key], target = targetKey && targetKey !== key ? data.media[targetKey] : null;
  const all = [own, target].filter(Boolean).flatMap((medium) => medium.f0.filter((hz) => hz > 0));
  if (!all.length) return null;
  const low = Math.min(...all) * 0.95, high = Math.max(...all) * 1.05, seconds = Math.max(own.seconds, target ? target.seconds : 0);
  const line = (medium, name) => {
    let path = "", before = 0;
    medium.f0.forEach((hz, k) => {
      if (hz > 0) path += `${before > 0 ? "L" : "M"}${((k * medium.f0_step) / seconds * 1000).toFixed(1)} ${(100 * (1 - Math.log(hz / low) / Math.log(high / low))).toFixed(1)}`;
      before = hz;
    });
    const node = document.createElementNS("http://www.w3.org/2000/svg", "path");
    node.setAttribute("d", path);
    node.setAttribute("class", name);
    return node;
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 1000 100", preserveAspectRatio: "none", class: "f0", role: "img", "aria-label": `F0 from ${Math.round(low)} to ${Math.round(high)} Hz` })) svg.setAttribute(name, value);
  if (target) svg.append(line(target, "target"));
  svg.append(line(own, "own"));
  return make("div", {}, svg, make("small", {}, `F0, ${Math.round(low)} to ${Math.round(high)} Hz, log${target ? "; dashed: the target" : ""}`));
}

function version(title, key, own, targetKey) {
  const medium = key && data.media[key];
  const parts = [make("h3", {}, title)];
  if (medium) {
    parts.push(player(key, title), make("div", { class: "picture" },
      make("img", { src: medium.src, alt: `spectrogram of ${title}` }), make("span", {}, `0 to ${medium.top_hz / 1000} kHz, ${medium.seconds.toFixed(2)} s`)), pitch(key, targetKey));
  }
  if (own) {
    parts.push(make("p", { class: "values" }, data.columns.filter((column) => column.name in own.values).map((column) => `${column.title} ${show(own.values[column.name], column)} ${column.unit}`).join(" · ")));
    for (const [metric, words] of Object.entries(own.heard)) parts.push(make("p", { class: "values" }, `${metric} heard: “${words}”`));
    for (const [metric, why] of Object.entries(own.failed)) if (!(metric in data.missing[title])) parts.push(make("p", { class: "failed" }, `${metric} not measured: ${why}`));
  }
  return make("div", { class: "version" }, ...parts);
}

function detail(row, width) {
  const entries = data.systems.filter((name) => row.item.systems[name]).map((name) => [name, row.item.systems[name]]);
  const parts = entries.map(([name, own]) => version(name, own.wav, own, own.target));
  const shown = new Set(entries.map(([, own]) => own.wav));
  for (const role of ["reference", "target"]) for (const [, own] of entries) if (own[role] && !shown.has(own[role])) {
    shown.add(own[role]);
    parts.push(version(role, own[role], null, null));
  }
  return make("tr", { class: "detail" }, make("td", { colspan: width }, make("p", {}, row.item.text || ""), make("div", { class: "versions" }, ...parts)));
}

function visible() {
  return data.columns.filter((column) => state.all || column.main);
}

function sorted() {
  const column = data.columns.find((one) => one.name === state.column);
  const words = state.find.toLowerCase();
  const chosen = rows.filter((row) => (!state.system || row.system === state.system) && (!words || `${row.item.id} ${row.own.text || ""}`.toLowerCase().includes(words)));
  if (!column) return state.worstFirst ? chosen : chosen.reverse();
  const sign = (column.better === "higher" ? 1 : -1) * (state.worstFirst ? 1 : -1);
  const value = (row) => row.own.values[column.name];
  return chosen.map((row, k) => [row, k]).sort(([a, i], [b, j]) => {
    const x = value(a), y = value(b);
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || i - j; // what has no figure comes last
    return sign * (x - y) || i - j;
  }).map(([row]) => row);
}

function sortBy(name) {
  state.worstFirst = state.column === name ? !state.worstFirst : true;
  state.column = name;
  items();
  const button = document.querySelector(`#items th[data-column="${name}"] button`);
  if (button) button.focus();
}

function items() {
  const columns = visible(), several = data.systems.length > 1, list = sorted();
  const direction = (column) => (column.better === "higher") === state.worstFirst ? "ascending" : "descending";
  const heads = columns.map((column) => make("th", { scope: "col", class: "number", "data-column": column.name, "aria-sort": state.column === column.name ? direction(column) : null },
    make("button", { type: "button", title: `${column.unit}; sort, worst first`, onclick: () => sortBy(column.name) }, `${column.title}${arrow(column)}${state.column === column.name ? (direction(column) === "ascending" ? " ▲" : " ▼") : ""}`)));
  get("items").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, "Item"), several ? make("th", { scope: "col" }, "System") : null, make("th", { scope: "col" }, "Sound"), make("th", { scope: "col" }, "Text"), ...heads));
  const width = columns.length + 3 + several;
  const body = list.flatMap((row) => {
    const open = state.open.has(row.key);
    if (row.line && row.all === state.all) return open ? [row.line, row.detail] : [row.line]; // a player that plays goes on
    const toggle = (event) => {
      const button = event.currentTarget, opens = !state.open.has(row.key);
      state.open[opens ? "add" : "delete"](row.key);
      button.setAttribute("aria-expanded", String(opens));
      button.textContent = `${opens ? "▾" : "▸"} ${row.item.id}`;
      if (opens) line.after(row.detail = detail(row, width)); else row.detail.remove();
    };
    const line = make("tr", { class: "item", "data-id": row.item.id, "data-system": row.system },
      make("td", {}, make("button", { type: "button", class: "open", "aria-expanded": String(open), onclick: toggle }, `${open ? "▾" : "▸"} ${row.item.id}`)),
      several ? make("td", {}, row.system) : null, make("td", {}, player(row.own.wav, `${row.item.id}, ${row.system}`)), make("td", { class: "cut", title: row.own.text || "" }, row.own.text || ""),
      ...columns.map((column) => make("td", { class: "number", title: row.own.failed[metricOf(column)] || "" }, show(row.own.values[column.name], column))));
    Object.assign(row, { line, all: state.all, detail: open ? detail(row, width) : null });
    return open ? [line, row.detail] : [line];
  });
  get("items").tBodies[0].replaceChildren(...body);
  get("count").textContent = `${list.length} of ${rows.length} rows`;
  get("sort").value = state.column || "";
  get("direction").textContent = state.worstFirst ? "worst first" : "best first";
}

const metricOf = (column) => Object.keys(data.cards).find((name) => data.cards[name].columns.some((one) => one.name === column.name));
const lines = () => [...document.querySelectorAll("#items tr.item")];

function keys(event) {
  const line = event.target.closest && event.target.closest("tr.item");
  if (!line || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("audio")) return;
  const all = lines(), at = all.indexOf(line), audio = line.querySelector("audio");
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const next = all[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) next.querySelector("button.open").focus();
  } else if (event.key === "p" && audio) {
    if (audio.paused) audio.play().catch(() => {}); else audio.pause();
  } else if (event.key === "c") {
    const same = all.filter((one) => one.dataset.id === line.dataset.id), next = same[(same.indexOf(line) + 1) % same.length];
    next.querySelector("button.open").focus();
    const other = next.querySelector("audio");
    if (other) other.play().catch(() => {});
  } else return;
  event.preventDefault();
}

function describe(entries) {
  return make("dl", {}, ...Object.entries(entries).flatMap(([name, value]) => value === null || value === "" ? [] : [make("dt", {}, name), make("dd", {}, typeof value === "object" ? Object.entries(value).map(([key, one]) => `${key} ${typeof one === "object" ? JSON.stringify(one) : one}`).join(", ") : String(value))]));
}

function cards() {
  for (const [name, card] of Object.entries(data.cards)) {
    const figures = card.columns.map((column) => `${column.title} (${column.unit}${column.better ? `, ${column.better} is better` : ""})`).join("; ");
    get("cards").append(make("details", {}, make("summary", {}, `${name}: ${figures}`), describe({ meaning: card.meaning, scale: card.scale, source: card.source, model: card.model, licence: card.licence, install: card.install })));
  }
  for (const name of data.systems) get("headers").append(make("details", { open: data.systems.length === 1 }, make("summary", {}, name), describe(data.headers[name])));
}

function start() {
  get("title").textContent = data.title;
  get("introduction").textContent = data.introduction;
  const first = data.columns.find((column) => column.better);
  state.column = first ? first.name : null;
  get("sort").append(make("option", { value: "" }, "order of the list"), ...data.columns.map((column) => make("option", { value: column.name }, `${column.title} (${column.unit})`)));
  get("system").append(make("option", { value: "" }, "all"), ...data.systems.map((name) => make("option", { value: name }, name)));
  get("sort").addEventListener("change", (event) => { state.column = event.target.value || null; state.worstFirst = true; items(); });
  get("direction").addEventListener("click", () => { state.worstFirst = !state.worstFirst; items(); });
  get("system").addEventListener("change", (event) => { state.system = event.target.value; items(); });
  get("find").addEventListener("input", (event) => { state.find = event.target.value; items(); });
  get("all").addEventListener("change", (event) => { state.all = event.target.checked; items(); });
  get("items").addEventListener("keydown", keys);
  summary(); facts(); missing(); cards(); items();
}
start();
