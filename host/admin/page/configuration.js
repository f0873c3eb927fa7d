// What the host runs with, and where each setting came from. Secrets never get here.

import { Refused, ask } from "/page/ask.js";
import { byId, count, keep, make, redraw, say } from "/page/dom.js";

const form = byId("configuration-filter");
const FROM = { default: () => "default", file: ({ file, line, column }) => `${file}:${line}:${column}`,
  option: ({ option }) => option, environment: ({ variable }) => variable };

let settings = [];

form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());

export async function configuration() {
  try {
    ({ settings } = await ask("/v1/configuration"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    settings = [];
    say(byId("configuration-count"), error.message);
    return;
  }
  show();
}

function show() {
  const { text, from } = form.elements;
  const wanted = settings.filter((one) =>
    one.path.includes(text.value.trim()) && (!from.value || one.from.kind !== "default"));
  say(byId("configuration-count"), `${count(wanted.length)} of ${count(settings.length)} settings`);
  keep(byId("configuration-table").tBodies[0], wanted, (one) => one.path, (one, old) => redraw(old, one, row));
}

function row(one) {
  const value = one.secret ? make("span.quiet", {}, "hidden")
    : one.value != null ? make("code", {}, one.value === "" ? '""' : one.value)
    : make("span.quiet", {}, one.decided_by ?? "–");
  const through = one.through.map((name) => `, through \${${name}}`).join("");
  return make("tr", {},
    make("td.why", {}, make("span.code", {}, one.path), make("span.why-text", {}, one.meaning)),
    make("td", { "data-label": "Value" }, value),
    make("td", { "data-label": "From" }, make("span.quiet", {}, `${FROM[one.from.kind](one.from)}${through}`)));
}
