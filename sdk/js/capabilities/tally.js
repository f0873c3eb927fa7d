// Named sums for each topic-partition, taken in onTick. Grant: tally. World: with-tally.

import * as host from "millrace:plugin/tally@0.1.0";

/** Adds a whole number to a sum. */
export const add = (name, value = 1) => host.add(name, value);

/** Keeps the largest value. */
export const max = (name, value) => host.max(name, value);

/** Keeps the smallest value. */
export const min = (name, value) => host.min(name, value);

/** Moves every settled sum whose name starts with `prefix` to the caller, as pairs; in onTick only. */
export const take = (prefix = "") => host.take(prefix);
