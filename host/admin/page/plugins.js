// The plugins: what serves, what did before, what is tried, and what can be done about it.

import { change } from "/page/confirm.js";
import { byId, count, keep, make, redraw } from "/page/dom.js";
import { pausePlugin } from "/page/pausing.js";

const ago = (ms) => new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
const short = (digest) => make("code", { title: digest }, digest.slice(0, 12));

/** `again` looks at the host anew, after something was changed. */
export function plugins(all, paused, again) {
  keep(byId("plugin-list"), all, (one) => one.plugin, (one, old) => {
    const ofPlugin = paused.filter((pause) => pause.plugin === one.plugin);
    return redraw(old, { ...one, ofPlugin }, () => card(one, ofPlugin, again));
  });
  if (!all.length) byId("plugin-list").replaceChildren(make("p.quiet", {}, "No plugin is configured."));
}

function card(one, paused, again) {
  const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];
  const act = actions(one, again);
  return make("article.card", { "aria-label": `Plugin ${one.plugin}` },
    make("header", {}, make("h3", {}, one.plugin), make("span.state.good", {}, one.version)),
    make("dl.facts", {},
      ...fact("Digest", short(one.digest)),
      ...fact("Serves since", ago(one.since_ms)),
      ...fact("Before", ...(one.previous ? [`${one.previous.version} `, short(one.previous.digest)] : ["none"])),
      ...fact("Grants", one.grants.length ? make("ul.chips", {}, ...one.grants.map((grant) => make("li.chip", {}, grant))) : "none")),
    one.refused && make("p.callout.bad", {}, make("strong", {}, `Refused ${ago(one.refused.at_ms)}: `), one.refused.reason),
    one.waiting && make("div.callout", {}, make("strong", {}, `Version ${one.waiting.version} waits for you. `),
      `It asks for ${one.waiting.asks_for.join(", ")} besides.`, make("div.buttons", {}, act.approve())),
    one.trial && trial(one.trial, act),
    make("div.buttons", {}, act.reload(), act.back(), pausePlugin(one.plugin, paused, again)));
}

function trial(of, act) {
  const failed = (record) => `${count(record.failed)} of ${count(record.events)} failed`;
  const differs = Object.entries(of.differences).filter(([, events]) => events > 0);
  const ended = of.ended && (of.ended.promoted ? "It serves now." : `It is over: ${of.ended.reason}.`);
  const samples = of.samples.slice(-10).reverse();
  const kind = of.how === "canary" ? `Canary with ${Number((of.share * 100).toPrecision(3))} % of the keys` : "Shadow";
  return make("div.callout", {},
    make("strong", {}, `${kind}: version ${of.version} `), short(of.digest),
    make("dl.facts", {},
      make("dt", {}, "Candidate"), make("dd", {}, failed(of.candidate)),
      make("dt", {}, "Serving"), make("dd", {}, failed(of.serving)),
      make("dt", {}, "Differs in"), make("dd", {}, differs.map(([what, events]) => `${what} ${count(events)}×`).join(", ") || "nothing")),
    ended && make("p", {}, ended),
    of.waits_for_approval && make("p", {}, "It asks for more than what serves; promoting it is your approval."),
    samples.length > 0 && make("details", {}, make("summary", {}, samples.length === 1 ? "One difference" : `The last ${samples.length} differences`),
      make("ol.tapped", {}, ...samples.map((one) => make("li", {}, make("code", {}, `${one.topic}[${one.partition}]@${one.offset}`),
        make("pre", {}, `serving   ${one.serving}\ncandidate ${one.candidate}`))))),
    !of.ended && make("div.buttons", {}, act.promote(), act.dismiss()));
}

/** A button for each action, with what it asks first. */
function actions(one, again) {
  const path = (verb) => `/v1/plugins/${encodeURIComponent(one.plugin)}/${verb}`;
  const button = (kind, label, call, disabled = false) =>
    make(`button${kind}`, { type: "button", disabled, "aria-label": `${label}: ${one.plugin}`,
      onclick: async () => { if (await change(call)) again(); } }, label);
  return {
    reload: () => button(".plain", "Reload", {
      title: `Reload ${one.plugin}?`,
      text: "The component in its file is compiled and tried. If it passes it serves from the next batch on; if not, what serves goes on.",
      verb: "Reload", path: path("reload"), done: `${one.plugin}: the version of its file serves.` }),
    back: () => button(".harm", "Step back", {
      title: `Step ${one.plugin} back?`,
      text: `Version ${one.previous?.version} serves again instead of ${one.version}, until the file changes or the host starts again.`,
      verb: "Step back", path: path("back"), done: `${one.plugin}: the version before serves again.` }, !one.previous),
    approve: () => button("", "Approve", {
      title: `Approve ${one.waiting.version} of ${one.plugin}?`,
      text: `It gets ${one.waiting.asks_for.join(", ")} besides, and serves from the next batch on.`,
      verb: "Approve", path: `${path("approve")}?digest=${one.waiting.digest}`, done: `${one.plugin}: ${one.waiting.version} serves.` }),
    promote: () => button("", "Promote", {
      title: `Let the candidate of ${one.plugin} serve?`,
      text: `Version ${one.trial.version} handles every event from the next batch on, instead of ${one.version}.`,
      verb: "Promote", path: path("promote"), done: `${one.plugin}: the candidate serves.` }),
    dismiss: () => button(".harm", "Dismiss", {
      title: `End the trial of ${one.plugin}?`,
      text: `Version ${one.trial.version} handles nothing more; ${one.version} goes on.`,
      verb: "Dismiss", path: path("dismiss"), done: `${one.plugin}: the trial is over.` }),
  };
}
