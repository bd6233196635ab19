// Beside the present: where the house's power comes from, as solar's cloud and the meters say together.

import { ask, Trouble } from "./api.js";
import { $, setText } from "./dom.js";
import { number, span, withUnit } from "./format.js";
import { t } from "./i18n.js";

const FRESH_MS = 60_000;
const SOURCES = ["solar", "battery", "grid"];

async function refresh() {
  let flow = null;
  try {
    flow = await ask("solar/flow", { meter: undefined });  // of the whole house
  } catch (err) {
    if (!(err instanceof Trouble)) throw err;
  }
  show(flow);
}

// What nobody knows, or is old, is not shown at all: the meter's own power stands above.
function show(flow) {
  const isKnown = Boolean(flow?.flows_w) && !flow.stale;
  $("origin").hidden = !isKnown;
  if (!isKnown) return;
  const watts = SOURCES.map((name) => flow.flows_w[`${name}_to_house`]);
  const sum = watts.reduce((all, one) => all + one, 0);
  setText($("origin-house"), withUnit(number(sum), "W"));
  setText($("origin-age"), t("now.age", { span: span(flow.age_s) }));
  let start = 0;
  SOURCES.forEach((name, index) => {
    const part = sum > 0 ? (100 * watts[index]) / sum : 0;
    const bar = document.querySelector(`#origin rect.of-${name}`);
    bar.setAttribute("x", start);
    bar.setAttribute("width", part);
    start += part;
    setText($(`origin-${name}`), withUnit(number(watts[index]), "W"));
  });
}

if ($("origin") !== null) setInterval(() => document.hidden || refresh(), FRESH_MS);
