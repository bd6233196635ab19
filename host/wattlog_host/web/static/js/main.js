// Wires the dashboard: range, chart, numbers, stream, keys and gestures.

import { ask, meterChosen, setNow } from "./api.js";
import { Chart, hasLibrary } from "./chart.js";
import { Compare } from "./compare.js";
import { Days } from "./days.js";
import { $, el, press, remember, remembered, setText, settled } from "./dom.js";
import { isNumber, number, range as sayRange, setCurrency, setZone, typed } from "./format.js";
import { listen } from "./gestures.js";
import { rememberLanguage, t } from "./i18n.js";
import { listenToChartKeys, listenToKeys } from "./keys.js";
import { Now } from "./now.js";
import { Periods, showStats } from "./numbers.js";
import { LOOKS, POWER, isOfPower, isOut, nameOf, offered } from "./quantities.js";
import { QUICK_MS, Range } from "./range.js";
import { Readout, nearest } from "./readout.js";
import { Shown } from "./shown.js";
import { watch } from "./stream.js";

const SETTLE_MS = 120;
const FLASH_MS = 1000;
const SUMMARY_MS = 60_000;
const AXIS_W = 2000;
const METERS_SUM_MAX = 100;

rememberLanguage();

const traces = {
  power: true, band: true, average: true, energy: true, baseline: true, meter: false,
  ...remembered("traces", {}),
};
let baselineKind = remembered("baseline", "30d");
let axis = remembered("axis", { kind: "auto", max: AXIS_W });
meterChosen.id = remembered("meter", "");

const range = new Range(QUICK_MS[remembered("quick", "day")] ? remembered("quick", "day") : "day", changed);
const shown = new Shown(range);
const readout = new Readout(shown);
const chart = new Chart($("plot-power"), $("plot-energy"), { onCursor: (ms) => readout.show(ms), onBuilt: attach });
const now = new Now(chooseMeter, header);
const periods = new Periods((start, end) => showOnChart(start, end));
const days = new Days((start, end) => showOnChart(start, end));
const compare = new Compare();
const loadSettled = settled(SETTLE_MS, load);
let cursorAt = null;
let summaryAt = 0;
let meters = [];

// -- the chart ------------------------------------------------------------------------------

function draw() {
  const { rows, buckets, reading, quantity } = shown;
  readout.baseline = shown.baseline(baselineKind);
  readout.traces = traces;
  chart.setPower(quantity, rows, isOfPower(quantity) ? shown.stats?.stats.avg_power_watts ?? null : null);
  chart.setEnergy(buckets, readout.baseline);
  chart.setReading(reading.t, reading.kwh);
  chart.show(range.start, range.end);
  setText($("energy-unit"), t("chart.energy_unit", { per: t(`per.${shown.per}`) }));
}

function header() {
  setText($("range-label"), sayRange(range.start, range.end));
  for (const button of document.querySelectorAll("[data-range]")) press(button, button.dataset.range === range.quick);
  // What the meter does not send is not live, wherever the chart ends.
  $("live-mark").hidden = !(range.isFollowing && now.isFresh);
  $("later").disabled = range.isFollowing;
}

// The time shown is another one: what is there is drawn at once, what is not is asked for.
function changed() {
  header();
  showStats(null);
  draw();
  loadSettled();
}

async function load() {
  const { era } = shown;
  const isFirst = shown.loaded === null;
  $("chart").setAttribute("aria-busy", "true");
  $("chart-skeleton").hidden = !isFirst;
  try {
    const width = $("plot-power").clientWidth || innerWidth;
    const got = await shown.load(width, traces.meter && isOneMeter(), isOneMeter());
    if (got === null) return;
    setCurrency(shown.currency);
    message(shown.isEmpty ? t("chart.empty") : null, shown.isEmpty ? "chart.newest" : "chart.retry");
    numbers();
  } catch (err) {
    if (era !== shown.era) return;
    // Numbers of another time must not stand below this one's name.
    shown.clear();
    showStats({ stats: {} }, null);
    message(t("chart.error", { reason: err.message }), "chart.retry");
  }
  $("chart-skeleton").hidden = true;
  $("chart").setAttribute("aria-busy", "false");
  draw();
  readout.table();
}

// The numbers of what is shown.
function numbers() {
  const { quantity } = shown;
  const lines = quantity.lines.flatMap((_, index) => (isOut(quantity, index, traces)
    ? [] : [{ name: nameOf(quantity, index), ...shown.extremes(index) }]));
  showStats(shown.stats, shown.usualKwh, isOfPower(quantity) ? null : { ...quantity, lines });
}

function message(text, button) {
  const box = $("chart-message");
  box.hidden = text === null;
  setText(box.firstElementChild, text ?? "");
  setText($("chart-retry"), t(button));
  $("chart-retry").dataset.does = button;
}

function attach(plot) {
  const timeAt = (part) => range.start + part * range.span;
  listen(plot.over, {
    onSelecting: (from, to) => chart.setSelection(from, to),
    onSelect: (from, to) => range.set(timeAt(from), timeAt(to)),
    onPan: (part) => range.pan(part),
    onZoom: (factor, at) => range.zoom(factor, timeAt(at)),
    onTap: (part) => chart.setCursor(timeAt(part)),
    onReset: () => reset(),
  });
}

function showOnChart(start, end) {
  range.setPeriod(start, end);
  $("chart").scrollIntoView({ block: "start", behavior: "instant" });
}

function chooseQuick(name) {
  remember("quick", name);
  range.setQuick(name);
}

function reset() {
  cursorAt = null;
  chart.setCursor(null);
  range.reset();
}

async function refresh() {
  const button = $("refresh");
  button.disabled = true;
  setText(button, t("chart.refreshing"));
  range.slide();
  await Promise.all([load(), periods.load(), days.load(), compare.load()]);
  button.disabled = false;
  setText(button, t("chart.refresh"));
}

// Moves the cursor by one value and says it.
function step(side) {
  const { t: times, lines } = shown.rows;
  const isKnown = (at) => lines.some((line) => isNumber(line.mean[at]));
  let index = cursorAt === null ? (side < 0 ? times.length : -1) : nearest(times, cursorAt, Infinity);
  if (index === null) return;
  do index += side; while (index >= 0 && index < times.length && !isKnown(index));
  if (times[index] === undefined) return;
  cursorAt = times[index];
  chart.setCursor(cursorAt);
  setText($("spoken"), readout.show(cursorAt));
}

// -- settings of the chart ------------------------------------------------------------------

function listenToTrace(button) {
  const name = button.dataset.trace;
  press(button, traces[name] !== false);
  button.addEventListener("click", () => {
    traces[name] = traces[name] === false;
    chart.setTrace(name, traces[name]);
    press(button, traces[name]);
    remember("traces", traces);
    if (name === "meter" && traces.meter) load();
    else if (shown.stats !== null && !isOfPower(shown.quantity)) numbers();
  });
}
chart.traces = { ...traces };
document.querySelectorAll("[data-trace]").forEach(listenToTrace);

// Which quantities there are, follows from the meters that are shown.
function offerQuantities() {
  const chosen = meterChosen.id ? meters.filter((one) => one.server_id === meterChosen.id) : meters;
  const quantities = offered(chosen);
  const wanted = remembered("quantity", POWER.name);
  const quantity = quantities.find((one) => one.name === wanted) ?? POWER;
  shown.setQuantity(quantity);
  $("quantity-label").hidden = quantities.length < 2;
  $("quantity").replaceChildren(...quantities.map((one) => new Option(t(`quantity.${one.name}`), one.name)));
  $("quantity").value = quantity.name;
  const isAlone = quantity.lines.length === 1;
  document.querySelector("[data-trace=power]").hidden = !isAlone;
  setText($("trace-power"), t(`quantity.${quantity.name}`));
  // Registers of several meters have no sum that any of them shows.
  document.querySelector("[data-trace=meter]").hidden = !isOneMeter();
  chart.setTrace("meter", traces.meter && isOneMeter());
  document.querySelector("[data-trace=average]").hidden = !isOfPower(quantity);
  $("axis-label").hidden = quantity.unit !== POWER.unit;
  const lines = isAlone ? [] : quantity.lines.map(([key], index) =>
    el("button", { type: "button", class: `trace trace-${LOOKS[index].colour}`, "data-trace": key },
      el("i", { "aria-hidden": "true" }), nameOf(quantity, index)));
  lines.forEach(listenToTrace);
  $("lines").replaceChildren(...lines);
  setText($("power-unit"), t("chart.quantity_unit", { name: t(`quantity.${quantity.name}`), unit: quantity.unit }));
  showAxis();
}
$("quantity").addEventListener("change", () => {
  remember("quantity", $("quantity").value);
  offerQuantities();
  changed();
});

$("baseline").value = baselineKind;
$("baseline").addEventListener("change", () => {
  baselineKind = $("baseline").value;
  remember("baseline", baselineKind);
  draw();
});

function showAxis() {
  $("axis").value = axis.kind;
  $("axis-max").value = number(axis.max);
  $("axis-max-label").hidden = axis.kind !== "fixed" || shown.quantity.unit !== POWER.unit;
  chart.setAxisMax(axis.kind === "fixed" ? axis.max : null);
}
$("axis").addEventListener("change", () => {
  axis = { ...axis, kind: $("axis").value };
  remember("axis", axis);
  showAxis();
});
$("axis-max").addEventListener("change", () => {
  // "2.000" is two thousand here: no power has three decimals that matter.
  const value = typed($("axis-max").value.replace(/[.,](?=\d{3}$)/, ""));
  $("axis-max").setAttribute("aria-invalid", String(!(value > 0)));
  if (!(value > 0)) return;
  axis = { ...axis, max: value };
  remember("axis", axis);
  showAxis();
});
showAxis();

for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => chooseQuick(button.dataset.range));
}
$("earlier").addEventListener("click", () => range.pan(-1));
$("later").addEventListener("click", () => range.pan(1));
$("reset").addEventListener("click", reset);
$("refresh").addEventListener("click", refresh);
$("chart-retry").addEventListener("click", () => {
  if ($("chart-retry").dataset.does === "chart.newest") reset();
  else refresh();
});
listenToKeys({ onRange: chooseQuick, onRefresh: refresh, onReset: reset });
listenToChartKeys($("plots"), { onStep: step, onPan: (side) => range.pan(side / 4), onZoom: (factor) => range.zoom(factor) });

// -- meters ---------------------------------------------------------------------------------

$("meter").addEventListener("change", () => chooseMeter($("meter").value));

const isOneMeter = () => Boolean(meterChosen.id) || meters.length === 1;

function chooseMeter(id) {
  // Where there are too many for a sum, one of them stays chosen.
  if (![...$("meter").options].some((one) => one.value === id)) return;
  meterChosen.id = id;
  $("meter").value = id;
  remember("meter", id);
  if (now.view) now.render();
  offerQuantities();
  changed();
  periods.load();
  days.load();
  compare.load();
}

function offerMeters(found) {
  meters = found;
  $("picker").hidden = meters.length < 2;
  const each = meters.map((one) => [one.server_id, one.label]);
  // The server sums no more than so many.
  const options = meters.length > METERS_SUM_MAX ? each : [["", t("meter.all")], ...each];
  $("meter").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (!options.some(([value]) => value === meterChosen.id)) meterChosen.id = options[0][0];
  $("meter").value = meterChosen.id;
  // It may be another one than the view was drawn for.
  if (now.view) now.render();
  offerQuantities();
}

// -- what comes by itself -------------------------------------------------------------------

function linkState(kind) {
  const pill = $("link");
  setText(pill, t(`link.${kind}`));
  pill.className = `pill ${kind}`;
  now.setLost(kind === "lost");
}

let flashTimer;
function flash() {
  $("link").classList.add("flash");
  clearTimeout(flashTimer);
  flashTimer = setTimeout(() => $("link").classList.remove("flash"), FLASH_MS);
}

async function onReading({ meter, t: time, p }) {
  flash();
  if (isOneMeter() && (!meterChosen.id || meterChosen.id === meter) && isNumber(p)) shown.add(time, p);
  if (!range.slide()) return;
  header();
  try {
    await shown.extend();
    if (await shown.renew()) {
      numbers();
      readout.table();
    }
  } catch {
    // The pill says that the server is away; the next reading asks again.
  }
  if (shown.loaded !== null && !shown.isEmpty) message(null, "chart.retry");
  draw();
  if (performance.now() - summaryAt > SUMMARY_MS) {
    summaryAt = performance.now();
    periods.load();
  }
}

let seen = null;
function onView(view) {
  now.show(view);
  const names = view.meters.map((one) => one.server_id).join();
  if (seen !== null && names !== seen) start();
  seen = names;
}

async function start() {
  try {
    const { meters: found, zone, now_ms: nowMs } = await ask("meters", { meter: null });
    setNow(nowMs);
    setZone(zone);
    offerMeters(found);
    if (found.length === 0) return;
  } catch (err) {
    message(t("chart.error", { reason: err.message }), "chart.retry");
  }
  range.setQuick(range.home);
  summaryAt = performance.now();
  periods.load();
  days.load();
  compare.load();
}

if (hasLibrary()) document.body.classList.add("has-chart");
let wasPaused = false;
watch({
  onView,
  onReading,
  onState: (kind) => {
    linkState(kind);
    if (kind === "paused") wasPaused = true;
    else if (kind === "live" && wasPaused) {
      wasPaused = false;
      if (range.slide()) changed();
    }
  },
});
start();
