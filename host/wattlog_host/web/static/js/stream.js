// Server-sent events: the view (what is true now) and each reading. A tab that nobody sees asks
// for nothing; when it is seen again it begins anew.

import { askWhetherOutside } from "./session.js";

const RETRY_MS = 5000;
const URL_OF_STREAM = "/api/stream";

export function watch({ onView, onReading, onState }) {
  let source = null;
  let timer;

  function open() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(URL_OF_STREAM);
    source.addEventListener("view", (message) => {
      // The view first: it tells the time.
      onView(JSON.parse(message.data));
      onState("live");
    });
    source.addEventListener("reading", (message) => onReading(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      onState("lost");
      // The browser retries a lost connection by itself, but gives up on an error answer.
      if (source.readyState !== EventSource.CLOSED) return;
      askWhetherOutside();
      timer = setTimeout(open, RETRY_MS);
    });
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      open();
      return;
    }
    clearTimeout(timer);
    source.close();
    onState("paused");
  });
  if (!document.hidden) open();
}
