// Events as they are handled, for as long as somebody looks.

import { send } from "/page/ask.js";
import { byId, choices, clock, count, make, say } from "/page/dom.js";
import { pauseKey } from "/page/pausing.js";

/** Events that stay on the page. */
const KEPT = 200;

const FAILED = new Set(["dead", "moved", "retry", "overloaded"]);
const COLOURS = { processed: "good", dead: "bad", moved: "warn", retry: "warn", overloaded: "warn" };
const form = byId("tap");
const list = byId("tap-list");
let stop = null;
let retryTopics = new Set();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (stop) stop.abort();
  else watch();
});

/** Fills in what can be chosen. */
export function events({ groups, plugins }) {
  retryTopics = new Set(groups.flatMap((group) => group.topics).filter((topic) => topic.retry_topic).map((topic) => topic.topic));
  choices(form.elements.group, groups.map((group) => group.group));
  choices(form.elements.plugin, plugins.map((plugin) => plugin.plugin));
}

/** Ends what runs, when somebody goes elsewhere. */
export function leave() {
  stop?.abort();
}

async function watch() {
  const { group, plugin, topic, outcome } = form.elements;
  const query = new URLSearchParams();
  for (const of of [group, plugin, topic]) if (of.value.trim()) query.set(of.name, of.value.trim());
  const button = form.querySelector("button");
  stop = new AbortController();
  say(button, "Stop");
  let [seen, dropped] = [0, 0];
  list.replaceChildren();
  try {
    const response = await send(`/v1/tap?${query}`, { signal: stop.signal, until: stop.signal });
    say(byId("tap-state"), "Watching.");
    for await (const batch of lines(response.body)) {
      const fresh = [];
      for (const event of batch) {
        if (event.dropped) dropped += event.dropped;
        else seen += 1;
        if (event.dropped) fresh.push(make("li.dropped", {}, `${count(event.dropped)} more that were not shown`));
        else if (outcome.value !== "failed" || FAILED.has(event.outcome)) fresh.push(item(event));
      }
      list.prepend(...fresh.reverse());
      while (list.children.length > KEPT) list.lastChild.remove();
      const more = dropped ? `, and ${count(dropped)} more went by without being shown` : "";
      say(byId("tap-state"), `${count(seen)} events seen${more}.`);
    }
    say(byId("tap-state"), "The host has ended the stream.");
  } catch (error) {
    say(byId("tap-state"), error.name === "AbortError" ? `Stopped; ${count(seen)} events were seen.` : error.message);
  } finally {
    stop = null;
    say(button, "Watch");
  }
}

/** The objects of a stream with one a line, as they come. */
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    const batch = parts.filter((part) => part).map((part) => JSON.parse(part));
    if (batch.length) yield batch;
  }
}

function item(event) {
  const colour = COLOURS[event.outcome];
  const text = (name) => event[name] ?? (event[`${name}_base64`] ? `base64 ${event[`${name}_base64`]}` : "null");
  const cut = event.value_bytes ? ` … (${count(event.value_bytes)} bytes)` : "";
  return make("li", {},
    make("div.line", {},
      make(colour ? `span.state.${colour}` : "span.state", {}, event.outcome),
      make("code", {}, `${event.topic}[${event.partition}]@${event.offset}`),
      make("span.quiet", {}, `${event.group} → ${event.plugin} ${event.version}`),
      event.attempt > 1 && make("span.quiet", {}, `attempt ${event.attempt}`),
      make("span.quiet", {}, clock(event.at_ms))),
    event.message && make("p.wrong", {}, `${event.code}: ${event.message}`),
    make("pre", {}, `${text("key")}  ${text("value")}${cut}`),
    pausable(event) && make("div.buttons", {}, pauseKey(event)));
}

/** Whether its key is there, whole, and one of a topic that can be paused. */
function pausable(event) {
  const known = event.key_bytes == null && (event.key != null || event.key_base64 != null);
  return known && !retryTopics.has(event.topic);
}
