// The plugin's own settings. Grant: config. World: with-config.

import * as host from "wasi:config/store@0.2.0-rc.1";

/** The setting of that name, or null. */
export const get = (name) => host.get(name) ?? null;

/** All settings. */
export const all = () => Object.fromEntries(host.getAll());
