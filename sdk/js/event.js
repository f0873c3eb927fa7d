// One event as a handler sees it.

import { Failure } from "./outcome.js";
import { decode } from "./text.js";

/** An event. What it holds is read when it is asked for. */
export class Event {
  constructor(raw) {
    this.topic = raw.topic;
    this.partition = raw.partition;
    this.offset = raw.offset;
    this.timestampMs = raw.timestampMs ?? null;
    /** Bytes, or null. */
    this.key = raw.key ?? null;
    /** Bytes, or null: a deletion, which is not the same as no bytes. */
    this.value = raw.value ?? null;
    /** Names and values in their order; names may repeat, values may be null. */
    this.headers = raw.headers;
    /** From 1; rises after a counted failure only. */
    this.attempt = raw.attempt;
  }

  /** The value as text; rejects the event (code `malformed`) where there is none, or it is not UTF-8. */
  text() {
    return textOf(this.value, "the event has no value");
  }

  /** The value as what its JSON says; rejects the event (code `malformed`) where it is not JSON. */
  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Failure("reject", "malformed", `the value is not JSON: ${error.message}`);
    }
  }

  /** The key as text, or null. */
  keyText() {
    return this.key === null ? null : textOf(this.key);
  }

  /** The value of the last header of that name as text; null where there is none. */
  header(name) {
    for (let at = this.headers.length - 1; at >= 0; at--) {
      const header = this.headers[at];
      if (header.name === name && header.value) return textOf(header.value);
    }
    return null;
  }
}

function textOf(bytes, whereNull) {
  if (bytes === null) throw new Failure("reject", "malformed", whereNull);
  try {
    return decode(bytes);
  } catch (error) {
    throw new Failure("reject", "malformed", error.message);
  }
}
