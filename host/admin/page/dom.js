// Elements, and numbers as people read them. Whatever comes from the host is set as text, never as markup.

/** Makes an element: `make("p.quiet", { id: "a" }, "text", other)`. */
export function make(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

const FOCUSABLE = "a, button, input, select, summary";

export const byId = (id) => document.getElementById(id);

/** Sets a text where it is another one, so that a selection in it survives. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in their order. An item keeps its element as long as its key is
 * there, so that focus and what was opened stay: `draw(item, element or undefined)` answers the element.
 */
export function keep(parent, items, key, draw) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const element = draw(item, known.get(name));
    element.dataset.key = name;
    const old = known.get(name);
    known.delete(name);
    if (old && old !== element) {
      if (place === old) place = element;
      exchange(old, element);
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** Puts an element in the place of another, with what was focused and opened in that. */
function exchange(old, element) {
  const parts = (of, what) => [...of.querySelectorAll(what)];
  const focused = parts(old, FOCUSABLE).indexOf(document.activeElement);
  parts(old, "details").forEach((details, at) => {
    const same = parts(element, "details")[at];
    if (same) same.open = details.open;
  });
  old.replaceWith(element);
  if (focused >= 0) parts(element, FOCUSABLE)[focused]?.focus({ preventScroll: true });
}

/** Redraws an element only where what it shows has changed. */
export function redraw(element, shown, draw) {
  const now = JSON.stringify(shown);
  if (element && element.dataset.shown === now) return element;
  const drawn = draw(shown);
  drawn.dataset.shown = now;
  return drawn;
}

/** Fills a `<select>` with names, and keeps what is chosen. */
export function choices(select, names) {
  const options = [...select.options].slice(1).map((option) => option.value);
  if (options.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => make("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(value) {
  if (value == null) return "–";
  return value < 100_000 ? whole.format(Math.round(value)) : short.format(value);
}

export function rate(value) {
  if (value == null) return "–";
  if (value > 0 && value < 10) return value.toFixed(1);
  return count(value);
}

export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(seconds < 1e-5 ? 1 : 0)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

/** The word of a state, with the colour of how bad it is. */
export function state(word) {
  const colour = { stuck: "bad", stopped: "bad", waiting: "warn", full: "warn", joining: "warn", rebuilding: "warn",
    paused: "warn", working: "good", joined: "good" }[word] ?? "";
  return make(colour ? `span.state.${colour}` : "span.state", {}, word);
}
