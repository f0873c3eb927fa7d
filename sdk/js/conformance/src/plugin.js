// Does what the value of an event asks for, so that one kit can judge the plugins of every language: the deed, and
// after a colon what to do it with.

import { config, filtered, log, metrics, output, overloaded, reject, retry, state } from "millrace";

const OUT = "conformance.out";
const MORE = "conformance.more";

export function handle(event) {
  if (event.value === null) return echo(event);
  const text = event.text();
  const colon = text.indexOf(":");
  const [deed, rest] = colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
  switch (deed) {
    case "echo":
      return echo(event);
    case "filter":
      return filtered;
    case "reject":
      throw reject(rest, "asked to reject");
    case "retry":
      return until(event, number(rest));
    case "after":
      return until(event, 2, number(rest));
    case "busy":
      if (config.get("busy") === "yes") throw overloaded("busy", "asked to be busy");
      return;
    case "output":
      return many(event, number(rest));
    case "elsewhere":
      return output("not.granted", event.value);
    case "state": {
      const seen = String(number(state.getText("seen") ?? "0") + 1);
      state.set("seen", seen);
      return output(OUT, seen, { key: event.key });
    }
    case "forget":
      return state.remove("seen");
    case "metric":
      metrics.counterAdd("deeds_total", { kind: rest });
      metrics.gaugeSet("last_offset", {}, event.offset);
      metrics.histogramObserve("value_bytes", {}, event.value.length);
      return;
    case "config":
      return output(OUT, config.get(rest), { key: event.key });
    case "log":
      log.info(rest);
      console.log(rest);
      return;
    case "throw":
      throw new Error("asked to throw");
    default:
      throw reject("unknown-deed", deed);
  }
}

/** The event as it came, headers that repeat or are null included. */
function echo({ key, value, headers, timestampMs }) {
  return output(OUT, value, { key, headers, timestampMs });
}

function until({ attempt }, attempts, afterMs) {
  if (attempt < attempts) throw retry("again", `attempt ${attempt} of ${attempts}`, { afterMs });
}

function many({ key }, count) {
  return Array.from({ length: count }, (_, n) => output(MORE, String(n), { key, headers: { n: String(n) } }));
}

function number(text) {
  if (!/^[0-9]+$/.test(text)) throw reject("no-number", text);
  return Number(text);
}
