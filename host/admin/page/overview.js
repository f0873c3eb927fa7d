// The first view: what needs attention, the figures of the moment, the last minutes, the groups.

import { Chart } from "/page/chart.js";
import { byId, clock, count, duration, keep, make, rate, redraw, state } from "/page/dom.js";
import { choose } from "/page/letters.js";
import { pauseGroup, pauseTopic, pauses } from "/page/pausing.js";
import { SPAN_MS, history, newest, series, sum } from "/page/history.js";

const CHARTS = { settled: new Chart("Events settled a second", rate, 0.1, SPAN_MS),
  lag: new Chart("Lag in events", count, 1, SPAN_MS), failures: new Chart("Failures a second", rate, 0.1, SPAN_MS),
  time: new Chart("Time of an event in its plugin", duration, 0, SPAN_MS) };

byId("charts").append(...Object.values(CHARTS).map((chart) => chart.element));

export function overview({ host, groups, plugins, paused, troubled }, again) {
  attention(host, groups, plugins, troubled);
  pauses(paused, again);
  tiles(groups);
  for (const [of, chart] of Object.entries(CHARTS)) chart.show(history.times, ordered(of));
  keep(byId("groups"), groups, (group) => group.group, (group, old) => card(group, paused, again, old));
}

/** Colours belong to names, not to sizes: a line must not change its colour while somebody looks. */
function ordered(of) {
  return series(of).slice(0, 6).sort((a, b) => a.name.localeCompare(b.name));
}

function attention(host, groups, plugins, troubled) {
  const found = [];
  const note = (bad, head, text, letters) => found.push({ bad, head, text, letters });
  for (const part of host.parts.filter((part) => !part.ready)) note(true, part.part, part.state);
  for (const partition of troubled) {
    const place = `${partition.topic}[${partition.partition}]`;
    const since = `${partition.state} for ${duration(partition.waits_ms / 1_000)}`;
    note(partition.state === "stuck", `${place} of ${partition.group}`, `${since}: ${partition.why}`);
  }
  for (const group of groups) {
    const rise = group.dead_letters_rise;
    if (rise) note(true, `Dead letters of ${group.group}`, risen(rise), rise.topic);
    for (const plugin of group.plugins.filter((plugin) => plugin.breaker_open)) {
      note(true, `${plugin.plugin} in ${group.group}`, "its breaker is open: something outside fails for many keys");
    }
  }
  for (const plugin of plugins) {
    if (plugin.waiting) note(false, plugin.plugin, `version ${plugin.waiting.version} waits for your approval`);
    if (plugin.refused) note(false, plugin.plugin, `a version was refused: ${plugin.refused.reason}`);
    const ended = plugin.trial?.ended;
    if (ended?.promoted === false) note(false, plugin.plugin, `the trial is over: ${ended.reason}`);
  }
  found.sort((a, b) => b.bad - a.bad);
  const shown = found.slice(0, 12);
  const more = found.length - shown.length;
  if (more > 0) shown.push({ bad: false, head: `${more} more`, text: "are not shown" });
  byId("well").hidden = shown.length > 0;
  let place = 0;
  keep(byId("attention-list"), shown, ({ head }) => `${head} ${place++}`, (one, old) => redraw(old, one, ({ bad, head, text, letters }) =>
    make(bad ? "li.bad" : "li", {}, make("strong", {}, head), ` ${text} `,
      letters && make("a", { href: "#letters", onclick: () => choose(letters) }, "Look at them"))));
}

/** How many came since when, and why the most of them. */
function risen({ events, causes, since_ms, last_ms }) {
  const [[cause, most]] = Object.entries(causes).sort((a, b) => b[1] - a[1]);
  const why = most === events ? cause : `${count(most)} of them ${cause}`;
  return `rise: ${count(events)} since ${clock(since_ms)}, the last at ${clock(last_ms)}; ${why}.`;
}

function tiles(groups) {
  const totals = groups.map((group) => group.events);
  const stuck = sum(groups, "stuck");
  const oldest = Math.max(0, ...groups.map((group) => group.lag_seconds ?? 0));
  const drained = groups.filter((group) => group.lag > 0).map((group) => group.drain_seconds);
  const drains = drained.includes(null) ? "does not fall" : `gone in ${duration(Math.max(0, ...drained))}`;
  const lag = sum(groups, "lag");
  const shown = [
    ["Settled a second", rate(newest("settled")), `${count(sum(totals, "polled"))} read since the start`],
    ["Lag", count(lag), lag ? `oldest ${duration(oldest)}, ${drains}` : "caught up"],
    ["Held back", count(sum(totals, "parked")), `${count(sum(totals, "in_flight"))} in flight`],
    ["Dead letters", count(sum(totals, "dead")), "since the start"],
    ["Stuck partitions", count(stuck), `of ${count(sum(groups, "partitions"))} here`, stuck > 0],
  ];
  keep(byId("tiles"), shown, ([name]) => name, (tile, old) =>
    redraw(old, tile, ([name, value, more, bad]) =>
      make(bad ? "div.bad" : "div", {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, more)))));
}

function card(group, paused, again, old) {
  const ofGroup = paused.filter((pause) => pause.group === group.group);
  return redraw(old, { ...group, at_ms: 0, ofGroup }, () => {
    const fact = (name, value) => [make("dt", {}, name), make("dd", {}, value)];
    const troubled = group.stuck ? `, ${group.stuck} stuck` : group.waiting ? `, ${group.waiting} waiting` : "";
    return make("article.card", {},
      make("header", {}, make("h3", {}, group.group), state(ofGroup.some((pause) => pause.what === "group") ? "paused" : group.stuck ? "stuck" : group.state)),
      make("dl.facts", {},
        ...fact("Partitions", `${group.partitions}${troubled}`),
        ...fact("Settles", `${rate(group.settled_per_second)} a second; ${rate(group.arriving_per_second)} arrive`),
        ...fact("Lag", `${count(group.lag)}${group.lag ? `, oldest ${duration(group.lag_seconds)}` : ""}`),
        ...(group.lag > 0 ? fact("Drained in", group.drain_seconds == null ? "it does not fall" : duration(group.drain_seconds)) : []),
        ...fact("Processed", count(group.events.processed)),
        ...fact("Dead letters", causes(group))),
      make("ul.route", {}, ...group.topics.map((topic) =>
        make("li", {}, make("span.code", {}, `${topic.topic} → ${topic.plugin}`), make("span.quiet", {}, count(topic.events.polled)),
          !topic.retry_topic && pauseTopic(group.group, topic.topic, ofGroup, again)))),
      !group.ready && make("p.callout.bad", {}, group.says),
      make("div.buttons", {}, pauseGroup(group.group, ofGroup, again)));
  });
}

function causes(group) {
  const by = {};
  for (const plugin of group.plugins) {
    for (const [cause, events] of Object.entries(plugin.dead_letters)) by[cause] = (by[cause] ?? 0) + events;
  }
  const told = Object.entries(by).sort((a, b) => b[1] - a[1]).map(([cause, events]) => `${count(events)} ${cause}`);
  return told.join(", ") || "none";
}
