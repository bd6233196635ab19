// Which time is shown: one for chart, numbers and table. It follows the newest reading while its
// right edge is within two minutes of now.

import { now } from "./api.js";
import { DAY_MS } from "./format.js";

export const QUICK_MS = { hour: 3_600_000, day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS, year: 365 * DAY_MS };
const FOLLOW_MS = 120_000;
const SPAN_MS_MIN = 60_000;
const SPAN_MS_MAX = 20 * 366 * DAY_MS;

export class Range {
  constructor(quick, onChange) {
    this.onChange = onChange;
    this.quick = quick;
    this.home = quick;
    this.end = now();
    this.start = this.end - QUICK_MS[quick];
    this.isFollowing = true;
    this.isGrowing = false;
  }

  get span() {
    return this.end - this.start;
  }

  setQuick(name) {
    this.quick = name;
    this.home = name;
    const end = now();
    this.set(end - QUICK_MS[name], end, name);
  }

  reset() {
    this.setQuick(this.home);
  }

  // A time that does not end in the future, of a length that makes sense.
  set(start, end, quick = null) {
    const span = Math.min(Math.max(end - start, SPAN_MS_MIN), SPAN_MS_MAX);
    const middle = (start + end) / 2;
    this.end = Math.min(middle + span / 2, now());
    this.start = this.end - span;
    this.quick = quick;
    this.isGrowing = false;
    this.isFollowing = this.end >= now() - FOLLOW_MS;
    this.onChange();
  }

  // A period of the calendar: while it is not over its start stays and its end grows.
  setPeriod(start, end) {
    this.start = start;
    this.end = Math.min(end, now());
    this.quick = null;
    this.isGrowing = this.end >= now() - FOLLOW_MS;
    this.isFollowing = this.isGrowing;
    this.onChange();
  }

  pan(part) {
    const by = part * this.span;
    this.set(this.start + by, this.end + by);
  }

  zoom(factor, at = (this.start + this.end) / 2) {
    this.set(at - (at - this.start) * factor, at + (this.end - at) * factor);
  }

  // Move with the time; tells whether it did.
  slide() {
    if (!this.isFollowing) return false;
    const span = this.span;
    this.end = now();
    if (!this.isGrowing) this.start = this.end - span;
    return true;
  }
}
