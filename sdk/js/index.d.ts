// What a plugin imports as "millrace".

/** One event as a handler sees it. */
export interface Event {
  readonly topic: string;
  readonly partition: number;
  /** Exact up to 2^53. */
  readonly offset: number;
  /** The record time in milliseconds since the Unix epoch; null where the record has none. */
  readonly timestampMs: number | null;
  readonly key: Uint8Array | null;
  /** Null is a deletion, which is not the same as no bytes. */
  readonly value: Uint8Array | null;
  /** In their order; names may repeat, values may be missing. */
  readonly headers: readonly Header[];
  /** From 1; rises after a counted failure only. */
  readonly attempt: number;
  /** The value as text; rejects the event (code `malformed`) where there is none, or it is not UTF-8. */
  text(): string;
  /** The value as what its JSON says, unchecked; rejects the event (code `malformed`) where it is not JSON. */
  json<T = any>(): T;
  /** The key as text, or null. */
  keyText(): string | null;
  /** The value of the last header of that name as text; null where there is none. */
  header(name: string): string | null;
}

export interface Header {
  readonly name: string;
  readonly value?: Uint8Array | null;
}

/** Bytes, a text that becomes UTF-8, or null. */
export type Bytes = Uint8Array | string | null | undefined;

/** A record to produce, made by `output`. */
export interface Output {
  readonly topic: string;
}

export interface OutputOptions {
  key?: Bytes;
  headers?: readonly { name: string; value?: Bytes }[] | Record<string, Bytes>;
  /** Without it, the partitioner chooses by the key. */
  partition?: number | null;
  /** Milliseconds since the Unix epoch; without it, the time of producing. */
  timestampMs?: number | null;
}

/** A record for a topic, which plugin.yaml has to grant (`output:TOPIC`). Return it, or a list of them. */
export function output(topic: string, value: Bytes, options?: OutputOptions): Output;

/** Looked at and not wanted; return it. */
export const filtered: Filtered;
export interface Filtered {
  readonly tag: "filtered";
}

/** What a handler returns. Whatever it throws and is no `Failure` asks for a retry with its message. */
export type Success = void | null | undefined | Filtered | Output | readonly Output[];

/** What a handler throws where the event failed. `code` is a short word of the plugin's own. */
export interface Failure extends Error {
  readonly code: string;
}

/** Never worth trying again: the event goes to the dead-letter topic at once. Throw it. */
export function reject(code: string, message: unknown): Failure;
/** Worth trying again; counts as an attempt. `afterMs` is how long to wait. Throw it. */
export function retry(code: string, message: unknown, options?: { afterMs?: number }): Failure;
/** Too busy; tried again later, and not counted as an attempt. Throw it. */
export function overloaded(code: string, message: unknown, options?: { afterMs?: number }): Failure;

/** What `onTick` gets, where the world has `with-timer`. It returns an output, a list of them, or nothing. */
export interface Tick {
  readonly topic: string;
  readonly partition: number;
  readonly nowMs: number;
  readonly reason: "interval" | "revoked" | "shutdown";
}

/** The text that these bytes are in UTF-8; bytes that are no UTF-8 throw. */
export function decode(bytes: Uint8Array): string;
/** The bytes of a text in UTF-8. */
export function encode(text: string): Uint8Array;

type Labels = Record<string, string | number | boolean>;

/** Counters, gauges and histograms. Grant: metrics. World: with-metrics. */
export namespace metrics {
  /** Adds to a counter, 1 where no value is given. */
  function counterAdd(name: string, labels?: Labels, value?: number): void;
  function gaugeSet(name: string, labels: Labels, value: number): void;
  function histogramObserve(name: string, labels: Labels, value: number): void;
}

/** Values of the event's key, kept by the host. Grant: state. World: with-state. */
export namespace state {
  function get(name: string): Uint8Array | null;
  function getText(name: string): string | null;
  /** `ttlMs` counts from now; without it the value stays until it is removed. */
  function set(name: string, value: Uint8Array | string, options?: { ttlMs?: number }): void;
  function remove(name: string): void;
}

/** Named sums for each topic-partition. Grant: tally. World: with-tally. */
export namespace tally {
  function add(name: string, value?: number): void;
  function max(name: string, value: number): void;
  function min(name: string, value: number): void;
  /** Moves every settled sum whose name starts with `prefix` to the caller; in `onTick` only. */
  function take(prefix?: string): [string, number][];
}

/** A file that the host owns, rotates and syncs. Grant: journal. World: with-journal. */
export namespace journal {
  /** Appends one line; a line break inside ends the call with an error. */
  function append(line: Uint8Array | string): void;
}

/** The plugin's own settings. Grant: config. World: with-config. */
export namespace config {
  function get(name: string): string | null;
  function all(): Record<string, string>;
}

/** Log lines with a level. Grant: logging. World: with-logging. */
export namespace log {
  function debug(message: unknown): void;
  function info(message: unknown): void;
  function warn(message: unknown): void;
  function error(message: unknown): void;
}

declare global {
  /** Lines in the host's log, as `log` writes them. Grant: logging. World: with-logging. */
  const console: {
    debug(...values: unknown[]): void;
    error(...values: unknown[]): void;
    info(...values: unknown[]): void;
    log(...values: unknown[]): void;
    warn(...values: unknown[]): void;
  };
}
