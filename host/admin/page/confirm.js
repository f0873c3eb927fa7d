// Changes: each is asked for first, with the very call that will be made, and its end is told.

import { ask } from "/page/ask.js";
import { byId, make } from "/page/dom.js";

/** How long an answer stays. */
const SAID_MS = 8_000;

/** A version may have to be compiled first, behind another one. */
const TIMEOUT_MS = 150_000;

/** Asks a person, then the host. Answers what the host said; undefined where nothing was changed. */
export async function change({ title, text, verb, method = "POST", path, done }) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-call").textContent = `${method} ${path}`;
  byId("confirm-yes").textContent = verb;
  const dialog = byId("confirm");
  dialog.returnValue = "no";
  const closed = new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  dialog.showModal();
  await closed;
  if (dialog.returnValue !== "yes") return undefined;
  try {
    const answer = await ask(path, { method, timeout: TIMEOUT_MS });
    tell(done);
    return answer;
  } catch (error) {
    tell(error.message, true);
    return undefined;
  }
}

/** Says something for a moment, also to those who hear the page. */
export function tell(text, bad = false) {
  const said = make(bad ? "p.bad" : "p", {}, text);
  byId("said").append(said);
  setTimeout(() => said.remove(), SAID_MS);
}
