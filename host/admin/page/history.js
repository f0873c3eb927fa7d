// What the counters did between two looks, kept for the charts. A counter that falls means that the host began anew.

/** Between two looks. */
export const LOOK_EVERY_MS = 2_000;

/** What the charts show. */
export const SPAN_MS = 5 * 60_000;

const LOOKS_MAX = SPAN_MS / LOOK_EVERY_MS + 1;

const FAILURES = { "dead letters": (group) => group.events.dead, retries: (group) => sum(group.plugins, "retries"),
  traps: (group) => sum(group.plugins, "traps") };

export const sum = (of, name) => of.reduce((total, one) => total + (one[name] ?? 0), 0);

/** How many events have left in a way that is an answer. */
const done = (events) => events.processed + events.filtered + events.duplicate + events.dead + events.moved;

export const history = { times: [], looks: [] };

let before = null;

/** Takes a look at the groups. */
export function look(groups, nowMs) {
  const seconds = before ? (nowMs - before.nowMs) / 1_000 : null;
  const old = new Map((before?.groups ?? []).map((group) => [group.group, group]));
  const rise = (group, of) => {
    const was = old.get(group.group);
    const change = was ? of(group) - of(was) : null;
    return change == null || change < 0 || !(seconds > 0) ? null : change / seconds;
  };
  const add = (one, other) => (other == null ? one : (one ?? 0) + other);
  const taken = { settled: {}, lag: {}, failures: {}, time: {} };
  for (const group of groups) {
    taken.settled[group.group] = rise(group, (of) => done(of.events));
    taken.lag[group.group] = group.lag;
    for (const [name, of] of Object.entries(FAILURES)) {
      taken.failures[name] = add(taken.failures[name], rise(group, of));
    }
    for (const plugin of group.plugins) {
      const of = (name) => (whose) => whose.plugins.find((one) => one.plugin === plugin.plugin)?.[name] ?? 0;
      const calls = rise(group, of("calls"));
      const name = groups.length > 1 ? `${plugin.plugin} in ${group.group}` : plugin.plugin;
      taken.time[name] = calls ? rise(group, of("event_seconds")) / calls : null;
    }
  }
  before = { groups, nowMs };
  history.times.push(nowMs);
  history.looks.push(taken);
  while (history.times.length > LOOKS_MAX) {
    history.times.shift();
    history.looks.shift();
  }
}

/** The series of one chart, the largest first. */
export function series(of) {
  const names = new Set(history.looks.flatMap((taken) => Object.keys(taken[of])));
  const all = [...names].map((name) => ({ name, values: history.looks.map((taken) => taken[of][name] ?? null) }));
  const size = (one) => sum(one.values.map((value) => ({ value })), "value");
  return all.map((one) => [size(one), one]).sort((a, b) => b[0] - a[0]).map(([, one]) => one);
}

/** The newest sum over all series of one chart. */
export function newest(of) {
  const values = Object.values(history.looks.at(-1)?.[of] ?? {}).filter((value) => value != null);
  return values.length ? values.reduce((total, value) => total + value, 0) : null;
}
