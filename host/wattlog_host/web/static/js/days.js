// The archive: the days of a month, or the months of a year, newest first.

import { ask, meterChosen, now } from "./api.js";
import { $, el, press, setDifference, setText } from "./dom.js";
import { day, isNumber, kwh, midnight, money, month, parts, percent, setCurrency, signedKwh } from "./format.js";
import { t } from "./i18n.js";
import { COMPLETE } from "./numbers.js";

export class Days {
  // onShow(start, end) shows a day or a month on the chart.
  constructor(onShow) {
    this.onShow = onShow;
    this.by = "month";
    this.back = 0;
    this.isOwn = false;
    for (const button of document.querySelectorAll("[data-archive]")) {
      button.addEventListener("click", () => {
        this.by = button.dataset.archive;
        this.back = 0;
        this.load();
      });
    }
    $("days-earlier").addEventListener("click", () => this.turn(1));
    $("days-later").addEventListener("click", () => this.turn(-1));
  }

  turn(by) {
    this.back = Math.max(0, this.back + by);
    this.load();
  }

  // When the month or year shown begins.
  start() {
    const at = parts(now());
    return this.by === "year" ? midnight(at.year - this.back, 1, 1) : midnight(at.year, at.month - this.back, 1);
  }

  async load() {
    const start = this.start();
    const at = parts(start);
    const isMonth = this.by === "month";
    for (const button of document.querySelectorAll("[data-archive]")) press(button, button.dataset.archive === this.by);
    setText($("days-label"), isMonth ? month(start) : String(at.year));
    setText($("days-head"), t(isMonth ? "table.day" : "table.month"));
    $("days-later").disabled = this.back === 0;
    const query = isMonth ? { month: `${at.year}-${String(at.month).padStart(2, "0")}` } : { year: String(at.year) };
    const search = new URLSearchParams(meterChosen.id ? { ...query, meter: meterChosen.id } : query);
    $("days-csv").href = `/api/days.csv?${search}`;
    $("days-csv").download = `wattlog-${query.month ?? query.year}.csv`;
    $("days-table").setAttribute("aria-busy", "true");
    const trouble = $("days-trouble");
    try {
      const answer = await ask("days", query);
      if (answer === null) return;
      setCurrency(answer.currency);
      trouble.hidden = true;
      this.show(answer.rows);
    } catch (err) {
      setText(trouble, t("numbers.trouble", { reason: err.message }));
      trouble.hidden = false;
      $("days-rows").replaceChildren();
      $("days-total").replaceChildren();
    }
    $("days-table").setAttribute("aria-busy", "false");
  }

  show(rows) {
    const known = rows.filter((row) => isNumber(row.import_kwh) || isNumber(row.export_kwh));
    $("days-rows").replaceChildren(...(known.length
      ? known.toReversed().map((row) => this.row(row))
      : [el("tr", {}, el("td", { colspan: 6 }, t("days.none")))]));
    $("days-total").replaceChildren(...(known.length > 1 ? [this.total(known)] : []));
  }

  row(row) {
    const [year, monthNumber, dayNumber] = row.date.split("-").map(Number);
    const start = midnight(year, monthNumber, dayNumber ?? 1);
    const end = dayNumber ? midnight(year, monthNumber, dayNumber + 1) : midnight(year, monthNumber + 1, 1);
    const name = dayNumber ? day(start) : month(start);
    const button = el("button", { type: "button", class: "link", onclick: () => this.onShow(start, end) }, name);
    const isRunning = end > now();
    const note = isRunning ? t("days.partial") : row.coverage < COMPLETE ? t("days.measured", { share: percent(row.coverage) }) : null;
    const made = cells(el("th", { scope: "row" }, button, note && " ", note && el("small", { class: isRunning ? "" : "narrow" }, note)), row);
    made.append(el("td", { class: "quiet wide" }, percent(row.coverage)));
    return made;
  }

  total(rows) {
    const sum = (name) => rows.reduce((total, row) => total + (row[name] ?? 0), 0);
    const one = Object.fromEntries(["import_kwh", "export_kwh", "cost", "difference_kwh"].map((name) => [name, sum(name)]));
    if (rows.every((row) => !isNumber(row.cost))) one.cost = null;
    const made = cells(el("th", { scope: "row" }, t("table.total")), one);
    made.append(el("td", { class: "wide" }));
    return made;
  }
}

function cells(head, row) {
  const change = el("td", { class: "difference" });
  setDifference(change, row.difference_kwh, signedKwh(row.difference_kwh));
  return el("tr", {}, head,
    el("td", {}, kwh(row.import_kwh)), el("td", {}, money(row.cost)), change,
    el("td", { class: "wide" }, kwh(row.export_kwh)));
}
