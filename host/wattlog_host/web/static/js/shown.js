// What the chart shows: asks for the time shown, keeps it while the time slides, and adds only what
// is new. Short times are single readings, longer ones buckets with their lowest and highest.

import { ask, now } from "./api.js";
import { DAY_MS, isNumber } from "./format.js";
import { POWER, isOfPower } from "./quantities.js";

const RAW_MS_MAX = 75 * 60_000;
const POINTS_MIN = 300;
const POINTS_PER_PX = 1.5;
const POINTS_MAX = 2000;
// A reading speaks for the time since the one before, if that is not longer ago than this.
const HOLD_MS = 300_000;
const EXTEND_MS_MIN = 2000;
const EXTEND_MS_MAX = 60_000;
const NUMBERS_MS = 15_000;
const BAR_PX_MIN = 3;
const PERS = [["hour", DAY_MS / 24], ["day", DAY_MS], ["week", 7 * DAY_MS], ["month", 30.4 * DAY_MS], ["year", 365 * DAY_MS]];
const HOUR_BARS_MS_MAX = 4 * DAY_MS;
// Columns of a line: in its unit, but the share of each bucket that readings speak for.
const COLUMNS = ["min", "mean", "max", "covered"];

export class Shown {
  constructor(range) {
    this.range = range;
    this.setQuantity(POWER);
  }

  setQuantity(quantity) {
    this.quantity = quantity;
    this.clear();
  }

  clear() {
    // What was asked for before, and comes later, is of another quantity or meter.
    this.era = {};
    this.rows = { t: [], lines: this.quantity.lines.map(emptyLine) };
    this.step_ms = 0;
    this.isRaw = true;
    this.reading = { t: [], kwh: [] };
    this.buckets = [];
    this.per = "hour";
    this.usual = null;
    this.stats = null;
    this.loaded = null;
    this.extendedAt = -Infinity;
    this.numbersAt = -Infinity;
  }

  // Load all of the time shown. True when it is there, null when a newer call took over; raises
  // Trouble.
  async load(width_px, wantsReading, isOneMeter) {
    const { era, quantity, range: { start, end, span } } = this;
    const points = Math.round(Math.min(POINTS_MAX, Math.max(POINTS_MIN, POINTS_PER_PX * width_px)));
    // Single readings are of one meter, and of its power; all else has buckets.
    const isRaw = isOneMeter && isOfPower(quantity) && span <= RAW_MS_MAX;
    const per = perFor(span, width_px);
    const answers = await Promise.all([
      isRaw ? ask("readings", { start, end }, quantity.lines[0][0]) : this.curves({ start, end, points }),
      ask("energy", { start, end, per }),
      ask("stats", { start, end }),
      ask("energy_summary", { start: start - DAY_MS, end }),
      wantsReading ? ask("readings", { start, end, points, channel: "import_wh" }, "register") : { t: [], last: [] },
    ]);
    if (answers.includes(null) || era !== this.era) return null;
    const [readings, energy, stats, usual, register] = answers;
    this.isRaw = isRaw;
    this.per = per;
    this.rows = isRaw ? fromReadings(readings) : fromBuckets(readings);
    this.step_ms = isRaw ? 0 : readings[0].step_s * 1000;
    this.reading = fromRegister(register);
    this.buckets = energy.buckets;
    this.currency = energy.currency;
    this.usual = usual;
    this.stats = stats;
    this.loaded = { start, end };
    this.extendedAt = performance.now();
    this.numbersAt = performance.now();
    return true;
  }

  // The curves of all lines; null where a newer call took over.
  async curves(query, kind = "") {
    const answers = await Promise.all(this.quantity.lines.map(([key]) =>
      // Power is what the server tells by itself, of whatever register it comes.
      ask("readings", { ...query, channel: key === "power_w" ? undefined : key }, kind + key)));
    return answers.includes(null) ? null : answers;
  }

  // Add what is new; true where something is. Asks no more often than a point of the chart lasts.
  async extend() {
    const wait = Math.min(Math.max(EXTEND_MS_MIN, this.step_ms / 2), EXTEND_MS_MAX);
    if (this.loaded === null || performance.now() - this.extendedAt < wait) return false;
    this.extendedAt = performance.now();
    const { era, range: { start, end, span } } = this;
    if (this.isRaw) {
      const after = this.storedUntil ?? this.rows.t.at(-1) ?? start;
      const fresh = await ask("readings", { start, end, after }, "after");
      if (fresh === null || era !== this.era || fresh.length === 0) return false;
      this.append(fromReadings(fresh), after + 1);
      this.storedUntil = fresh.at(-1).t;
    } else {
      // The last bucket goes on growing: it is asked for once more.
      const last = this.rows.t.at(-1);
      const after = last === undefined ? start : last - this.step_ms / 2 - 1;
      const points = Math.ceil(span / this.step_ms);
      const fresh = await this.curves({ start, end, after, points }, "after ");
      if (fresh === null || era !== this.era || fresh.every((one) => one.t.length === 0)) return false;
      if (fresh[0].step_s * 1000 !== this.step_ms) return false;
      this.append(fromBuckets(fresh), after);
    }
    return true;
  }

  // A reading that was sent at once, before it is in the database.
  add(t, p) {
    if (!this.isRaw || this.loaded === null || t <= (this.rows.t.at(-1) ?? 0)) return;
    this.storedUntil ??= this.rows.t.at(-1);
    this.append(fromReadings([{ t, p }]), t);
  }

  append(fresh, from) {
    const kept = this.rows.t.findIndex((t) => t !== null && t >= from);
    const count = kept < 0 ? this.rows.t.length : kept;
    const early = this.range.start - this.range.span * 0.05;
    const first = Math.max(0, this.rows.t.findIndex((t) => t >= early));
    const last = this.rows.t[count - 1];
    const hole = this.isRaw && last !== undefined && fresh.t[0] - last > HOLD_MS;
    const joined = (old, more, gap) => [...old.slice(first, count), ...(hole ? [gap] : []), ...more];
    this.rows = {
      t: joined(this.rows.t, fresh.t, last + 1),
      lines: this.rows.lines.map((line, index) => Object.fromEntries(
        COLUMNS.map((name) => [name, joined(line[name], fresh.lines[index][name], null)]))),
    };
  }

  // Numbers and bars of a time that slides; true where they are new.
  async renew() {
    if (this.loaded === null || performance.now() - this.numbersAt < NUMBERS_MS) return false;
    this.numbersAt = performance.now();
    const { start, end } = this.range;
    const [energy, stats] = await Promise.all([
      ask("energy", { start, end, per: this.per }),
      ask("stats", { start, end }),
    ]);
    if (energy === null || stats === null) return false;
    this.buckets = energy.buckets;
    this.stats = stats;
    return true;
  }

  get isEmpty() {
    return this.rows.lines.every((line) => line.mean.every((value) => !isNumber(value)))
      && this.buckets.every((one) => !isNumber(one.import_kwh) && !isNumber(one.export_kwh));
  }

  // What is usual for each bucket, in kWh: by the 30 days before it, or by all there is.
  baseline(kind) {
    const daily = this.usual?.avg_daily ?? null;
    const averages = (this.usual?.moving_avg_30d ?? []).filter((one) => isNumber(one.kwh));
    let index = 0;
    return this.buckets.map((one) => {
      const days = (one.end - one.t) / DAY_MS;
      if (kind === "total") return daily === null ? null : daily * days;
      while (index + 1 < averages.length && averages[index + 1].t <= one.end) index += 1;
      const nearest = averages[index];
      if (nearest === undefined || Math.abs(nearest.t - one.t) > days * DAY_MS + 2 * DAY_MS) return null;
      return nearest.kwh * days;
    });
  }

  // Lowest, mean by time and highest of a line; null where nothing was measured.
  extremes(index) {
    const { min, mean, max, covered } = this.rows.lines[index];
    const known = mean.flatMap((value, at) => (isNumber(value) ? [at] : []));
    if (known.length === 0) return { min: null, mean: null, max: null };
    const spoken = known.reduce((sum, at) => sum + covered[at], 0);
    return {
      min: known.reduce((low, at) => Math.min(low, min[at]), Infinity),
      mean: spoken > 0 ? known.reduce((sum, at) => sum + mean[at] * covered[at], 0) / spoken : null,
      max: known.reduce((high, at) => Math.max(high, max[at]), -Infinity),
    };
  }

  get usualKwh() {
    const daily = this.usual?.avg_daily;
    const until = Math.min(this.stats?.end ?? 0, now());
    return isNumber(daily) && this.stats ? daily * ((until - this.stats.start) / DAY_MS) : null;
  }
}

function perFor(span, width_px) {
  const fits = PERS.filter(([name, length]) => (span / length) * BAR_PX_MIN <= width_px
    && (name !== "hour" || span <= HOUR_BARS_MS_MAX));
  return (fits[0] ?? PERS.at(-1))[0];
}

const emptyLine = () => Object.fromEntries(COLUMNS.map((name) => [name, []]));

function fromReadings(list) {
  const rows = { t: [], lines: [emptyLine()] };
  const push = (t, p) => {
    rows.t.push(t);
    for (const name of COLUMNS) rows.lines[0][name].push(name === "covered" ? null : p);
  };
  let last = null;
  for (const { t, p } of list) {
    if (last !== null && t - last > HOLD_MS) push(last + 1, null);
    push(t, p);
    last = t;
  }
  return rows;
}

// A run of missing buckets comes as one; where another line has more of them, they are missing here.
function fromBuckets(answers) {
  const half = answers[0].step_s * 500;
  const t = [...new Set(answers.flatMap((one) => one.t))].sort((a, b) => a - b);
  const lines = answers.map((one) => {
    const at = new Map(one.t.map((time, index) => [time, index]));
    return Object.fromEntries(COLUMNS.map((name) => [name, t.map((time) => one[name][at.get(time)] ?? null)]));
  });
  return { t: t.map((time) => time + half), lines };
}

function fromRegister(answer) {
  const half = (answer.step_s ?? 0) * 500;
  return {
    t: answer.t.map((t) => t + half),
    kwh: answer.last.map((wh) => (isNumber(wh) ? wh / 1000 : null)),
  };
}
