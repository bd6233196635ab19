// Small helpers around the document. Text is always set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Writing the same text again would make a screen reader say it again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function press(button, isPressed) {
  button.setAttribute("aria-pressed", String(isPressed));
}

// More used than typical is neither good nor bad by colour alone: the sign says it, too.
export function setDifference(element, value, text) {
  setText(element, text);
  const isNothing = !/[1-9]/.test(text);
  element.classList.toggle("more", !isNothing && value > 0);
  element.classList.toggle("less", !isNothing && value < 0);
}

// What this browser was told to remember; without storage it forgets.
export function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`wattlog.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`wattlog.${name}`, JSON.stringify(value));
  } catch {
    // A full or forbidden storage costs the memory, not the page.
  }
}

// Calls act so long after the last call, and not for each of them.
export function settled(wait_ms, act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait_ms);
  };
}
