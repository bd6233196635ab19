// The words of the page's language, from the same file that the server renders with.

const base = document.body.dataset.static;
export const language = document.documentElement.lang;

const answer = await fetch(`${base}/lang/${language}.json`);
const words = await answer.json();

export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

// The choice is kept here; the cookie is how the server hears of it before it renders.
export function rememberLanguage() {
  const wanted = localStorage.getItem("lang");
  for (const link of document.querySelectorAll("[data-language]")) {
    link.addEventListener("click", () => {
      localStorage.setItem("lang", link.dataset.language);
      tellServer(link.dataset.language);
    });
  }
  const asked = new URLSearchParams(location.search).get("lang");
  if (wanted === null || wanted === language || asked !== null) return;
  tellServer(wanted);
  // Once: a browser without cookies would be sent round for ever.
  if (sessionStorage.getItem("asked") === wanted) return;
  sessionStorage.setItem("asked", wanted);
  location.reload();
}

function tellServer(wanted) {
  document.cookie = `lang=${wanted}; path=/; max-age=31536000; samesite=strict`;
}
