// Keeps the page true: the server sends the whole view when it changes, this module writes it
// into the elements that the server rendered. It only ever sets text, never markup. When the
// set of meters, phases, agents or ports differs from what is on the page, or there is news of
// alerts, the page is loaded anew, so that there is one description of the markup only: templates/state.html.

import { exact, size, span, term } from "./format.js";
import { rememberLanguage, t } from "./i18n.js";
import { askWhetherOutside } from "./session.js";

const ABSENT = "–";
const RELOAD_MS_MIN = 5000;
const RETRY_MS = 5000;

// Maps: an agent's own reason may be called "constructor".
const OUTCOMES = new Map([
  ["held", "state.held_now"],
  ["released", "state.released"],
  ["glitch", "state.glitch"],
]);
const DOUBTS = new Map([
  ["set", "state.doubt.set"],
  ["falls", "state.doubt.falls"],
  ["jumps", "state.doubt.jumps"],
  ["id", "state.doubt.id"],
]);

function reasons(counts) {
  if (counts === null || counts === undefined) return ABSENT;
  const bad = Object.entries(counts).filter(([, count]) => count);
  return bad.length ? bad.map(([name, count]) => `${name} ${exact(count)}`).join(", ") : t("state.none");
}

function quarantine(value) {
  const counts = new Map(Object.entries(value ?? {}).filter(([, count]) => count));
  const outcomes = [...OUTCOMES].filter(([name]) => counts.has(name));
  const others = [...counts.keys()].filter((name) => !DOUBTS.has(name) && !OUTCOMES.has(name));
  const doubts = [...DOUBTS.keys(), ...others].filter((name) => counts.has(name));
  return [
    outcomes.map(([name, key]) => `${exact(counts.get(name))} ${t(key)}`).join(", "),
    doubts.map((name) => `${DOUBTS.has(name) ? t(DOUBTS.get(name)) : name} (${exact(counts.get(name))})`).join(", "),
  ].filter(Boolean).join(`${t("state.why")} `);
}

const FORMATS = {
  number: exact,
  magnitude: (value) => exact(value === null ? null : String(value).replace("-", "")),
  direction: (value) => t(`direction.${value ?? "unknown"}`),
  duration: span,
  size,
  term,
  reasons,
  quarantine,
  state: (value) => t(`chip.${value}`),
  text: (value) => value ?? ABSENT,
  meter: (value) => (value ? t("state.meter_is", { name: value }) : t("state.unrecognised")),
};

rememberLanguage();

let view = null;
let viewAt = 0;

function lookUp(data, path) {
  return path.split(".").reduce((at, key) => (at === null || at === undefined ? null : at[key] ?? null), data);
}

function setText(element, text) {
  // Writing the same text again would make a screen reader say it again.
  if (element.textContent !== text) element.textContent = text;
}

// Counts of which none has moved are nothing either.
function isNothing(value) {
  if (value === null || value === "") return true;
  return typeof value === "object" && !Object.values(value).some(Boolean);
}

function fill(root, data) {
  for (const element of [root, ...root.querySelectorAll("[data-show]")]) {
    if (element.dataset.show === undefined) continue;
    const [path, wanted] = element.dataset.show.split("=");
    const value = lookUp(data, path);
    element.hidden = wanted === undefined ? isNothing(value) : value !== wanted;
  }
  for (const element of root.querySelectorAll("[data-field]")) {
    const how = element.dataset.as;
    if (how === "age" || how === "ago" || how === "agewords") continue;
    const value = lookUp(data, element.dataset.field);
    if (how === "progress") element.value = value ?? 0;
    else setText(element, how ? FORMATS[how](value) : value ?? "");
  }
}

// Ages grow between two views, and keep growing when no view comes any more.
function tick(root, data) {
  const elapsed = (performance.now() - viewAt) / 1000;
  for (const element of root.querySelectorAll('[data-as="age"], [data-as="ago"]')) {
    const value = lookUp(data, element.dataset.field);
    const text = span(value === null ? null : value + elapsed);
    setText(element, value !== null && element.dataset.as === "ago" ? t("ago", { span: text }) : text);
  }
  if (root.dataset.meter === undefined) return;
  const stale = data.age_s + elapsed > data.stale_after_s;
  root.classList.toggle("stale", stale);
  for (const element of root.querySelectorAll('[data-as="agewords"]')) {
    setText(element, t(stale ? "state.no_data_since" : "state.reading_of"));
  }
}

function roots() {
  const meters = new Map(view.meters.map((meter) => [meter.server_id, meter]));
  const agents = new Map(view.agents.map((agent) => [agent.id, agent]));
  const pairs = [];
  for (const root of document.querySelectorAll("[data-meter]")) pairs.push([root, meters.get(root.dataset.meter)]);
  for (const root of document.querySelectorAll("[data-agent]")) pairs.push([root, agents.get(root.dataset.agent)]);
  for (const root of document.querySelectorAll(".troubles, .host, .gaps")) pairs.push([root, view]);
  return pairs.filter(([, data]) => data !== undefined);
}

function shapeOfPage() {
  const meters = [...document.querySelectorAll("[data-meter]")].map((one) => [one.dataset.meter, one.dataset.phases]);
  const agents = [...document.querySelectorAll("[data-agent]")].map((one) => [
    one.dataset.agent,
    [...one.querySelectorAll("[data-port]")].map((port) => port.dataset.port),
    one.querySelector("[data-board]") !== null,
  ]);
  return JSON.stringify([meters, agents, document.getElementById("alerts").dataset.alerts]);
}

function shapeOfView() {
  const meters = view.meters.map((meter) => [meter.server_id, String(meter.phases.length)]);
  const agents = view.agents.map((agent) => [agent.id, agent.ports.map((port) => port.port), agent.board !== null]);
  return JSON.stringify([meters, agents, String(view.alerts.mark)]);
}

function reload() {
  const last = Number(sessionStorage.getItem("reloaded") ?? 0);
  if (Date.now() - last < RELOAD_MS_MIN) return;
  sessionStorage.setItem("reloaded", String(Date.now()));
  location.reload();
}

// Lists of what was when, newest first; each is written anew only when it changed.
const LISTS = {
  events: () => view.events.map((event) => [event.time, event.time_text, event.text]),
  gaps: () => view.gaps.newest.map((gap) => [gap.noted, gap.noted_text, gap.text]),
};
const listsShown = new Map();

function showList(name) {
  const entries = LISTS[name]();
  const known = JSON.stringify(entries);
  if (known === listsShown.get(name)) return;
  listsShown.set(name, known);
  const rows = entries.map(([iso, clock, words]) => {
    const row = document.createElement("li");
    const time = document.createElement("time");
    const text = document.createElement("span");
    time.dateTime = iso;
    time.textContent = clock;
    text.textContent = words;
    row.append(time, " ", text);
    return row;
  });
  document.getElementById(name).replaceChildren(...rows);
}

function show() {
  if (shapeOfPage() !== shapeOfView()) reload();
  for (const [root, data] of roots()) {
    fill(root, data);
    tick(root, data);
    if (root.dataset.meter !== undefined) {
      root.classList.remove("importing", "exporting", "balanced", "unknown");
      root.classList.add(data.direction ?? "unknown");
    }
    if (root.dataset.agent !== undefined) {
      root.classList.remove("online", "offline", "unknown");
      root.classList.add(data.state);
    }
  }
  for (const name of Object.keys(LISTS)) showList(name);
}

function say(text, kind) {
  const pill = document.getElementById("link");
  setText(pill, text);
  pill.className = `pill ${kind}`;
}

function watch() {
  const source = new EventSource("/events");
  source.addEventListener("message", (message) => {
    view = JSON.parse(message.data);
    viewAt = performance.now();
    say(t("link.live"), "live");
    show();
  });
  source.addEventListener("error", () => {
    say(t("link.lost"), "lost");
    // The browser retries a lost connection by itself, but gives up on an error answer.
    if (source.readyState !== EventSource.CLOSED) return;
    askWhetherOutside();
    setTimeout(watch, RETRY_MS);
  });
}

setInterval(() => {
  if (view !== null) for (const [root, data] of roots()) tick(root, data);
}, 1000);
watch();
