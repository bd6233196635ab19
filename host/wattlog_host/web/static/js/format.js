// Numbers and times as languages.py of the server writes them, in the zone of the house.

import { language, t } from "./i18n.js";

export const ABSENT = "–";
const MINUS = "\u2212";
const MARKS = { en: [",", "."], de: [".", ","] };
const [THOUSANDS, POINT] = MARKS[language];
const SIGNS = new Map([["EUR", "€"], ["USD", "$"], ["GBP", "£"]]);
const WEEKDAYS = t("weekdays").split(" ");
const MONTHS = t("months").split(" ");
const MONTHS_LONG = t("months.long").split(" ");
const ENGLISH_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
export const DAY_MS = 86_400_000;

let zone;
let clock;
let currency = "EUR";

// A zone that the browser does not know is the browser's own.
export function setZone(name) {
  try {
    clock = clockIn(name);
    zone = name;
  } catch {
    clock = clockIn(undefined);
    zone = undefined;
  }
}

export const zoneName = () => zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;

function clockIn(name) {
  return new Intl.DateTimeFormat("en-GB", {
    timeZone: name, hourCycle: "h23", weekday: "short", year: "numeric", month: "numeric",
    day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
}
setZone(undefined);

export function setCurrency(code) {
  if (code) currency = code;
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

export function number(value, places = 0) {
  if (!isNumber(value)) return ABSENT;
  const [whole, rest] = Math.abs(value).toFixed(places).split(".");
  const digits = whole.replace(/\B(?=(\d{3})+$)/g, THOUSANDS) + (rest ? POINT + rest : "");
  return (value < 0 && !isZero(digits) ? MINUS : "") + digits;
}

// A value as a device told it: a text as it is, a number with its own digits, four places at most.
export function reading(value) {
  if (typeof value === "string") return value;
  if (!isNumber(value)) return ABSENT;
  const places = (String(Number(value.toFixed(4))).split(".")[1] ?? "").length;
  return number(value, places);
}

// All digits of a number that came as text.
export function exact(value) {
  if (value === null || value === undefined) return ABSENT;
  const [whole, places] = String(value).split(".");
  const digits = whole.replace("-", "").replace(/\B(?=(\d{3})+$)/g, THOUSANDS);
  return (whole.startsWith("-") ? MINUS : "") + digits + (places === undefined ? "" : POINT + places);
}

export function size(count) {
  if (!isNumber(count)) return ABSENT;
  if (count < 0) return MINUS + size(-count);
  if (count < 1024) return `${count} B`;
  let value = count / 1024;
  for (const unit of ["KiB", "MiB"]) {
    if (value < 1024) return `${number(value, 1)} ${unit}`;
    value /= 1024;
  }
  return `${number(value, 1)} GiB`;
}

// How many days something takes, in years where they are many.
export function term(days) {
  if (!isNumber(days)) return ABSENT;
  const years = Math.floor(days / 365);
  if (years > 100) return t("term.ages");
  return years >= 3 ? t("term.years", { count: exact(years) }) : t("term.days", { count: exact(days) });
}

export const watts = (value) => number(value);

export function kwh(value) {
  if (!isNumber(value)) return ABSENT;
  const size = Math.abs(value);
  return number(value, size > 0 && size < 0.1 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0);
}

// Whether a number, as it is written, is nothing.
export const isZero = (text) => !/[1-9]/.test(text);

export const signed = (text, value) => (isNumber(value) && value > 0 && !isZero(text) ? `+${text}` : text);

// A difference in kWh, with its sign; less than 0.01 is none.
export function signedKwh(value) {
  if (!isNumber(value)) return ABSENT;
  const size = Math.abs(value);
  return signed(number(value, size < 100 ? 2 : size < 1000 ? 1 : 0), value);
}

// With its unit; a dash has none.
export const withUnit = (text, name) => (text === ABSENT ? text : `${text} ${name}`);

export function money(value) {
  if (!isNumber(value)) return ABSENT;
  const text = number(value, 2);
  const sign = SIGNS.get(currency) ?? currency;
  if (language === "de" || sign === currency) return `${text}\u00a0${sign}`;
  return text.startsWith(MINUS) ? MINUS + sign + text.slice(1) : sign + text;
}

// Only what is complete is 100 %.
export function percent(part) {
  if (!isNumber(part)) return ABSENT;
  const whole = Math.floor(100 * part + 1e-9);
  // Little is not nothing.
  return part > 0 && whole === 0 ? "<1\u00a0%" : `${number(whole)}\u00a0%`;
}

// A number as a person types it, in either language; null where it is none.
export function typed(text) {
  const plain = text.trim().replace(/[\s\u202f\u00a0]/g, "");
  if (!/^\d+([.,]\d+)?$/.test(plain)) return null;
  return Number(plain.replace(",", "."));
}

// Calendar and clock of the house at this time.
export function parts(ms) {
  const found = {};
  for (const { type, value } of clock.formatToParts(ms)) found[type] = value;
  return {
    year: Number(found.year), month: Number(found.month), day: Number(found.day),
    weekday: ENGLISH_DAYS.indexOf(found.weekday), hour: Number(found.hour),
    hm: `${found.hour}:${found.minute}`, hms: `${found.hour}:${found.minute}:${found.second}`,
  };
}

// The first moment of a calendar day of the house; month may be beyond 1..12, day beyond the month.
export function midnight(year, month, day) {
  const guess = Date.UTC(year, month - 1, day);
  let at = guess;
  for (let round = 0; round < 3; round += 1) at = guess - offset(at);
  return at;
}

function offset(ms) {
  const { year, month, day, hms } = parts(ms);
  const [hour, minute, second] = hms.split(":").map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

export function day(ms) {
  const at = parts(ms);
  return t("format.day", { weekday: WEEKDAYS[at.weekday], day: at.day, month: MONTHS[at.month - 1] });
}

export function date(ms) {
  const at = parts(ms);
  return t("format.date", { day: at.day, month: MONTHS[at.month - 1], year: at.year });
}

export function shortDay(ms) {
  const at = parts(ms);
  return t("format.short", { day: at.day, month: MONTHS[at.month - 1] });
}

export const month = (ms) => `${MONTHS_LONG[parts(ms).month - 1]} ${parts(ms).year}`;
export const shortMonth = (ms) => MONTHS[parts(ms).month - 1];
export const moment = (ms) => `${day(ms)}, ${parts(ms).hm}`;

// A bucket of a calendar by its length.
export function bucket(start, end, per) {
  if (per === "hour") return `${day(start)}, ${parts(start).hm}–${parts(end).hm}`;
  if (per === "month") return month(start);
  if (per === "week") return range(start, end);
  return day(start);
}

// A time span, as short as it can be said; end is exclusive.
export function range(start, end) {
  const [a, b, last] = [parts(start), parts(end), parts(end - 1)];
  const isWholeDays = a.hms === "00:00:00" && b.hms === "00:00:00";
  if (isWholeDays && end - start < 1.1 * DAY_MS) return `${day(start)} ${a.year}`;
  if (isWholeDays) return `${shortDay(start)} – ${date(end - 1)}`;
  const isOneDay = a.year === last.year && a.month === last.month && a.day === last.day;
  if (isOneDay) return `${day(start)} ${a.year}, ${a.hm}–${b.hm}`;
  if (end - start > 40 * DAY_MS) return `${date(start)} – ${date(end)}`;
  const first = a.year === b.year ? day(start) : `${day(start)} ${a.year}`;
  return `${first}, ${a.hm} – ${day(end)} ${b.year}, ${b.hm}`;
}

export function span(seconds) {
  if (!isNumber(seconds)) return ABSENT;
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return `${days} ${t("unit.day")} ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole % 60} s`;
}
