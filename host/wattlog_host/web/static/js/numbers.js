// The numbers: of what is shown, of the calendar's periods, and the extremes.

import { ask } from "./api.js";
import { $, el, setDifference, setText } from "./dom.js";
import { ABSENT, isNumber, kwh, money, moment, number, percent, setCurrency, signedKwh, watts, withUnit } from "./format.js";
import { t } from "./i18n.js";

// Of a time of which less was measured, a phone says so beside its name.
export const COMPLETE = 0.99;

// The stats of /api/stats; null while they are being asked for. Where the upper plot shows something
// else than the power, extremes has lowest, mean and highest of its lines; places and unit are theirs.
export function showStats(answer, usualKwh, extremes = null) {
  $("stats").setAttribute("aria-busy", String(answer === null));
  const stats = answer?.stats ?? {};
  const rows = {
    energy: [withUnit(kwh(stats.energy_used_kwh), "kWh"), isNumber(usualKwh) ? t("stats.typical", { value: kwh(usualKwh) }) : ""],
    cost: [money(stats.cost), ""],
    min: [withUnit(watts(stats.min_power_watts), "W"), ""],
    avg: [withUnit(watts(stats.avg_power_watts), "W"), ""],
    max: [withUnit(watts(stats.max_power_watts), "W"), ""],
    ...(extremes && ofLines(extremes)),
    export: [withUnit(kwh(stats.export_kwh), "kWh"), ""],
    coverage: [percent(stats.coverage), t("stats.of_time")],
    estimated: [withUnit(kwh(stats.estimated_kwh), "kWh"), t("stats.in_gaps")],
    count: [number(stats.count), ""],
  };
  for (const [name, [text, note]] of Object.entries(rows)) {
    const tile = document.querySelector(`[data-stat="${name}"]`);
    const [value, more] = tile.querySelectorAll("dd");
    setText(value.firstElementChild, text);
    setText(more, answer === null ? "" : note);
    tile.classList.toggle("skeleton", answer === null);
  }
  document.querySelector('[data-stat="estimated"]').hidden = !(stats.estimated_kwh > 0);
  document.querySelector('[data-stat="export"]').hidden = !(stats.export_kwh > 0);
}

// Of several lines the outermost with the name of its line; the first one's mean, and each.
function ofLines({ lines, unit, places }) {
  const say = (value) => withUnit(number(value, places), unit);
  const outermost = (key, pick) => {
    const known = lines.filter((line) => isNumber(line[key]));
    if (known.length === 0) return [ABSENT, ""];
    const value = pick(...known.map((line) => line[key]));
    return [say(value), lines.length > 1 ? known.find((line) => line[key] === value).name : ""];
  };
  const means = lines.map((line) => `${line.name} ${number(line.mean, places)}`);
  return {
    min: outermost("min", Math.min),
    avg: [say(lines[0]?.mean), lines.length > 1 ? means.join(" · ") : ""],
    max: outermost("max", Math.max),
  };
}

export class Periods {
  // onShow(start, end) shows a period on the chart.
  constructor(onShow) {
    this.periods = {};
    for (const row of document.querySelectorAll("[data-period]")) {
      row.querySelector("[data-show]").addEventListener("click", () => {
        const one = this.periods[row.dataset.period];
        if (one?.start != null) onShow(one.start, one.end);
      });
    }
    $("peaks").addEventListener("click", (event) => {
      const at = Number(event.target.dataset.time);
      if (at) onShow(at - 1_800_000, at + 1_800_000);
    });
  }

  async load() {
    const trouble = $("numbers-trouble");
    let summary;
    try {
      summary = await ask("summary");
    } catch (err) {
      setText(trouble, t("numbers.trouble", { reason: err.message }));
      trouble.hidden = false;
      return;
    }
    if (summary === null) return;
    trouble.hidden = true;
    setCurrency(summary.currency);
    this.periods = summary.periods;
    for (const row of document.querySelectorAll("[data-period]")) this.row(row, summary.periods[row.dataset.period]);
    this.tiles(summary.periods);
    $("no-tariff").hidden = Object.values(summary.periods).some((one) => isNumber(one.cost));
    setText($("base-load"), watts(summary.base_load_w));
    $("peaks").replaceChildren(...summary.peaks.map((peak) =>
      el("li", {},
        el("button", { type: "button", class: "link", "data-time": peak.t }, moment(peak.t)), " ",
        el("span", {}, `${watts(peak.w)} W`))));
    if (summary.peaks.length === 0) $("peaks").replaceChildren(el("li", { class: "quiet" }, t("extremes.none")));
  }

  row(row, one = {}) {
    const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
    const change = one.difference_kwh ?? null;
    setText(cell("note"), isNumber(one.coverage) && one.coverage < COMPLETE ? t("days.measured", { share: percent(one.coverage) }) : "");
    setText(cell("kwh"), kwh(one.import_kwh));
    setText(cell("typical"), kwh(one.typical_kwh));
    setDifference(cell("difference"), change, signedKwh(change));
    setText(cell("cost"), money(one.cost));
    setText(cell("typical_cost"), money(one.typical_cost));
    setText(cell("export"), kwh(one.export_kwh));
    setText(cell("coverage"), percent(one.coverage));
  }

  tiles(periods) {
    for (const name of ["today", "this_month"]) {
      const one = periods[name] ?? {};
      const change = one.difference_kwh ?? null;
      const part = (what) => document.querySelector(`[data-now="${name}.${what}"]`);
      setText(part("kwh"), kwh(one.import_kwh));
      setText(part("cost"), money(one.cost));
      setDifference(part("difference"), change, change === null ? "" : `${signedKwh(change)} kWh`);
    }
  }
}
