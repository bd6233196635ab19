// One inverter: all that it tells, kept fresh, and the history of what is chosen.

import { ask, now, setNow, Trouble } from "./api.js";
import { axisOf, colours, hasLibrary, timeLabels, valueLabels, zeroLine } from "./chart.js";
import { $, el, press, setText } from "./dom.js";
import { DAY_MS, isNumber, moment, range, reading, setZone, span, withUnit, zoneName } from "./format.js";
import { rememberLanguage, t } from "./i18n.js";

const FRESH_MS = 30_000;
const SPANS_MS = { day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS };
// A curve is broken where records are further apart: three of a usual device.
const HOLE_MS = 16 * 60_000;
const ROWS_MAX = 500;

const { device, now: sentAt, zone } = $("device").dataset;
rememberLanguage();
setZone(zone);
setNow(Number(sentAt));
if (hasLibrary()) document.body.classList.add("has-chart");

let channel = null;
let spanName = "day";
let back = 0;
let shown = null;
let plot = null;

function label(name) {
  return document.querySelector(`[data-show="${CSS.escape(name)}"]`)?.textContent ?? name;
}

async function load() {
  if (channel === null) return;
  for (const button of document.querySelectorAll("[data-show]")) press(button, button.dataset.show === channel);
  for (const button of document.querySelectorAll("[data-span]")) press(button, button.dataset.span === spanName);
  const end = now() - back * SPANS_MS[spanName];
  const start = end - SPANS_MS[spanName];
  $("history-later").disabled = back === 0;
  setText($("history-title"), `${label(channel)}, ${range(start, end)}`);
  $("history").setAttribute("aria-busy", "true");
  const trouble = $("history-trouble");
  try {
    const answer = await ask("solar/history", { device, channel, start, end });
    if (answer === null) return;
    trouble.hidden = true;
    shown = { ...answer, start, end };
  } catch (err) {
    if (!(err instanceof Trouble)) throw err;
    setText(trouble, t("numbers.trouble", { reason: err.message }));
    trouble.hidden = false;
    shown = { points: [], unit: null, start, end };
  }
  show();
  $("history").setAttribute("aria-busy", "false");
}

function show() {
  const known = shown.points.filter(([, value]) => value !== null);
  const isText = known.some(([, value]) => typeof value === "string");
  $("history-empty").hidden = known.length > 0;
  $("plot-history").hidden = isText || known.length === 0;
  setText($("history-head"), shown.unit ? `${t("history.value")} (${shown.unit})` : t("history.value"));
  // Of texts only the changes say something.
  const rows = isText ? known.filter(([, value], index) => value !== known[index - 1]?.[1]) : known;
  document.querySelector("#history details").open = isText;
  $("history-rows").replaceChildren(...rows.slice(-ROWS_MAX).toReversed().map(([at, value]) =>
    el("tr", {}, el("th", { scope: "row" }, moment(at)), el("td", {}, reading(value)))));
  draw();
  readOut(null);
}

// Times and values, broken where nothing came.
function curve() {
  const [times, values] = [[], []];
  for (const [at, value] of shown.points) {
    const last = times.at(-1);
    if (last !== undefined && at - last > HOLE_MS) {
      times.push(last + 1);
      values.push(null);
    }
    times.push(at);
    values.push(isNumber(value) ? value : null);
  }
  return [times, values];
}

function draw() {
  plot?.destroy();
  plot = null;
  const box = $("plot-history");
  if (!hasLibrary() || box.hidden || shown === null) return;
  const paint = colours();
  plot = new uPlot({
    width: box.clientWidth || 600,
    height: box.clientHeight || 240,
    ms: 1,
    tzDate: (ms) => uPlot.tzDate(new Date(ms), zoneName()),
    legend: { show: false },
    padding: [10, 30, 0, 0],
    cursor: { y: false, drag: { x: false, y: false, setScale: false } },
    scales: {
      x: { time: true, range: () => [shown.start, shown.end] },
      y: { range: (_, low, high) => (low === null ? [0, 1] : uPlot.rangeNum(low, high, 0.1, false)) },
    },
    axes: [axisOf(paint, { values: timeLabels, size: 40, space: 66 }), axisOf(paint, { size: 66, values: valueLabels, space: 28 })],
    series: [{}, { stroke: paint("power"), width: 1.6, points: { show: false } }],
    hooks: {
      drawAxes: [(one) => zeroLine(one, paint("edge"))],
      setCursor: [(one) => {
        const { idx: index } = one.cursor;
        readOut(index === null || index === undefined ? null : index);
      }],
    },
  }, curve(), box);
}

function readOut(index) {
  const box = $("history-readout");
  if (index === null) {
    setText(box, t("history.hint"));
    return;
  }
  const [at, value] = [plot.data[0][index], plot.data[1][index]];
  setText(box, `${moment(at)}: ${value === null ? t("chart.no_reading") : withUnit(reading(value), shown.unit ?? "").trim()}`);
}

// -- what it says now --------------------------------------------------------------------------

let heard = null;

async function refresh() {
  let answer;
  try {
    answer = await ask("solar/latest", { device, diagnostics: "yes" });
  } catch (err) {
    if (!(err instanceof Trouble)) throw err;
    setText($("link"), t("link.lost"));
    $("link").className = "pill lost";
    return;
  }
  if (answer === null) return;
  heard = { answer, at: performance.now() };
  setText($("link"), t("link.live"));
  $("link").className = "pill live";
  $("device").classList.toggle("stale", answer.stale);
  for (const one of answer.readings) {
    const row = document.querySelector(`tr[data-channel="${CSS.escape(one.channel)}"]`);
    if (row === null) continue;
    const text = withUnit(reading(one.value), one.value === null ? "" : one.unit ?? "").trim();
    const cell = row.querySelector('[data-cell="value"]');
    const mode = one.class && one.channel === "operating_mode" ? el("small", {}, t(`mode.${one.class}`)) : null;
    cell.replaceChildren(text, ...(mode ? [" ", mode] : []));
  }
  showAges();
}

function showAges() {
  if (heard === null) return;
  const since = (performance.now() - heard.at) / 1000;
  const { answer } = heard;
  setText($("device-age"), isNumber(answer.age_s)
    ? t(answer.stale ? "flow.stale" : "now.age", { span: span(answer.age_s + since) }) : t("flow.none"));
  for (const one of answer.readings) {
    const cell = document.querySelector(`tr[data-channel="${CSS.escape(one.channel)}"] [data-cell="age"]`);
    if (cell !== null) setText(cell, t("ago", { span: span(one.age_s + since) }));
  }
}

// -- all ---------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-show], [data-span]");
  if (button === null) return;
  if (button.dataset.show !== undefined) {
    channel = button.dataset.show;
    $("history").scrollIntoView({ block: "nearest", behavior: "instant" });
  } else {
    spanName = button.dataset.span;
    back = 0;
  }
  load();
});
for (const [id, step] of [["history-earlier", 1], ["history-later", -1]]) {
  $(id).addEventListener("click", () => {
    back = Math.max(0, back + step);
    load();
  });
}
new ResizeObserver(() => plot?.setSize({ width: $("plot-history").clientWidth, height: $("plot-history").clientHeight }))
  .observe($("plot-history"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setInterval(() => document.hidden || showAges(), 1000);
setInterval(() => document.hidden || refresh(), FRESH_MS);

const there = new Set([...document.querySelectorAll("[data-show]")].map((one) => one.dataset.show));
channel = ["solar_power", "pv1_charger_power", "output_power", "battery_power"].find((one) => there.has(one))
  ?? [...there][0] ?? null;
refresh();
load();
