// From what a plugin's source exports to what a component does. `millrace plugin build` writes the module that calls
// this; a plugin's source does not.

import { Event } from "./event.js";
import { failureOf, outputsOf, successOf } from "./outcome.js";

function wanted(plugin, name, world) {
  if (typeof plugin[name] !== "function") {
    throw new Error(`src/plugin exports no function \`${name}\`, which ${world} needs: write \`export function ${name}\``);
  }
  return plugin[name];
}

export function handler(plugin) {
  const handle = wanted(plugin, "handle", "every plugin");
  return {
    handle(event) {
      try {
        return successOf(handle(new Event(event)));
      } catch (thrown) {
        // The engine makes of a thrown failure what the contract has, and of anything else a trap without a word.
        throw failureOf(thrown);
      }
    },
  };
}

export function timer(plugin) {
  const onTick = wanted(plugin, "onTick", "a world with-timer");
  return {
    onTick(topic, partition, nowMs, reason) {
      try {
        return outputsOf(onTick({ topic, partition, nowMs, reason }));
      } catch (thrown) {
        throw failureOf(thrown);
      }
    },
  };
}

export function lifecycle(plugin) {
  const init = wanted(plugin, "init", "a world with-lifecycle");
  return {
    init() {
      try {
        init();
      } catch (thrown) {
        throw thrown instanceof Error ? thrown.message : String(thrown);
      }
    },
  };
}
