// Stacked bars by buckets of time: some pieces upwards, one downwards. What is missing has no bar;
// a bucket that is over and of which nothing is known (isUnknown) is shaded.

import { axisOf, colours, hasLibrary, timeLabels, valueLabels, zeroLine } from "./chart.js";
import { isNumber, zoneName } from "./format.js";

const SYNC = "bars";
const LEFT_PX = 56;

export class Stack {
  // pieces are [name of the row's value, name of the colour]; those that are not positive hang
  // below zero. onCursor(row or null).
  constructor(element, pieces, onCursor) {
    this.element = element;
    this.pieces = pieces;
    this.onCursor = onCursor;
    this.rows = [];
    this.limits = [0, 1];
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(rows) {
    this.rows = rows;
    if (rows.length) this.limits = [rows[0].t, rows.at(-1).end];
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (this.plot !== null && width > 0 && (width !== this.plot.width || height !== this.plot.height)) {
      this.plot.setSize({ width, height });
    }
  }

  draw() {
    this.plot?.destroy();
    this.plot = null;
    if (!hasLibrary() || this.rows.length === 0) return;
    const paint = colours();
    this.plot = new uPlot({
      width: this.element.clientWidth || 600,
      height: this.element.clientHeight || 200,
      ms: 1,
      tzDate: (ms) => uPlot.tzDate(new Date(ms), zoneName()),
      legend: { show: false },
      padding: [10, 30, 0, 0],
      cursor: {
        y: false, points: { show: false }, drag: { x: false, y: false, setScale: false },
        sync: { key: SYNC, setSeries: false, scales: ["x", null] },
      },
      scales: {
        x: { time: true, range: () => this.limits },
        y: { range: () => this.heights() },
      },
      axes: [axisOf(paint, { values: timeLabels, size: 40, space: 60 }), axisOf(paint, { size: LEFT_PX, values: valueLabels, space: 28 })],
      series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
      hooks: {
        setCursor: [(plot) => this.cursorMoved(plot)],
        drawAxes: [(plot) => {
          this.bars(plot, paint);
          zeroLine(plot, paint("edge"));
        }],
      },
    }, [this.rows.map((row) => (row.t + row.end) / 2), this.rows.map(() => 0)], this.element);
  }

  heights() {
    let [low, high] = [0, 0];
    for (const row of this.rows) {
      const values = this.pieces.map(([name]) => row[name]).filter(isNumber);
      high = Math.max(high, values.filter((value) => value > 0).reduce((sum, value) => sum + value, 0));
      low = Math.min(low, values.filter((value) => value < 0).reduce((sum, value) => sum + value, 0));
    }
    if (high === low) return [0, 1];
    const room = (high - low) * 0.06;
    return [low < 0 ? low - room : 0, high + room];
  }

  bars(plot, paint) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const row of this.rows) {
      const [left, right] = [row.t, row.end].map((at) => plot.valToPos(at, "x", true));
      const gap = Math.min((right - left) * 0.2, 6 * ratio);
      if (row.isUnknown) {
        ctx.fillStyle = paint("soft");
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
      }
      const ends = { up: 0, down: 0 };
      for (const [name, colour] of this.pieces) {
        const value = row[name];
        if (!isNumber(value) || value === 0) continue;
        const way = value > 0 ? "up" : "down";
        const [from, to] = [ends[way], ends[way] + value].map((one) => plot.valToPos(one, "y", true));
        ends[way] += value;
        ctx.fillStyle = paint(colour);
        // Neighbours stay apart by more than their colours.
        const line = Math.abs(to - from) > 3 * ratio ? ratio : 0;
        ctx.fillRect(left + gap / 2, Math.min(from, to), Math.max(right - left - gap, 1), Math.max(Math.abs(to - from) - line, 0.5));
      }
    }
    ctx.restore();
  }

  cursorMoved(plot) {
    const { left } = plot.cursor;
    const at = left === undefined || left < 0 ? null : plot.posToVal(left, "x");
    this.onCursor(at === null ? null : this.rows.find((row) => row.t <= at && at < row.end) ?? null);
  }
}
