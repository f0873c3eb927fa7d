// Dead letters put back and removed: the buttons, and how what was begun stands.

import { ask } from "/page/ask.js";
import { change, tell } from "/page/confirm.js";
import { byId, clock, count, keep, make, redraw } from "/page/dom.js";

/** How often it is asked what a purge would remove, and for how long. */
const [ASK_EVERY_MS, ASK_TIMES_MAX] = [300, 400];

const path = (topic, work) => `/v1/dead-letters/${encodeURIComponent(topic)}/${work}`;
const RATE = { name: "rate", label: "Rate (without one, as fast as they are taken)", placeholder: "100/s" };
const BACK = "Each goes back to where it came from, once, those of one key in their order, the first one alone. The letters stay.";

/** Puts a cluster back, or tells what that would do. */
export function redriveCluster(topic, { signature, count: all, redriven }, again) {
  const query = `${path(topic, "redrive")}?signature=${encodeURIComponent(signature)}`;
  const open = `${count(all - redriven)} dead letters`;
  return [
    button(".plain", "Dry run", signature, { title: `Try to put ${open} back?`, text: "It says what would be done, and does nothing.",
      verb: "Try it", path: `${query}&dry_run=true`, done: "The dry run has begun." }, again),
    button("", "Redrive", signature, { title: `Put ${open} back?`, text: BACK, verb: "Put back", path: query, field: RATE,
      done: "The redrive has begun." }, again)];
}

/** Puts one letter back. */
export const redriveOne = ({ id, topic }, again) => button("", "Redrive", id, {
  title: `Put ${id} back?`, text: BACK, verb: "Put back", path: `${path(topic, "redrive")}?id=${encodeURIComponent(id)}`,
  done: "The redrive has begun." }, again);

/** Kafka removes a log from its beginning on, so a cluster in the middle cannot be removed. */
export function purges(topic, again) {
  const purge = (label, query) => make("button.harm", { type: "button", "aria-label": `${label}: ${topic}`,
    onclick: () => askToPurge(topic, label, query, again) }, label);
  return make("div.buttons", {}, purge("Remove what was put back", "redriven=true"),
    purge("Remove what is older than 30 days", "before_time=30d"));
}

/** Says how many would be removed before it asks. */
async function askToPurge(topic, label, query, again) {
  try {
    let found = await ask(`${path(topic, "purge")}?${query}&dry_run=true`, { method: "POST" });
    for (let times = 0; found.state === "running" && times < ASK_TIMES_MAX; times += 1) {
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      found = await ask(path(topic, "purge"));
    }
    if (found.state !== "done") return tell(found.error ?? "The host still looks what would be removed.", true);
    if (!found.letters) return tell("There is nothing to remove: letters go from the beginning of each partition on.");
    const made = await change({ title: `${label}?`,
      text: `${count(found.letters)} dead letters are removed for good, ${count(found.not_redriven)} of them never put back. Nothing brings them back.`,
      verb: "Remove them", path: `${path(topic, "purge")}?${query}`, done: "The purge has begun." });
    if (made) again();
  } catch (error) {
    tell(error.message, true);
  }
}

/** How the last redrive and the last purge of a topic stand. */
export async function works(topic, again) {
  const [redrive, purge] = await Promise.all(["redrive", "purge"].map((work) => ask(path(topic, work))));
  const shown = [redrive && [redrive.dry_run ? "Dry run" : "Redrive", redrive, redriven(redrive)],
    purge && !purge.dry_run && ["Purge", purge, `${count(purge.letters)} removed`]].filter((one) => one);
  keep(byId("letters-work"), shown, ([what]) => what, (one, old) => redraw(old, one, ([what, work, done]) =>
    make(work.error ? "div.callout.bad" : "div.callout", {}, make("strong", {}, `${what} of ${clock(work.begun_ms)}: ${work.state}. `),
      `${done}. `, work.error && make("span.wrong", {}, work.error), work.state === "running" && what !== "Purge" && stop(topic, again))));
}

function redriven({ redriven: back, matched, stayed, missing_topics: missing, dry_run: dry }) {
  const why = Object.entries(stayed).map(([reason, letters]) => `${count(letters)} stay: ${reason}`);
  const gone = missing.length ? [`missing: ${missing.join(", ")}`] : [];
  return [`${count(back)} of ${count(matched)} ${dry ? "would be put back" : "put back"}`, ...why, ...gone].join("; ");
}

const stop = (topic, again) => button(".harm", "Stop", topic, { title: "Stop the redrive?",
  text: "What was put back stays put back, and the same redrive goes on with the others.", verb: "Stop it", method: "DELETE",
  path: path(topic, "redrive"), done: "The redrive ends before its next letter." }, again);

function button(kind, label, whose, call, again) {
  return make(`button${kind}`, { type: "button", "aria-label": `${label}: ${whose}`,
    onclick: async () => { if (await change(call)) again(); } }, label);
}
