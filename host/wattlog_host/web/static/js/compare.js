// Two periods beside each other: one above the other in the plot, figure by figure in the table.

import { ask, now } from "./api.js";
import { colours, hasLibrary } from "./chart.js";
import { $, el, setDifference, setText } from "./dom.js";
import { ABSENT, DAY_MS, isNumber, kwh, money, number, parts, percent, range, setCurrency, signed, signedKwh, watts } from "./format.js";
import { t } from "./i18n.js";

// Name, unit where neither the name nor the value has it, how values and how differences are written.
const FIGURES = [
  ["import_kwh", "kWh", kwh, signedKwh],
  ["export_kwh", "kWh", kwh, signedKwh],
  ["cost", null, money, (value) => signed(money(value), value)],
  ["daily_kwh", null, kwh, signedKwh],
  ["daily_cost", null, money, (value) => signed(money(value), value)],
  ["avg_power_w", "W", watts, (value) => signed(watts(value), value)],
];
const HOURS_MS = [1, 2, 3, 4, 6, 12].map((hours) => hours * 3_600_000);
const DAYS_MS = [1, 2, 7, 14, 28].map((days) => days * DAY_MS);

export class Compare {
  constructor() {
    this.plot = null;
    this.data = null;
    $("compare-preset").addEventListener("change", () => {
      const isOwn = $("compare-preset").value === "own";
      $("compare-own").hidden = !isOwn;
      if (!isOwn) this.load();
    });
    $("compare-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.load();
    });
    const redraw = () => this.data && this.draw();
    new ResizeObserver(redraw).observe($("plot-compare"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  question() {
    const preset = $("compare-preset").value;
    if (preset !== "own") return { preset };
    const values = ["a-start", "a-end", "b-start", "b-end"].map((id) => $(id).value);
    const [aStart, aEnd, bStart, bEnd] = values;
    if (values.some((value) => !value) || aStart > aEnd || bStart > bEnd) return null;
    return { a_start: aStart, a_end: dayAfter(aEnd), b_start: bStart, b_end: dayAfter(bEnd) };
  }

  async load() {
    const query = this.question();
    if (query === null) {
      this.hint([t("compare.dates")], "trouble");
      return;
    }
    $("compare-result").setAttribute("aria-busy", "true");
    try {
      const data = await ask("compare", query);
      if (data === null) return;
      setCurrency(data.currency);
      this.data = data;
      this.show();
    } catch (err) {
      this.hint([t("numbers.trouble", { reason: err.message })], "trouble");
    }
    $("compare-result").setAttribute("aria-busy", "false");
  }

  show() {
    const { a, b, difference } = this.data;
    setText($("compare-a"), range(a.start, a.end));
    setText($("compare-b"), range(b.start, b.end));
    const rows = FIGURES.filter(([name]) => name !== "export_kwh" || a[name] > 0 || b[name] > 0);
    $("compare-rows").replaceChildren(...rows.map(([name, unit, say, sayChange]) => {
      const change = difference[name] ?? {};
      // A share of nothing, or of what was sent, means nothing.
      const share = isNumber(change.percent) && a[name] > 0 && b[name] >= 0 ? signed(number(change.percent, 1), change.percent) : ABSENT;
      const judged = name === "export_kwh" ? null : change.abs;
      const row = el("tr", {},
        el("th", { scope: "row" }, t(`figure.${name}`), unit && " ", unit && el("small", {}, unit)),
        el("td", {}, say(a[name])), el("td", {}, say(b[name])),
        el("td", { class: "difference" }), el("td", { class: "difference" }));
      setDifference(row.cells[3], judged, sayChange(change.abs));
      setDifference(row.cells[4], judged, share);
      return row;
    }), el("tr", { class: "quiet" },
      el("th", { scope: "row" }, t("figure.coverage")), el("td", {}, percent(a.coverage)), el("td", {}, percent(b.coverage)),
      el("td", {}), el("td", {})));
    const hints = [["A", a], ["B", b]]
      .filter(([, one]) => !isNumber(one.import_kwh) || !(one.coverage > 0 || one.estimated_kwh > 0))
      .map(([name, one]) => t("compare.missing", { period: `${name} (${range(one.start, one.end)})` }));
    const isRunning = b.end > now() - 60_000;
    this.hint([...hints, ...(isRunning ? [t("compare.partial")] : [])], hints.length ? "hint" : "note");
    this.draw();
  }

  hint(texts, kind) {
    const box = $("compare-hint");
    box.className = kind;
    box.hidden = texts.length === 0;
    setText(box, texts.join(" "));
  }

  draw() {
    this.plot?.destroy();
    this.plot = null;
    const box = $("plot-compare");
    if (!hasLibrary() || box.clientWidth === 0) return;
    const { a, b } = this.data;
    const paint = colours();
    const [one, two] = [a, b].map(({ curve }) => [curve.t, curve.w]);
    const isShort = Math.max(one[0].at(-1) ?? 0, two[0].at(-1) ?? 0) <= 2 * DAY_MS;
    const axis = (more) => ({
      stroke: paint("quiet"), font: "12px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: paint("grid"), width: 1 }, ...more,
    });
    // By the clock of B: A lies beside it, hour by hour and weekday by weekday.
    const label = (offset) => (isShort ? parts(b.start + offset).hm : weekday(b.start + offset, b.end - b.start));
    const line = (colour) => ({ stroke: paint(colour), width: 1.7, points: { show: false } });
    this.plot = new uPlot({
      width: box.clientWidth,
      height: box.clientHeight,
      ms: 1,
      legend: { show: false },
      padding: [10, 22, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false },
      scales: { x: { time: false, range: [0, Math.max(a.end - a.start, b.end - b.start)] }, y: { range: (_, low, high) => [Math.min(0, (low ?? 0) * 1.06), Math.max(100, (high ?? 0) * 1.06)] } },
      axes: [
        axis({ incrs: isShort ? HOURS_MS : DAYS_MS, values: (_, splits) => splits.map(label), space: 50, size: 30 }),
        axis({ size: 66, values: (_, splits) => splits.map((value) => `${number(value)} W`) }),
      ],
      series: [{}, { ...line("side-a"), dash: [6, 4] }, line("side-b")],
    }, uPlot.join([one, two]), box);
  }
}

function weekday(ms, length) {
  const at = parts(ms);
  const name = t("weekdays").split(" ")[at.weekday];
  return length > 10 * DAY_MS ? `${at.day}.` : name;
}

function dayAfter(iso) {
  const at = new Date(`${iso}T12:00:00Z`);
  at.setUTCDate(at.getUTCDate() + 1);
  return at.toISOString().slice(0, 10);
}
