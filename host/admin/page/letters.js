// Dead letters, grouped by what went wrong, with what can be done with a group of them.

import { Refused, ask } from "/page/ask.js";
import { byId, choices, count, keep, make, redraw, say } from "/page/dom.js";
import { opener } from "/page/letter.js";
import { purges, redriveCluster, works } from "/page/redriving.js";

const form = byId("letters-filter");
let again = null;

form.addEventListener("input", () => again?.());
form.addEventListener("submit", (event) => event.preventDefault());

let chosen = null;

/** The topic to show from now on. */
export function choose(topic) {
  chosen = topic;
}

/** Shows the letters of the topic that is chosen; `look` looks at the host anew. */
export async function letters(look) {
  again = look;
  const topics = await ask("/v1/dead-letters");
  const names = topics.map((one) => one.topic);
  choices(form.elements.topic, names);
  if (names.includes(chosen)) form.elements.topic.value = chosen;
  chosen = null;
  if (!form.elements.topic.value && names.length) form.elements.topic.value = names[0];
  const topic = form.elements.topic.value;
  if (!topic) {
    say(byId("letters-state"), "No group has a topic of dead letters.");
    return;
  }
  try {
    show(await ask(`/v1/dead-letters/${encodeURIComponent(topic)}`));
    await works(topic, again);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(byId("letters-state"), error.message);
  }
}

function show(of) {
  const put = of.redriven ? `, ${count(of.redriven)} of them put back` : "";
  const more = of.clusters_more ? `; ${count(of.clusters_more)} smaller groups are not shown` : "";
  const reading = of.complete ? "" : "; still reading";
  say(byId("letters-state"), of.trouble ?? `${count(of.letters)} dead letters${put}${more}${reading}`);
  keep(byId("letters-clusters"), of.clusters, (one) => one.signature, (one, old) =>
    redraw(old, one, () => cluster(of.topic, one)));
  keep(byId("letters-purges"), of.letters ? [of.topic] : [], (topic) => topic, (topic, old) =>
    redraw(old, topic, () => purges(topic, again)));
  keep(byId("letters-newest"), of.newest.slice(0, 50), (one) => one.id, (one, old) => redraw(old, one, letter));
}

const when = (ms) => (ms == null ? "–" : new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }));

function cluster(topic, one) {
  const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];
  const open = one.count - one.redriven;
  const command = (line) => make("li", {}, make("code", {}, `millrace dlq ${line}`));
  return make("article.card", {},
    make("header", {}, make("h3", {}, `${count(one.count)} × ${one.cause || "not known"}`),
      make(open ? "span.state.bad" : "span.state.good", {}, open ? `${count(open)} open` : "put back")),
    one.message && make("p.wrong", {}, `${one.code ? `${one.code}: ` : ""}${one.message}`),
    make("dl.facts", {},
      ...fact("Plugin", make("span.code", {}, one.plugin || "–")),
      ...fact("First", when(one.first_seen_ms)),
      ...fact("Last", when(one.last_seen_ms)),
      ...fact("Example", make("span.code", {}, one.example)),
      ...(one.signature ? fact("Signature", make("span.code", {}, one.signature)) : [])),
    make("div.buttons", {}, ...(one.signature ? redriveCluster(topic, one, again) : []), opener(one.example, again)),
    make("details", {}, make("summary", {}, "On a terminal"),
      make("ul.route", {}, command(`show ${one.example}`), command(`repro ${one.example}`),
        one.signature && command(`redrive ${topic} --signature ${one.signature} --dry-run`))));
}

function letter(one) {
  const origin = one.origin ? `${one.origin.topic}[${one.origin.partition}]@${one.origin.offset}` : "";
  return make("li", {},
    make("div.line", {},
      make(one.redriven ? "span.state.good" : "span.state.bad", {}, one.redriven ? "put back" : one.cause ?? "not known"),
      make("code", {}, one.id), make("span.quiet", {}, origin),
      one.plugin && make("span.quiet", {}, one.plugin),
      make("span.quiet", {}, when(one.failed_at_ms)),
      opener(one.id, again)),
    one.message && make("p.wrong", {}, `${one.code ? `${one.code}: ` : ""}${one.message}`),
    one.key != null && make("pre", {}, one.key));
}
