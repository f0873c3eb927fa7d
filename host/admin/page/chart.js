// A chart of lines over the last minutes, drawn as SVG. The pointer or the arrow keys read older values.

import { make, say } from "/page/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 150;
const SPACE = { left: 52, right: 8, top: 8, bottom: 20 };

/** Series that get a colour of their own. */
export const COLOURS = 6;

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text != null) element.textContent = text;
  return element;
}

/** A round number at or above `value`, of which the half can be written too: two steps at least. */
function roof(value, step) {
  const least = Math.max(value, 2 * step);
  if (least <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 4, 6, 10].map((times) => times * unit).find((round) => round >= least);
}

export class Chart {
  /**
   * `format` writes a value, and tells apart what is a `step` apart; `spanMaxMs` is the time that is shown at most, in
   * whole minutes.
   */
  constructor(title, format, step, spanMaxMs) {
    Object.assign(this, { title, format, step, spanMaxMs, spanMs: spanMaxMs, series: [], cursor: null });
    this.legend = make("ul.legend");
    this.svg = shape("svg", { role: "img", tabindex: "0" });
    this.element = make("figure.chart", {}, make("h3", {}, title), this.legend, this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.move(null));
    this.svg.addEventListener("blur", () => this.move(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** `times` in milliseconds, ascending; each series is `{ name, values }`, with null where nothing is known. */
  show(times, series) {
    // A minute at first, so that what there is can be seen.
    const minutes = Math.ceil((times.at(-1) - times[0]) / 60_000);
    this.spanMs = Math.min(this.spanMaxMs, Math.max(1, minutes) * 60_000);
    this.times = times;
    this.series = series.slice(0, COLOURS);
    this.draw();
  }

  point(x) {
    if (!this.times?.length) return;
    const time = this.start + ((x - SPACE.left) / this.width) * this.spanMs;
    const away = this.times.map((at) => Math.abs(at - time));
    this.move(away.indexOf(Math.min(...away)));
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.move(null);
    if (!step || !this.times?.length) return;
    event.preventDefault();
    const from = this.cursor ?? this.times.length;
    this.move(Math.max(0, Math.min(this.times.length - 1, from + step)));
  }

  move(cursor) {
    if (this.cursor === cursor) return;
    this.cursor = cursor;
    this.draw();
  }

  draw() {
    const full = this.svg.clientWidth;
    if (!full || !this.times) return;
    this.width = full - SPACE.left - SPACE.right;
    const tall = HEIGHT - SPACE.top - SPACE.bottom;
    const end = this.times.at(-1) ?? 0;
    this.start = end - this.spanMs;
    const values = this.series.flatMap((series) => series.values).filter((value) => value != null);
    const most = roof(Math.max(0, ...values), this.step);
    const x = (time) => SPACE.left + ((time - this.start) / this.spanMs) * this.width;
    const y = (value) => SPACE.top + tall - (value / most) * tall;
    const drawn = [];
    for (const part of [0, 0.5, 1]) {
      const at = y(most * part);
      drawn.push(shape("line", { class: "grid", x1: SPACE.left, x2: full - SPACE.right, y1: at, y2: at }));
      drawn.push(shape("text", { x: SPACE.left - 6, y: at + 4, "text-anchor": "end" }, this.format(most * part)));
    }
    for (let minutes = this.spanMs / 60_000; minutes >= 0; minutes -= 1) {
      const anchor = minutes === 0 ? "end" : minutes * 60_000 === this.spanMs ? "start" : "middle";
      const text = minutes === 0 ? "now" : `−${minutes} min`;
      drawn.push(shape("text", { x: x(end - minutes * 60_000), y: HEIGHT - 4, "text-anchor": anchor }, text));
    }
    this.series.forEach((series, slot) => drawn.push(...this.trace(series, slot, x, y, tall)));
    if (this.cursor != null && this.times[this.cursor] != null) {
      const at = x(this.times[this.cursor]);
      drawn.push(shape("line", { class: "cursor", x1: at, x2: at, y1: SPACE.top, y2: SPACE.top + tall }));
    }
    this.svg.setAttribute("viewBox", `0 0 ${full} ${HEIGHT}`);
    this.svg.replaceChildren(...drawn);
    this.tell();
  }

  trace({ values }, slot, x, y, tall) {
    const runs = [];
    let run = null;
    values.forEach((value, at) => {
      if (value == null || this.times[at] < this.start) {
        run = null;
        return;
      }
      if (!run) runs.push((run = []));
      run.push([x(this.times[at]).toFixed(1), y(value).toFixed(1)]);
    });
    return runs.flatMap((points) => {
      const line = points.map((point) => point.join(",")).join(" ");
      const floor = SPACE.top + tall;
      const area = `${points[0][0]},${floor} ${line} ${points.at(-1)[0]},${floor}`;
      const fill = this.series.length === 1 ? [shape("polygon", { class: `fill s${slot}`, points: area })] : [];
      return [...fill, shape("polyline", { class: `trace s${slot}`, points: line })];
    });
  }

  /** The values under the cursor, or the newest. */
  tell() {
    const at = this.cursor ?? this.times.length - 1;
    const told = this.series.map(({ name, values }) => [name, this.format(values[at])]);
    while (this.legend.children.length > told.length) this.legend.lastChild.remove();
    told.forEach(([name, value], slot) => {
      let item = this.legend.children[slot];
      if (!item) this.legend.append((item = make(`li.s${slot}`, {}, make("span"), " ", make("b"))));
      say(item.querySelector("span"), name);
      say(item.querySelector("b"), value);
    });
    const when = this.cursor == null ? "now" : new Date(this.times[at]).toLocaleTimeString("en-GB");
    const values = told.map(([name, value]) => `${name} ${value}`).join(", ") || "nothing yet";
    this.svg.setAttribute("aria-label", `${this.title}, ${when}: ${values}. Arrow keys read older values.`);
  }
}
