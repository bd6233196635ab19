// The two plots: power above, energy by buckets below, with one time axis and one cursor. They are
// told what to draw and know neither the API nor the range's rules.

import { drawBars, drawLevels } from "./bars.js";
import { DAY_MS, number, parts, shortDay, shortMonth, zoneName } from "./format.js";
import { LOOKS, POWER, isOut, traceOf } from "./quantities.js";

const LEFT_PX = 66;
const LEFT_PX_NARROW = 52;
const NARROW_PX = 520;
const RIGHT_PX = 64;
// Half of what a time at the right edge takes.
const LABEL_PX = 20;
// Between two times at least; the same in both plots, so that their lines go on.
const TIME_PX = 66;
const GRID_PX = 1;
const SYNC = "time";

export const hasLibrary = () => typeof uPlot === "function";

export function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

// How every axis looks; more is what is peculiar to one.
export function axisOf(paint, more) {
  return {
    stroke: paint("quiet"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: paint("grid"), width: GRID_PX },
    ticks: { show: false },
    ...more,
  };
}

// Ticks of time by the clock of the house; dates where a day begins.
export function timeLabels(_, splits, __, ___, step) {
  let lastDay = null;
  return splits.map((ms) => {
    const at = parts(ms);
    if (step >= 28 * DAY_MS) return at.month === 1 ? String(at.year) : shortMonth(ms);
    if (step >= DAY_MS) return shortDay(ms);
    const isNewDay = at.day !== lastDay;
    lastDay = at.day;
    if (step < 60_000) return at.hms;
    return at.hm === "00:00" || isNewDay ? `${at.hm}\n${shortDay(ms)}` : at.hm;
  });
}

// A value between two gaps makes no line: it is a point.
function lonely(plot, seriesIndex, isShown) {
  if (!isShown) return null;
  const values = plot.data[seriesIndex];
  return values.flatMap((value, index) =>
    (value != null && values[index - 1] == null && values[index + 1] == null ? [index] : []));
}

export function valueLabels(_, splits) {
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
  const places = Math.min(4, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  return splits.map((value) => (value === null ? "" : number(value, places)));
}

export class Chart {
  // onCursor(ms or null); onBuilt(uPlot) after each plot was made.
  constructor(powerElement, energyElement, { onCursor, onBuilt }) {
    this.elements = { power: powerElement, energy: energyElement };
    this.onCursor = onCursor;
    this.onBuilt = onBuilt;
    this.plots = {};
    this.traces = {};
    this.axisMax = null;
    this.limits = [0, 1];
    this.setPower(POWER, { t: [], lines: [] }, null);
    this.setEnergy([], []);
    this.reading = { t: [], kwh: [] };
    new ResizeObserver(() => this.resize()).observe(powerElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  // The quantity of the upper plot: rows of times in ms (middles of buckets) and of each line min, mean
  // and max, null where there is a gap; average is a level of the power, or null.
  setPower(quantity, rows, average) {
    const isOther = this.quantity !== quantity;
    this.quantity = quantity;
    this.power = { ...rows, average };
    if (isOther && this.plots.power !== undefined) this.build();
  }

  // kWh of the import register at times in ms.
  setReading(t, kwh) {
    this.reading = { t, kwh };
  }

  // Buckets of /api/energy; baseline in kWh for each, or null.
  setEnergy(buckets, baseline) {
    this.buckets = buckets;
    this.baseline = baseline;
  }

  // Draw all that was set for this time.
  show(start, end) {
    this.limits = [start, end];
    if (!hasLibrary()) return;
    if (this.plots.power === undefined) this.build();
    else this.fill();
  }

  setTrace(name, isShown) {
    const hasAxis = this.traces.meter;
    this.traces[name] = isShown;
    if (this.plots.power === undefined) return;
    if (hasAxis !== this.traces.meter) this.build();
    else this.fill();
  }

  setAxisMax(value) {
    this.axisMax = value;
    if (this.plots.power !== undefined) this.fill();
  }

  build() {
    if (!hasLibrary()) return;
    for (const plot of Object.values(this.plots)) plot.destroy();
    this.paint = colours();
    this.plots = { power: this.powerPlot(), energy: this.energyPlot() };
    this.fill();
    for (const plot of Object.values(this.plots)) this.onBuilt(plot);
  }

  resize() {
    for (const [name, plot] of Object.entries(this.plots)) {
      const { clientWidth: width, clientHeight: height } = this.elements[name];
      if (width > 0 && (width !== plot.width || height !== plot.height)) plot.setSize({ width, height });
    }
  }

  // Places the cursor at a time; null takes it away.
  setCursor(ms) {
    const plot = this.plots.power;
    if (plot === undefined) return;
    const left = ms === null ? -10 : plot.valToPos(ms, "x");
    plot.setCursor({ left, top: ms === null ? -10 : plot.over.clientHeight / 2 });
  }

  // Marks what is being selected, as parts of the plot's width; null marks nothing.
  setSelection(from, to) {
    for (const plot of Object.values(this.plots)) {
      const width = plot.over.clientWidth;
      const box = from === null ? { left: 0, width: 0 } : { left: from * width, width: (to - from) * width };
      plot.setSelect({ ...box, top: 0, height: from === null ? 0 : plot.over.clientHeight }, false);
    }
  }

  fill() {
    const [start, end] = this.limits;
    const { power, energy } = this.plots;
    power.batch(() => {
      power.setData(this.powerData(), false);
      power.setScale("x", { min: start, max: end });
      this.shown().forEach((isShown, index) => {
        if (power.series[index + 1].show !== isShown) power.setSeries(index + 1, { show: isShown }, false);
      });
    });
    energy.batch(() => {
      energy.setData(this.energyData(), false);
      energy.setScale("x", { min: start, max: end });
    });
  }

  // Which series of the upper plot are drawn: of each line its band and its mean, then the levels.
  shown() {
    const { quantity, traces } = this;
    const lines = quantity.lines.flatMap((_, index) => {
      const hasBand = traces.band && !isOut(quantity, index, traces);
      return [hasBand, hasBand, traces[traceOf(quantity, index)] !== false];
    });
    return [...lines, traces.average, traces.meter];
  }

  powerData() {
    const { t, average } = this.power;
    const columns = this.quantity.lines.flatMap((_, index) => {
      const line = this.power.lines[index] ?? { max: [], min: [], mean: [] };
      return [line.max, line.min, line.mean];
    });
    const shown = [t, ...columns, t.map(() => average)];
    if (!this.traces.meter) return [...shown, t.map(() => null)];
    return uPlot.join([shown, [this.reading.t, this.reading.kwh]]);
  }

  energyData() {
    const middles = this.buckets.map((one) => (one.t + one.end) / 2);
    return [middles, this.buckets.map((one) => one.import_kwh)];
  }

  options(name, more) {
    const { clientWidth: width, clientHeight: height } = this.elements[name];
    const right = this.traces.meter ? (name === "energy" ? RIGHT_PX : 0) : LABEL_PX;
    return {
      width: width || 600,
      height: height || 200,
      ms: 1,
      tzDate: (ms) => uPlot.tzDate(new Date(ms), zoneName()),
      legend: { show: false },
      padding: [10, right, 0, 0],
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        // Ours are the gestures; the library only follows the pointer.
        bind: { mousedown: () => null, mouseup: () => null, dblclick: () => null },
        sync: { key: SYNC, setSeries: false, scales: ["x", null] },
        points: { size: 7 },
      },
      hooks: { setCursor: [(plot) => this.cursorMoved(plot)] },
      ...more,
    };
  }

  axis(more) {
    return axisOf(this.paint, more);
  }

  get left() {
    return this.elements.power.clientWidth < NARROW_PX ? LEFT_PX_NARROW : LEFT_PX;
  }

  powerPlot() {
    const paint = this.paint;
    const { quantity } = this;
    const line = (colour, more) => ({
      stroke: paint(colour), width: 1.6, points: { show: false }, scale: "y", ...more,
    });
    const lines = quantity.lines.flatMap((_, index) => {
      const { colour, dash } = LOOKS[index];
      const edge = line(colour, { stroke: null, width: 0 });
      return [edge, edge, line(colour, {
        dash, points: { show: true, size: 4, fill: paint(colour), filter: lonely },
      })];
    });
    const seeThrough = paint("band").slice(-2);
    const axes = [
      this.axis({ values: () => [], size: 8, space: TIME_PX }),
      this.axis({ scale: "y", size: this.left, values: valueLabels, label: undefined }),
    ];
    if (this.traces.meter) {
      axes.push(this.axis({
        scale: "kwh", side: 1, size: RIGHT_PX, values: valueLabels, stroke: paint("reading"), grid: { show: false },
      }));
    }
    const options = this.options("power", {
      scales: {
        x: { time: true, auto: false },
        y: { range: (_, low, high) => (quantity.hasZero ? this.powerLimits(low, high) : nearLimits(low, high)) },
        kwh: { range: (_, low, high) => nearLimits(low, high) },
      },
      axes,
      series: [
        {},
        ...lines,
        line("average", { dash: [7, 5], width: 1.5 }),
        line("reading", { scale: "kwh", width: 1.4 }),
      ],
      bands: quantity.lines.map((_, index) => ({
        series: [3 * index + 1, 3 * index + 2], fill: paint(LOOKS[index].colour) + seeThrough,
      })),
    });
    options.hooks.drawAxes = [(plot) => zeroLine(plot, paint("edge"))];
    return new uPlot(options, this.powerData(), this.elements.power);
  }

  energyPlot() {
    const paint = this.paint;
    const options = this.options("energy", {
      scales: {
        x: { time: true, auto: false },
        y: { range: () => this.energyLimits() },
      },
      axes: [
        this.axis({ values: timeLabels, size: 40, space: TIME_PX }),
        this.axis({ scale: "y", size: this.left, values: valueLabels, space: 28 }),
      ],
      series: [
        {},
        { scale: "y", paths: () => null, points: { show: false } },
      ],
    });
    options.cursor.points = { show: false };
    options.hooks.drawAxes = [
      (plot) => {
        if (this.traces.energy) drawBars(plot, this.buckets, paint);
        if (this.traces.baseline) drawLevels(plot, this.buckets, this.baseline, paint("baseline"));
        zeroLine(plot, paint("edge"));
      },
    ];
    return new uPlot(options, this.energyData(), this.elements.energy);
  }

  powerLimits(low, high) {
    const bottom = Math.min(0, low ?? 0);
    if (this.axisMax !== null && this.quantity.unit === POWER.unit) return [bottom < 0 ? bottom * 1.05 : 0, this.axisMax];
    const top = Math.max(0, high ?? 0);
    const room = (top - bottom || 100) * 0.06;
    return [bottom < 0 ? bottom - room : 0, top > 0 ? top + room : room];
  }

  energyLimits() {
    let [low, high] = [0, 0];
    const [start, end] = this.limits;
    this.buckets.forEach((one, index) => {
      if (one.end <= start || one.t >= end) return;
      high = Math.max(high, one.import_kwh ?? 0, this.traces.baseline ? this.baseline[index] ?? 0 : 0);
      low = Math.max(low, one.export_kwh ?? 0);
    });
    const room = (high + low || 1) * 0.08;
    return [low > 0 ? -low - room : 0, high + room];
  }

  cursorMoved(plot) {
    const { left } = plot.cursor;
    this.onCursor(left === undefined || left < 0 ? null : plot.posToVal(left, "x"));
  }
}

// An axis for what varies little, and far from nothing.
const nearLimits = (low, high) => (low === null ? [0, 1] : uPlot.rangeNum(low, high, 0.1, false));

export function zeroLine(plot, colour) {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(0, "y", true)) + 0.5;
  if (y < bbox.top || y > bbox.top + bbox.height + 1) return;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = GRID_PX;
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}
