// What is true now: the power, how old it is, the phases, and how meter, reader and server are.

import { meterChosen, setNow } from "./api.js";
import { $, el, setText } from "./dom.js";
import { exact, number, span, watts, withUnit } from "./format.js";
import { t } from "./i18n.js";

const PHASE_W_MAX = 4600;
// What is said of a phase: only what at least one of them has.
const PHASE_CELLS = [["power_w", "W", 0], ["voltage_v", "V", 0], ["current_a", "A", 1]];

export class Now {
  // onMeter(id) is called when a meter of the fleet is chosen, onTick() each second.
  constructor(onMeter, onTick) {
    this.onMeter = onMeter;
    this.onTick = onTick;
    this.view = null;
    this.at = 0;
    this.isLost = false;
    setInterval(() => this.tick(), 1000);
  }

  show(view) {
    this.view = view;
    this.at = performance.now();
    setNow(Date.parse(view.now));
    this.render();
  }

  setLost(isLost) {
    this.isLost = isLost;
    if (this.view !== null) this.chips();
  }

  get meters() {
    const all = this.view?.meters ?? [];
    return meterChosen.id ? all.filter((one) => one.server_id === meterChosen.id) : all;
  }

  // Ages grow between two views, and keep growing when no view comes any more.
  age(meter) {
    return meter.age_s + (performance.now() - this.at) / 1000;
  }

  isStale(meter) {
    return this.age(meter) > meter.stale_after_s;
  }

  // Whether a meter sends, and we hear of it.
  get isFresh() {
    return !this.isLost && this.meters.some((one) => !this.isStale(one));
  }

  render() {
    const { view, meters } = this;
    $("now").hidden = meters.length === 0;
    $("first-run").hidden = view.meters.length > 0;
    document.body.classList.toggle("is-empty", view.meters.length === 0);
    const title = $("first-run-title");
    setText(title, view.agents.length ? title.dataset.agents : title.dataset.none);
    for (const [id, trouble] of [["trouble-broker", view.host.broker.trouble], ["trouble-store", view.host.store.trouble]]) {
      $(id).hidden = !trouble;
      setText($(id).lastElementChild, trouble ?? "");
    }
    $("trouble-alerts").hidden = view.alerts.standing === 0;
    setText($("trouble-alerts").querySelector("span"), exact(view.alerts.standing));
    const known = meters.filter((one) => one.power_w !== null);
    const sum = known.length ? known.reduce((total, one) => total + Number(one.power_w), 0) : null;
    const direction = sum === null ? "unknown" : sum < 0 ? "exporting" : sum > 0 ? "importing" : "balanced";
    const box = $("now");
    box.classList.remove("unknown", "exporting", "importing", "balanced");
    box.classList.add(direction);
    setText($("now-watts"), watts(sum === null ? null : Math.abs(sum)));
    setText($("now-direction"), t(`direction.${direction}`));
    this.phases(meters.length === 1 ? meters[0].phases : []);
    this.registers(meters.length === 1 ? meters[0] : null);
    this.fleet();
    this.tick();
  }

  tick() {
    if (this.view === null) return;
    const { meters } = this;
    const known = meters.filter((one) => one.power_w !== null);
    const silent = meters.filter((one) => this.isStale(one));
    const isStale = meters.length > 0 && silent.length === meters.length;
    $("now").classList.toggle("stale", isStale);
    this.onTick();
    const ages = known.map((one) => this.age(one));
    // Of a sum, the oldest part is what it can be trusted for.
    const age = ages.length ? (isStale ? Math.min(...ages) : Math.max(...ages)) : null;
    const text = age === null ? t("now.none") : t(isStale ? "now.stale" : "now.age", { span: span(age) });
    const some = silent.length > 0 && !isStale ? ` · ${t("now.partial", { count: silent.length })}` : "";
    setText($("now-age"), text + some);
    this.chips();
    for (const item of $("fleet-list").children) {
      const meter = this.view.meters.find((one) => one.server_id === item.dataset.meter);
      if (meter === undefined) continue;
      item.classList.toggle("stale", this.isStale(meter));
      setText(item.querySelector(".age"), t("ago", { span: span(this.age(meter)) }));
    }
  }

  chips() {
    const { view, meters } = this;
    const isSilent = meters.some((one) => this.isStale(one));
    chip("chip-meter", meters.length ? !isSilent : null, isSilent ? "stale" : "fresh");
    const names = new Set(meters.map((one) => one.agent));
    const states = view.agents.filter((one) => names.has(one.id)).map((one) => one.state);
    const isOffline = states.includes("offline");
    const isKnown = states.includes("online") || isOffline;
    chip("chip-agent", isKnown ? !isOffline : null, isOffline ? "offline" : isKnown ? "online" : "unknown");
    const isTroubled = Boolean(view.host.broker.trouble || view.host.store.trouble);
    chip("chip-server", !(this.isLost || isTroubled), this.isLost ? "gone" : isTroubled ? "trouble" : "fine");
  }

  phases(list) {
    $("phases").hidden = list.length === 0;
    const known = PHASE_CELLS.filter(([key]) => list.some((phase) => phase[key] !== null));
    for (const [key] of PHASE_CELLS) $(`phases-${key}`).hidden = !known.some(([name]) => name === key);
    $("phases").tBodies[0].replaceChildren(...list.map((phase) =>
      el("tr", { class: Number(phase.power_w) < 0 ? "exporting" : "importing" },
        el("th", { scope: "row" }, phase.name),
        el("td", { class: "bar" }, el("meter", { min: 0, max: PHASE_W_MAX, value: Math.abs(Number(phase.power_w ?? 0)) })),
        ...known.map(([key, unit, places]) =>
          el("td", {}, withUnit(number(phase[key] === null ? null : Number(phase[key]), places), unit))))));
  }

  // With the digits that the meter's own display has.
  registers(meter) {
    $("now-registers").hidden = (meter?.import_kwh ?? null) === null && (meter?.export_kwh ?? null) === null;
    setText($("now-import"), exact(meter?.import_kwh ?? null));
    setText($("now-export"), exact(meter?.export_kwh ?? null));
  }

  fleet() {
    const list = this.view.meters;
    $("fleet").hidden = list.length < 2;
    if (list.length < 2) return;
    const items = list.map((meter) => {
      const isChosen = meterChosen.id === meter.server_id;
      const button = el("button", {
        type: "button", "aria-pressed": String(isChosen), "aria-label": t("fleet.choose", { meter: meter.id }),
        onclick: () => this.onMeter(isChosen ? "" : meter.server_id),
      }, meter.id);
      const item = el("li", { class: `card ${meter.direction ?? "unknown"}`, "data-meter": meter.server_id },
        el("h3", {}, button),
        el("p", { class: "watts" }, `${watts(meter.power_w === null ? null : Number(meter.power_w))} W`),
        el("p", { class: "age" }));
      return item;
    });
    const focused = document.activeElement?.closest("[data-meter]")?.dataset.meter;
    $("fleet-list").replaceChildren(...items);
    if (focused) items.find((one) => one.dataset.meter === focused)?.querySelector("button").focus();
  }
}

function chip(id, isGood, word) {
  const box = $(id);
  box.classList.toggle("good", isGood === true);
  box.classList.toggle("bad", isGood === false);
  setText(box.lastElementChild, t(`chip.${word}`));
}
