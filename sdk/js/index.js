// What a plugin imports as "millrace". Whatever it does not use is left out of the component, so that the component
// imports no more of the host than its source does.

export { filtered, output, overloaded, reject, retry } from "./outcome.js";
export { decode, encode } from "./text.js";
export * as config from "./capabilities/config.js";
export * as journal from "./capabilities/journal.js";
export * as log from "./capabilities/log.js";
export * as metrics from "./capabilities/metrics.js";
export * as state from "./capabilities/state.js";
export * as tally from "./capabilities/tally.js";
