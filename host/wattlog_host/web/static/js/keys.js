// Keys of the page, and the dialog that tells them.

import { $ } from "./dom.js";

const RANGES = ["hour", "day", "week", "month", "year"];

export function listenToKeys({ onRange, onRefresh, onReset }) {
  const help = $("help");
  const openHelp = () => (help.open ? help.close() : help.showModal());
  $("open-help").addEventListener("click", openHelp);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "?") openHelp();
    else if (help.open) return;
    else if (event.key === "r" || event.key === "R") onRefresh();
    else if (event.key === "Escape") onReset();
    else if (RANGES[Number(event.key) - 1]) onRange(RANGES[Number(event.key) - 1]);
    else return;
    event.preventDefault();
  });
}

// Keys on the chart itself: value by value, and through the time.
export function listenToChartKeys(element, { onStep, onPan, onZoom }) {
  element.addEventListener("keydown", (event) => {
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (side !== undefined) (event.shiftKey ? onPan : onStep)(side);
    else if (event.key === "+" || event.key === "=") onZoom(0.5);
    else if (event.key === "-") onZoom(2);
    else return;
    event.preventDefault();
  });
}
