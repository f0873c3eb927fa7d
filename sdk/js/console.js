// What `console` is in a plugin: the engine has none, so its lines go the way of `log`. The build joins this in where
// the source says `console`. Grant: logging. World: with-logging.

import { debug, error, info, warn } from "./capabilities/log.js";

const line = (write) => (...values) =>
  write(values.map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(" "));

export const console = { debug: line(debug), error: line(error), info: line(info), log: line(info), warn: line(warn) };
