// The partitions of this host, those that need attention first.

import { byId, choices, count, duration, keep, make, redraw, say, state } from "/page/dom.js";
import { pausePartition } from "/page/pausing.js";

/** Rows that are drawn unless somebody asks for all: a phone is slow with more. */
const ROWS = 100;

const STATES = ["stuck", "waiting", "rebuilding", "full", "working", "idle"];
const form = byId("partition-filter");
let shown = ROWS;
let last = null;

choices(form.elements.state, STATES);
form.addEventListener("input", () => last && partitions(...last));
form.addEventListener("submit", (event) => event.preventDefault());
byId("partition-more").addEventListener("click", () => {
  shown = Infinity;
  if (last) partitions(...last);
});

/** `again` looks at the host anew, after something was paused. */
export function partitions(all, paused, again) {
  last = [all, paused, again];
  const { group, state: of, topic } = form.elements;
  choices(group, [...new Set(all.map((one) => one.group))]);
  const wanted = all.filter((one) =>
    (!group.value || one.group === group.value) && (!of.value || one.state === of.value) && one.topic.includes(topic.value));
  const rank = (one) => STATES.indexOf(one.state);
  wanted.sort((a, b) => rank(a) - rank(b) || (b.lag ?? 0) - (a.lag ?? 0));
  say(byId("partition-count"), `${count(wanted.length)} of ${count(all.length)} partitions`);
  const rows = wanted.slice(0, shown);
  const more = byId("partition-more");
  more.hidden = rows.length === wanted.length;
  say(more, `Show all ${count(wanted.length)}`);
  const key = (one) => `${one.group} ${one.topic} ${one.partition}`;
  keep(byId("partition-table").tBodies[0], rows, key, (one, old) => row(one, paused, again, old));
}

function row(one, paused, again, old) {
  const cell = (label, text) => make("td.number", { "data-label": label }, text);
  const waits = one.waits_ms == null ? null : Math.floor(one.waits_ms / 1_000);
  const here = paused.filter((pause) => pause.what === "partition" && pause.group === one.group && pause.topic === one.topic && pause.partition === one.partition);
  return redraw(old, { ...one, waits_ms: waits, settled_per_second: 0, arriving_per_second: 0, here }, () =>
    make("tr", {},
      make("td", { "data-label": "State" }, state(one.state)),
      make("td.why", {}, make("span.code", {}, `${one.topic}[${one.partition}]`),
        one.why && make("span.why-text", {}, `${one.why} (for ${duration(waits)})`)),
      make("td.place", { "data-label": "Group" }, make("span.code", {}, one.group)),
      cell("Lag", count(one.lag)),
      cell("Age", duration(one.lag_seconds)),
      cell("Drained in", one.lag > 0 ? duration(one.drain_seconds) : "–"),
      cell("Parked", count(one.events.parked)),
      cell("Dead", count(one.events.dead)),
      cell("Settled below", String(one.position)),
      // What a retry topic holds waits with the topic that it came from.
      make("td.act", {}, !one.retry_topic && pausePartition(one, here, again))));
}
