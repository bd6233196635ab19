// The API, and the clock of the server. A newer question of one kind ends the older one.

import { t } from "./i18n.js";
import { leaveIfOutside } from "./session.js";

const asking = new Map();
let serverMs = Date.now();
let heardAt = performance.now();

// The page has no use for the browser's own clock: the two need not agree.
export const now = () => serverMs + (performance.now() - heardAt);

export function setNow(ms) {
  serverMs = ms;
  heardAt = performance.now();
}

export class Trouble extends Error {}

export const meterChosen = { id: "" };

// ask("stats", {start, end}) is the answer, or null where a newer question of this kind was asked.
export async function ask(path, query = {}, kind = path) {
  asking.get(kind)?.abort();
  const control = new AbortController();
  asking.set(kind, control);
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries({ meter: meterChosen.id || undefined, ...query })) {
    if (value !== undefined && value !== null) search.set(name, typeof value === "number" ? Math.round(value) : value);
  }
  try {
    return await get(`/api/${path}?${search}`, control.signal);
  } catch (err) {
    if (control.signal.aborted) return null;
    throw err;
  } finally {
    if (asking.get(kind) === control) asking.delete(kind);
  }
}

async function get(url, signal) {
  let answer;
  try {
    answer = await fetch(url, { signal });
  } catch {
    throw new Trouble(t("error.offline"));
  }
  leaveIfOutside(answer.status);
  let data;
  try {
    data = await answer.json();
  } catch {
    throw new Trouble(answer.ok ? t("error.form") : t("error.status", { status: answer.status }));
  }
  if (!answer.ok) throw new Trouble(data.error ?? t("error.status", { status: answer.status }));
  return data;
}
