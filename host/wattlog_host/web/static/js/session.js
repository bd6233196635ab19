// Where the session has ended meanwhile, the page leads to the login, and from there back.

let isLeaving = false;  // each question is refused; the first is enough, and a second would begin anew
addEventListener("pageshow", () => { isLeaving = false; });

export function leaveIfOutside(status) {
  if (status !== 401 || isLeaving) return;
  isLeaving = true;
  location.assign(`/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
}

// A stream does not tell with which status it was refused.
export function askWhetherOutside() {
  fetch("/status", { method: "HEAD" }).then((answer) => leaveIfOutside(answer.status), () => {});
}
