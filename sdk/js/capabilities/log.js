// Log lines with a level. Grant: logging. World: with-logging.

import * as host from "wasi:logging/logging@0.1.0-draft";

const at = (level) => (message) => host.log(level, "", String(message));

export const debug = at("debug");
export const info = at("info");
export const warn = at("warn");
export const error = at("error");
