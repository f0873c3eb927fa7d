// The shell: which view is shown, and looking at the host again and again while somebody does.

import { ask } from "/page/ask.js";
import { configuration } from "/page/configuration.js";
import { byId, duration, say } from "/page/dom.js";
import { events, leave } from "/page/events.js";
import { LOOK_EVERY_MS, look } from "/page/history.js";
import { lanes } from "/page/lanes.js";
import { letters } from "/page/letters.js";
import { overview } from "/page/overview.js";
import { partitions } from "/page/partitions.js";
import { plugins } from "/page/plugins.js";

const VIEWS = ["overview", "partitions", "plugins", "letters", "events", "configuration"];

let view = null;
let timer = null;
let looking = false;
let answered = null;

function turn() {
  const asked = location.hash.slice(1);
  if (view && !VIEWS.includes(asked)) return;
  if (view === "events" && asked !== "events") leave();
  view = VIEWS.includes(asked) ? asked : "overview";
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "overview" ? "Millrace" : `${document.querySelector(`nav a[href="#${view}"]`).textContent} – Millrace`;
  scrollTo(0, 0);
  again();
}

/** Looks now, and then every so often. */
async function again() {
  clearTimeout(timer);
  if (looking) return;
  looking = true;
  try {
    await once();
    answered = Date.now();
    pulse("live", "live");
  } catch (error) {
    const since = answered ? ` for ${duration(Math.round((Date.now() - answered) / 1_000))}` : "";
    pulse("gone", `no answer${since}`);
    byId("pulse").title = error.message;
  } finally {
    looking = false;
    if (!document.hidden) timer = setTimeout(again, LOOK_EVERY_MS);
  }
}

async function once() {
  const now = view;
  const asked = ["/v1/host", "/v1/groups", "/v1/plugins", "/v1/pauses"].map((path) => ask(path));
  const [host, groups, all, paused] = await Promise.all(asked);
  look(groups, host.now_ms);
  const up = duration(Math.round((host.now_ms - host.started_at_ms) / 1_000));
  say(byId("host"), `${location.host} · ${host.version} · up ${up}${host.ready ? "" : " · not ready"}`);
  if (now === "overview") overview({ host, groups, plugins: all, paused, troubled: await troubled(groups) }, again);
  if (now === "partitions") partitions(await ask("/v1/partitions"), paused, again);
  if (now === "plugins") {
    plugins(all, paused, again);
    lanes(await ask("/v1/lanes"));
  }
  if (now === "configuration") await configuration();
  if (now === "letters") await letters(again);
  if (now === "events") events({ groups, plugins: all });
}

/** Partitions that wait, only where there are any. */
async function troubled(groups) {
  const wanted = ["stuck", "waiting"].filter((state) => groups.some((group) => group[state] > 0));
  return (await Promise.all(wanted.map((state) => ask(`/v1/partitions?state=${state}`)))).flat();
}

function pulse(kind, text) {
  const element = byId("pulse");
  element.className = `pulse ${kind}`;
  say(element, text);
}

addEventListener("hashchange", turn);
document.addEventListener("visibilitychange", () => document.hidden || again());
turn();
