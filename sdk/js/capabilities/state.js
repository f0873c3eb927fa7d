// Values of the event's key, kept by the host. Grant: state. World: with-state.

import * as host from "millrace:plugin/state@0.1.0";
import { bytesOf, decode } from "../text.js";

/** The bytes kept under a name, or null. */
export const get = (name) => host.get(name) ?? null;

/** The text kept under a name, or null. */
export const getText = (name) => {
  const bytes = host.get(name);
  return bytes ? decode(bytes) : null;
};

/** Keeps bytes or a text; `ttlMs` counts from now, and without it the value stays until it is deleted. */
export const set = (name, value, { ttlMs } = {}) => host.set(name, bytesOf(value), ttlMs);

/** Forgets what is kept under a name. */
export const remove = (name) => host["delete"](name);
