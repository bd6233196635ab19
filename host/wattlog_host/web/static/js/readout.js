// What the chart says at the cursor, beside it and never on it; and the same as a table.

import { $, el } from "./dom.js";
import { bucket, isNumber, kwh, money, moment, number, parts, percent } from "./format.js";
import { t } from "./i18n.js";
import { LOOKS, isOut, nameOf } from "./quantities.js";

const BETWEEN = "–";

export class Readout {
  constructor(shown) {
    this.shown = shown;
    this.box = $("readout");
    this.baseline = [];
    this.traces = {};
  }

  // ms null: nobody points at the chart.
  show(ms) {
    if (ms === null) {
      this.box.replaceChildren(el("span", { class: "readout-time" }, t("chart.hint")));
      return "";
    }
    const items = this.items(ms);
    this.box.replaceChildren(...items.map(([name, label, text]) =>
      el("span", { class: name === "time" ? "readout-time" : `readout-item trace-${name}` },
        label ? el("i", { "aria-hidden": "true" }) : null, label ? el("span", { class: "quiet" }, `${label} `) : null, text)));
    return items.map(([, label, text]) => (label ? `${label} ${text}` : text)).join(", ");
  }

  items(ms) {
    const { rows, isRaw, step_ms, buckets, per, reading } = this.shown;
    const index = nearest(rows.t, ms, Math.max(step_ms * 0.75, 150_000));
    const at = index === null ? ms : isRaw ? rows.t[index] : rows.t[index] - step_ms / 2;
    const items = [["time", "", isRaw ? `${moment(at)}:${parts(at).hms.slice(6)}` : moment(at)]];
    items.push(...this.lines(index));
    const which = buckets.findIndex((one) => one.t <= ms && ms < one.end);
    if (which >= 0) {
      const one = buckets[which];
      const guessed = one.estimated_kwh > 0 ? ` (${t("stats.estimated")} ${kwh(one.estimated_kwh)})` : "";
      items.push(["energy", bucket(one.t, one.end, per), `${kwh(one.import_kwh)} kWh${guessed}`]);
      if (one.export_kwh > 0) items.push(["sent", t("table.export"), `${kwh(one.export_kwh)} kWh`]);
      if (isNumber(one.cost)) items.push(["cost", t("table.cost"), money(one.cost)]);
      const usual = this.baseline[which];
      if (isNumber(usual)) items.push(["baseline", t("trace.baseline"), `${kwh(usual)} kWh`]);
    }
    if (this.traces.meter) {
      const found = nearest(reading.t, ms, Infinity);
      if (found !== null && isNumber(reading.kwh[found])) {
        items.push(["meter", t("trace.meter"), `${number(reading.kwh[found], 1)} kWh`]);
      }
    }
    return items;
  }

  // What the lines of the upper plot say at a row of theirs, null where there is none.
  lines(index) {
    const { rows, isRaw, quantity } = this.shown;
    const { unit, places } = quantity;
    return rows.lines.flatMap((line, place) => {
      if (isOut(quantity, place, this.traces)) return [];
      const [colour, name] = [LOOKS[place].colour, nameOf(quantity, place)];
      const mean = index === null ? null : line.mean[index];
      if (!isNumber(mean)) return [[colour, name, t("chart.no_reading")]];
      const low = line.min[index];
      const band = `${number(low, places)} ${BETWEEN} ${number(line.max[index], places)}`;
      if (isRaw || !isNumber(low)) return [[colour, name, `${number(mean, places)} ${unit}`]];
      if (rows.lines.length === 1) return [[colour, name, `${number(mean, places)} ${unit}`], ["band", "", `${band} ${unit}`]];
      return [[colour, name, `${number(mean, places)} ${unit} (${band})`]];
    });
  }

  // The buckets as a table: all that the bars say.
  table() {
    const { buckets, per } = this.shown;
    $("chart-rows").replaceChildren(...buckets.map((one) =>
      el("tr", {},
        el("th", { scope: "row" }, bucket(one.t, one.end, per)),
        el("td", {}, kwh(one.import_kwh)),
        el("td", {}, kwh(one.export_kwh)),
        el("td", {}, money(one.cost)),
        el("td", { class: "quiet wide" }, percent(one.coverage)))));
  }
}

// The index of the time that is nearest, not farther than so much.
export function nearest(times, ms, far) {
  let [low, high] = [0, times.length - 1];
  if (high < 0) return null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] < ms) low = middle;
    else high = middle;
  }
  const best = Math.abs(times[low] - ms) <= Math.abs(times[high] - ms) ? low : high;
  return Math.abs(times[best] - ms) <= far ? best : null;
}
