// What operators have paused, and the buttons that pause and resume.

import { change } from "/page/confirm.js";
import { byId, clock, keep, make, redraw } from "/page/dom.js";

/** What a pause is of, as people say it. */
function name(pause) {
  if (pause.what === "group") return `group ${pause.group}`;
  if (pause.what === "plugin") return `plugin ${pause.plugin} in ${pause.group}`;
  const topic = `topic ${pause.topic}`;
  const part = { partition: ` partition ${pause.partition}`, key: ` key ${pause.key ?? `base64 ${pause.key_base64}`}` };
  return `${topic}${part[pause.what] ?? ""} in ${pause.group}`;
}

function path(pause, verb) {
  const query = new URLSearchParams();
  for (const of of ["plugin", "topic", "partition", "key", "key_base64"]) if (pause[of] != null) query.set(of, pause[of]);
  const more = query.size ? `?${query}` : "";
  return `/v1/groups/${encodeURIComponent(pause.group)}/${verb}${more}`;
}

/** The list of what is paused, each with its way back. */
export function pauses(all, again) {
  const key = (pause) => path(pause, "resume");
  keep(byId("pauses"), all, key, (pause, old) => redraw(old, pause, () =>
    make("li", {}, make("strong", {}, `Paused since ${clock(pause.since_ms)}: `), `${name(pause)} `, resume(pause, again))));
}

function resume(pause, again) {
  return button("Resume", name(pause), {
    title: `Resume ${name(pause)}?`, text: "Its events go on where they stopped.",
    verb: "Resume", path: path(pause, "resume"), done: `${name(pause)} goes on.` }, again);
}

/** Pauses a whole group, or lets it go on. */
export const pauseGroup = (group, all, again) => toggle({ what: "group", group }, all, again);

/** The same for one topic of a group. */
export const pauseTopic = (group, topic, all, again) => toggle({ what: "topic", group, topic }, all, again);

/** The same for one partition of a topic. */
export const pausePartition = ({ group, topic, partition }, all, again) =>
  toggle({ what: "partition", group, topic, partition }, all, again);

/** Pauses one key of a topic. Its way back is the one in the list of what is paused. */
export function pauseKey({ group, topic, key, key_base64 }) {
  const pause = { what: "key", group, topic, ...(key_base64 == null ? { key } : { key_base64 }) };
  return button("Pause this key", name(pause), toPause(pause), () => {});
}

const WAITS = { group: "No further event of it is started until somebody resumes it",
  topic: "No further event of this topic is started until somebody resumes it",
  partition: "No further event of this partition is started until somebody resumes it",
  key: "Events of this key, and what keeps its order with them, wait until somebody resumes it on the overview" };

const toPause = (pause) => ({
  title: `Pause ${name(pause)}?`, text: `${WAITS[pause.what]}; its lag grows, and nothing is lost.`,
  verb: "Pause", path: path(pause, "pause"), done: `${name(pause)} is paused.` });

function toggle(pause, all, again) {
  const same = (other) => ["what", "group", "topic", "partition"].every((of) => pause[of] === other[of]);
  const paused = all.find(same);
  return paused ? resume(paused, again) : button("Pause", name(pause), toPause(pause), again);
}

/** Pauses a plugin in every group that has it, or lets it go on. */
export function pausePlugin(plugin, all, again) {
  const paused = all.some((pause) => pause.what === "plugin" && pause.plugin === plugin);
  const verb = paused ? "resume" : "pause";
  const label = paused ? "Resume" : "Pause";
  return button(label, `plugin ${plugin}`, {
    title: `${label} plugin ${plugin}?`,
    text: paused ? "Its events go on where they stopped." : "No further event of it is started, in no group, until somebody resumes it.",
    verb: label, path: `/v1/plugins/${encodeURIComponent(plugin)}/${verb}`, done: `plugin ${plugin} ${paused ? "goes on" : "is paused"}.` }, again);
}

function button(label, whose, call, again) {
  return make("button.plain", { type: "button", "aria-label": `${label}: ${whose}`,
    onclick: async () => { if (await change(call)) again(); } }, label);
}
