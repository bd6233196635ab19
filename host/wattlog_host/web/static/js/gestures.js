// Mouse, pen and fingers on a plot. Everything is told as parts of the plot's width, 0 to 1.
//
// One pointer sideways selects, with Shift it moves the time; two pinch and move it. Up and down
// stay with the page, which scrolls. A tap reads, a double tap or click goes back.

const DRAG_PX_MIN = 10;
const DOUBLE_MS = 350;
const DOUBLE_PX = 30;
const WHEEL_ZOOM = 1.0015;

export function listen(over, { onSelecting, onSelect, onPan, onZoom, onTap, onReset }) {
  const pointers = new Map();
  let mode = null;
  let from = 0;
  let pinch = null;
  let lastTap = { at: -Infinity, x: 0 };

  const width = () => over.clientWidth;
  const partOf = (x) => Math.min(1, Math.max(0, (x - over.getBoundingClientRect().left) / width()));
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { middle: partOf((a + b) / 2), px: Math.max(Math.abs(a - b), 20) };
  };

  function stop() {
    mode = null;
    pinch = null;
    onSelecting(null, null);
  }

  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    pointers.set(event.pointerId, event.clientX);
    over.setPointerCapture(event.pointerId);
    if (pointers.size === 1) {
      from = event.clientX;
      mode = event.shiftKey ? "pan" : "press";
    } else if (pointers.size === 2) {
      onSelecting(null, null);
      mode = "pinch";
      pinch = spread();
    }
  });

  over.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = pointers.get(event.pointerId);
    pointers.set(event.pointerId, event.clientX);
    if (mode === "pinch" && pointers.size === 2) {
      const next = spread();
      onZoom(pinch.px / next.px, next.middle);
      onPan(pinch.middle - next.middle);
      pinch = next;
    } else if (mode === "pan") {
      onPan((before - event.clientX) / width());
    } else if (mode === "press" && Math.abs(event.clientX - from) >= DRAG_PX_MIN) {
      mode = "select";
    }
    if (mode === "select") {
      const [a, b] = [partOf(from), partOf(event.clientX)].sort((one, other) => one - other);
      onSelecting(a, b);
    }
  });

  over.addEventListener("pointerup", (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (mode === "select") {
      const [a, b] = [partOf(from), partOf(event.clientX)].sort((one, other) => one - other);
      stop();
      onSelect(a, b);
    } else if (mode === "press") {
      const isDouble = event.timeStamp - lastTap.at < DOUBLE_MS && Math.abs(event.clientX - lastTap.x) < DOUBLE_PX;
      lastTap = isDouble ? { at: -Infinity, x: 0 } : { at: event.timeStamp, x: event.clientX };
      stop();
      if (isDouble) onReset();
      else onTap(partOf(event.clientX));
    } else if (pointers.size === 0) stop();
  });

  // The browser took it to scroll the page.
  over.addEventListener("pointercancel", (event) => {
    pointers.delete(event.pointerId);
    stop();
  });

  over.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      onZoom(WHEEL_ZOOM ** event.deltaY, partOf(event.clientX));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      onPan((event.deltaX || event.deltaY) / width());
    }
  }, { passive: false });
}
