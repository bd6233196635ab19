// The house in one picture: who feeds whom now, shares of running periods, bars of a day, month, year.

import { ask, now, setNow, Trouble } from "./api.js";
import { $, el, press, setText } from "./dom.js";
import { bucket, day, isNumber, kwh, midnight, month, number, parts, percent, setZone, span, withUnit } from "./format.js";
import { rememberLanguage, t } from "./i18n.js";
import { Stack } from "./stack.js";
import { hasLibrary } from "./chart.js";

const FLOW_MS = 20_000;
const PERIODS_MS = 300_000;
const PIECES = {
  production: [["to_house_kwh", "sun"], ["to_battery_kwh", "power"], ["export_down_kwh", "sent"]],
  consumption: [["from_solar_kwh", "sun"], ["from_battery_kwh", "power"], ["from_grid_kwh", "mains"]],
};
const PARTS = ["to_house", "to_battery", "export", "from_solar", "from_battery", "from_grid"];
const PER = { day: "hour", month: "day", year: "month" };

rememberLanguage();
setZone($("bars").dataset.zone);
setNow(Number($("bars").dataset.now));
if (hasLibrary()) document.body.classList.add("has-chart");

// -- now ------------------------------------------------------------------------------------

let heard = null;

async function loadFlow() {
  try {
    const [flow, state] = await Promise.all([ask("solar/flow"), ask("solar")]);
    if (flow === null || state === null) return;
    setNow(flow.now);
    heard = { flow, at: performance.now() };
    showFlow(flow);
    const isFine = ["ok", "starting"].includes(state.state);
    $("solar-trouble").hidden = isFine;
    const [what, why] = $("solar-trouble").children;
    setText(what, isFine ? "" : t(`solar.${state.state}`));
    setText(why, state.trouble ?? "");
    setText($("link"), t("link.live"));
    $("link").className = "pill live";
  } catch (err) {
    if (!(err instanceof Trouble)) throw err;
    setText($("link"), t("link.lost"));
    $("link").className = "pill lost";
    // What nobody hears of any more is old, too.
    showStale(true);
  }
}

function showStale(isStale) {
  $("now-flow").classList.toggle("stale", isStale);
  $("flow").classList.toggle("stale", isStale);
}

function showFlow(flow) {
  showStale(flow.stale);
  $("flow").classList.toggle("no-battery", !flow.has_battery);
  for (const line of document.querySelectorAll("[data-flow]")) {
    const watts = flow.flows_w?.[line.dataset.flow] ?? 0;
    line.classList.toggle("on", watts > 0);
    setText(line.querySelector("text"), watts > 0 ? `${number(watts)} W` : "");
  }
  const words = directions(flow.power_w);
  for (const [name, value] of Object.entries(flow.power_w)) {
    const text = isNumber(value) ? `${number(Math.abs(value))} W` : t("flow.missing");
    setText(document.querySelector(`[data-node="${name}"]`), text);
    const box = document.querySelector(`[data-power="${name}"]`);
    if (name === "battery") box.hidden = !flow.has_battery;
    setText(box.querySelector("strong"), text);
    setText(box.querySelector("span"), value ? t(`flow.${words[name]}`) : "");
  }
  setText(document.querySelector("[data-soc]"), isNumber(flow.soc_percent) ? `${number(flow.soc_percent)} %` : "");
  setText($("flow-hint"), t(flow.flows_w === null ? "flow.unknown" : "flow.moment"));
  showAge();
}

function directions(power) {
  return {
    solar: power.solar > 0 ? "produces" : "rests",
    house: "uses",
    grid: power.grid < 0 ? "exports" : "imports",
    battery: power.battery < 0 ? "discharges" : "charges",
  };
}

function showAge() {
  if (heard === null) return;
  const { age_s: age, stale } = heard.flow;
  const shown = isNumber(age) ? span(age + (performance.now() - heard.at) / 1000) : null;
  setText($("flow-age"), shown === null ? t("flow.none") : t(stale ? "flow.stale" : "now.age", { span: shown }));
}

// -- shares -----------------------------------------------------------------------------------

async function loadPeriods() {
  const answer = await quietly(() => ask("solar/periods"));
  if (!answer) return;
  for (const row of document.querySelectorAll("[data-share]")) {
    const found = answer.periods[row.dataset.share];
    for (const cell of row.querySelectorAll("[data-cell]")) {
      const name = cell.dataset.cell;
      setText(cell, name.endsWith("_kwh") ? kwh(found[name]) : percent(found[name]));
    }
  }
  $("shares-hint").hidden = !Object.values(answer.periods).some((one) => one.trouble);
}

async function quietly(act) {
  try {
    return await act();
  } catch (err) {
    if (err instanceof Trouble) return null;
    throw err;
  }
}

// -- bars -------------------------------------------------------------------------------------

let by = "day";
let back = 0;
const stacks = Object.entries(PIECES).map(([name, pieces]) => new Stack($(`plot-${name}`), pieces, readOut));

function spanShown() {
  const at = parts(now());
  if (by === "year") return [midnight(at.year - back, 1, 1), midnight(at.year - back + 1, 1, 1)];
  if (by === "month") return [midnight(at.year, at.month - back, 1), midnight(at.year, at.month - back + 1, 1)];
  const start = parts(midnight(at.year, at.month, at.day - back) + 1);
  return [midnight(start.year, start.month, start.day), midnight(start.year, start.month, start.day + 1)];
}

async function loadBars() {
  const [start, end] = spanShown();
  const at = parts(start);
  for (const button of document.querySelectorAll("[data-bars]")) press(button, button.dataset.bars === by);
  setText($("bars-label"), { day: `${day(start)} ${at.year}`, month: month(start), year: String(at.year) }[by]);
  $("bars-later").disabled = back === 0;
  $("bars").setAttribute("aria-busy", "true");
  const trouble = $("bars-trouble");
  try {
    const answer = await ask("solar/house", { start, end, per: PER[by] });
    if (answer === null) return;
    trouble.hidden = true;
    showBars(answer.rows);
  } catch (err) {
    setText(trouble, t("numbers.trouble", { reason: err.message }));
    trouble.hidden = false;
    showBars([]);
  }
  $("bars").setAttribute("aria-busy", "false");
}

function showBars(rows) {
  const shown = rows.map((row) => ({
    ...row,
    export_down_kwh: isNumber(row.export_kwh) ? -row.export_kwh : null,
    isUnknown: !(row.known > 0) && row.end <= now(),
  }));
  for (const stack of stacks) stack.show(shown);
  const known = rows.filter((row) => row.known > 0);
  $("bars-empty").hidden = known.length > 0;
  $("bars-rows").replaceChildren(...known.map((row) => el("tr", {},
    el("th", { scope: "row" }, bucket(row.t, row.end, PER[by])),
    ...PARTS.map((part) => el("td", {}, kwh(row[`${part}_kwh`]))),
    el("td", { class: "quiet" }, percent(row.known)))));
  readOut(null);
}

function readOut(row) {
  const box = $("bars-readout");
  if (row === null) {
    setText(box, t("bars.hint"));
    return;
  }
  const values = row.known > 0
    ? PARTS.map((part) => el("span", { class: `readout-item part-${part}` }, `${t(`part.${part}`)} ${withUnit(kwh(row[`${part}_kwh`]), "kWh")}`))
    : [el("span", {}, t("bars.unknown"))];
  const note = row.known > 0 && row.known < 0.99 ? el("span", { class: "quiet" }, t("days.measured", { share: percent(row.known) })) : null;
  box.replaceChildren(el("span", { class: "readout-time" }, bucket(row.t, row.end, PER[by])), ...values, ...(note ? [note] : []));
}

for (const button of document.querySelectorAll("[data-bars]")) {
  button.addEventListener("click", () => {
    by = button.dataset.bars;
    back = 0;
    loadBars();
  });
}
for (const [id, step] of [["bars-earlier", 1], ["bars-later", -1]]) {
  $(id).addEventListener("click", () => {
    back = Math.max(0, back + step);
    loadBars();
  });
}

// -- all --------------------------------------------------------------------------------------

function every(wait_ms, act) {
  setInterval(() => document.hidden || act(), wait_ms);
}

every(1000, showAge);
every(FLOW_MS, loadFlow);
every(PERIODS_MS, () => {
  loadPeriods();
  if (back === 0) loadBars();
});
document.addEventListener("visibilitychange", () => document.hidden || loadFlow());
loadFlow();
loadPeriods();
loadBars();
