// One dead letter, opened: what it was, why it was given up, and what its plugin logged.

import { ask } from "/page/ask.js";
import { tell } from "/page/confirm.js";
import { byId, make } from "/page/dom.js";
import { pauseKey } from "/page/pausing.js";
import { redriveOne } from "/page/redriving.js";

/** The host reads it from its topic, and gives up after a while. */
const TIMEOUT_MS = 30_000;

/** The button that opens it. */
export function opener(id, again) {
  return make("button.plain", { type: "button", "aria-label": `Show: ${id}`, onclick: () => open(id, again) }, "Show");
}

async function open(id, again) {
  const [topic, ...place] = id.split("/");
  try {
    show(await ask(`/v1/dead-letters/${encodeURIComponent(topic)}/letters/${place.join("/")}`, { timeout: TIMEOUT_MS }), again);
  } catch (error) {
    tell(error.message, true);
  }
}

function show(one, again) {
  const { event, summary } = one;
  byId("letter-title").textContent = one.id;
  const facts = Object.entries(one.dead_letter).filter(([name]) => name !== "version");
  const known = facts.length ? facts : Object.entries(summary).filter(([, value]) => typeof value === "string");
  const part = (title, ...what) => [make("h3", {}, title), ...what];
  byId("letter-body").replaceChildren(
    make("dl.facts", {}, ...known.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]),
      make("dt", {}, "put back"), make("dd", {}, one.redriven ? "yes" : "no")),
    ...part("Key", payload(event, "key")),
    ...(one.decoded == null ? [] : part("Decoded", payload({ value: one.decoded }, "value"))),
    ...part("Value", payload(event, "value")),
    ...part(event.headers.length ? "Headers" : "No headers", make("dl.facts", {}, ...event.headers.flatMap((header) =>
      [make("dt", {}, text(header, "name")), make("dd", {}, text(header, "value"))]))),
    ...(one.log_lines.length ? part("What its plugin logged", make("pre.payload", {}, one.log_lines.join("\n"))) : []),
    make("div.buttons", {}, redriveOne(one, () => { byId("letter").close(); again(); }), ...keyOf(one)));
  byId("letter").showModal();
}

/** Its key can be paused where it is known whose it is. */
function keyOf({ event, summary }) {
  const key = { group: summary.group, topic: event.topic, key: event.key == null ? null : text(event, "key"), key_base64: event.key_base64 };
  return key.group && summary.origin && (key.key != null || key.key_base64 != null) ? [pauseKey(key)] : [];
}

const payload = (of, name) => make("pre.payload", {}, text(of, name, 2));

/** As text: JSON written out, and what is no text in base64. */
function text(of, name, indent) {
  if (of[`${name}_base64`] != null) return `base64 ${of[`${name}_base64`]}`;
  const value = of[name];
  return value == null ? "null" : typeof value === "string" ? value : JSON.stringify(value, null, indent);
}
