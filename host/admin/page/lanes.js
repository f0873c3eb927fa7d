// The lanes: what the thread of each is doing, and what it holds back.

import { byId, count, duration, keep, make, redraw, say, state } from "/page/dom.js";

/** Rows that are drawn: a group may have hundreds of lanes, and those that hold something back come first. */
const ROWS = 50;

export function lanes(all) {
  const sorted = [...all].sort((a, b) => b.parked_events - a.parked_events || (b.busy_ms ?? -1) - (a.busy_ms ?? -1));
  const rows = sorted.slice(0, ROWS);
  const busy = all.filter((one) => one.busy_ms != null).length;
  const more = rows.length < all.length ? `; ${count(all.length - rows.length)} are not shown` : "";
  say(byId("lane-count"), all.length ? `${count(busy)} of ${count(all.length)} in a call${more}` : "No plugin runs.");
  keep(byId("lane-table").tBodies[0], rows, (one) => `${one.group} ${one.lane}`, (one, old) => redraw(old, one, row));
}

function row(one) {
  const cell = (label, text) => make("td.number", { "data-label": label }, text);
  const seconds = (ms) => (ms == null ? null : ms / 1_000);
  return make("tr", {},
    make("td", { "data-label": "State" }, state(one.busy_ms == null ? "idle" : "working")),
    make("td", { "data-label": "Lane" }, make("span.code", {}, `${one.plugin} ${one.lane}`)),
    make("td.place", { "data-label": "Group" }, make("span.code", {}, one.group)),
    cell("In a call for", duration(seconds(one.busy_ms))),
    cell("Held back", count(one.parked_events)),
    cell("Next due in", duration(seconds(one.next_due_in_ms))),
    cell("Events a call, at most", count(one.batch_events_max)));
}
