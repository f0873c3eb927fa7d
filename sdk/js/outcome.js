// What a handler answers. A failure is thrown, so that it ends the handler wherever it is.

import { bytesOf } from "./text.js";

/** The event failed, with what the host is told of it. */
export class Failure extends Error {
  constructor(tag, code, message, afterMs) {
    super(String(message));
    this.name = tag;
    this.tag = tag;
    this.code = String(code);
    this.afterMs = afterMs;
  }
}

/** Never worth trying again: the event goes to the dead-letter topic at once. */
export const reject = (code, message) => new Failure("reject", code, message);

/** Worth trying again; counts as an attempt. */
export const retry = (code, message, { afterMs } = {}) => new Failure("retry", code, message, afterMs);

/** Too busy; tried again later, and not counted as an attempt. */
export const overloaded = (code, message, { afterMs } = {}) => new Failure("overloaded", code, message, afterMs);

/** Looked at and not wanted; return it. */
export const filtered = Object.freeze({ tag: "filtered" });

/** A record to produce; return it, or a list of them. */
export class Output {
  constructor(topic, value, { key, headers, partition, timestampMs } = {}) {
    this.topic = topic;
    this.key = bytesOf(key);
    this.value = bytesOf(value);
    this.partition = partition ?? undefined;
    this.timestampMs = timestampMs ?? undefined;
    this.headers = headersOf(headers);
  }
}

/** A record for a topic, which plugin.yaml has to grant (`output:TOPIC`). */
export const output = (topic, value, rest) => new Output(topic, value, rest);

function headersOf(headers) {
  if (!headers) return [];
  const pairs = Array.isArray(headers) ? headers.map(({ name, value }) => [name, value]) : Object.entries(headers);
  return pairs.map(([name, value]) => ({ name, value: bytesOf(value) }));
}

/** What a handler returned, as the host wants it. */
export function successOf(returned) {
  if (returned === undefined || returned === null) return { tag: "processed", val: [] };
  if (returned === filtered) return filtered;
  if (returned instanceof Output) return { tag: "processed", val: [returned] };
  if (Array.isArray(returned)) return { tag: "processed", val: outputsOf(returned) };
  if (returned instanceof Failure) throw returned;
  if (typeof returned.then === "function") {
    throw new TypeError("the handler is async, and an event is handled in one call: return without a promise");
  }
  throw new TypeError("a handler returns nothing, filtered, an output or a list of outputs");
}

/** A list of records to produce. */
export function outputsOf(returned) {
  const outputs = returned ?? [];
  const list = Array.isArray(outputs) ? outputs : [outputs];
  for (const one of list) {
    if (!(one instanceof Output)) throw new TypeError("every item of the list has to be made by output(topic, value)");
  }
  return list;
}

/** What was thrown, as the host wants it: anything but a failure asks for a retry. */
export function failureOf(thrown) {
  if (thrown instanceof Failure) {
    const { tag, code, message, afterMs } = thrown;
    return { tag, val: { code, message, afterMs } };
  }
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}${whereOf(thrown)}` : String(thrown);
  return { tag: "retry", val: { code: "throw", message, afterMs: undefined } };
}

/** The first line of the stack; the rest is the engine's. */
function whereOf(error) {
  const line = String(error.stack ?? "").split("\n")[0].trim();
  return line ? ` (${line})` : "";
}
