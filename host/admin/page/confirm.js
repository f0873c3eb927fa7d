// Changes: each is asked for first, with the very call that will be made, and its end is told.

import { ask } from "/page/ask.js";
import { byId, make } from "/page/dom.js";

/** How long an answer stays. */
const SAID_MS = 8_000;

/** A version may have to be compiled first, behind another one. */
const TIMEOUT_MS = 150_000;

/**
 * Asks a person, then the host. Answers what the host said; undefined where nothing was changed. A `field` is what the
 * person may add to the call: `{ name, label, placeholder }`.
 */
export async function change({ title, text, verb, method = "POST", path, done, field }) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  const call = fieldOf(field, path, (whole) => { byId("confirm-call").textContent = `${method} ${whole}`; });
  byId("confirm-yes").textContent = verb;
  const dialog = byId("confirm");
  dialog.returnValue = "no";
  const closed = new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  dialog.showModal();
  await closed;
  if (dialog.returnValue !== "yes") return undefined;
  try {
    const answer = await ask(call(), { method, timeout: TIMEOUT_MS });
    tell(done);
    return answer;
  } catch (error) {
    tell(error.message, true);
    return undefined;
  }
}

/** Shows the call as it becomes while somebody types. Answers what says the whole call. */
function fieldOf(field, path, show) {
  const input = byId("confirm-field-text");
  byId("confirm-field").hidden = !field;
  byId("confirm-field-name").textContent = field?.label ?? "";
  input.placeholder = field?.placeholder ?? "";
  input.value = "";
  const whole = () => {
    const value = input.value.trim();
    return field && value ? `${path}${path.includes("?") ? "&" : "?"}${field.name}=${encodeURIComponent(value)}` : path;
  };
  input.oninput = () => show(whole());
  // It would leave the dialog by its first button.
  input.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("confirm-yes").focus();
  };
  show(whole());
  return whole;
}

/** Says something for a moment, also to those who hear the page. */
export function tell(text, bad = false) {
  const said = make(bad ? "p.bad" : "p", {}, text);
  byId("said").append(said);
  setTimeout(() => said.remove(), SAID_MS);
}
