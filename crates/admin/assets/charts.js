// Charts over the last quarter of an hour, drawn as shapes. A reader moves over one with the
// pointer or with the arrow keys, and reads the numbers below it.

import { byId, element, fill, shape } from "./elements.js";
import { duration, rate } from "./words.js";

const MINUTES = 15;
const HEIGHT = 190;
const MARGIN = { top: 10, right: 12, bottom: 24, left: 54 };
// A pause of more than so many intervals is drawn as a gap.
const GAP = 2.5;

// Round numbers from 0 to the top, at most five.
function linearTicks(max) {
  const step = 10 ** Math.floor(Math.log10(Math.max(max, 1) / 4));
  const width = [1, 2, 5, 10].map((times) => times * step).find((size) => max / size <= 4.001) ?? step * 10;
  const ticks = [];
  for (let at = 0; at < max + width * 0.999; at += width) ticks.push(at);
  return ticks.length > 1 ? ticks : [0, width];
}

// Powers of ten around what there is; where that are two only, with steps between them.
function logTicks(min, max) {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  if (high - low <= 1) return [1, 2, 5, 10].map((times) => times * 10 ** low);
  return Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
}

// `lines`: name, class and value of a sample (null: none). `logarithmic` for times.
export class Chart {
  constructor({ id, lines, logarithmic, written }) {
    Object.assign(this, { figure: byId(id), lines, logarithmic, written });
    this.samples = [];
    this.now = Date.now();
    this.picked = null;
    this.drawing = element("div", { className: "drawing", tabIndex: 0, role: "img" });
    this.told = element("output", { className: "quiet" });
    this.figure.append(this.drawing, this.told);
    this.drawing.addEventListener("pointermove", (event) => this.pickAt(event.offsetX));
    this.drawing.addEventListener("pointerleave", () => this.pick(null));
    this.drawing.addEventListener("blur", () => this.pick(null));
    this.drawing.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !this.samples.length) return;
      event.preventDefault();
      const last = this.samples.length - 1;
      this.pick(Math.min(last, Math.max(0, (this.picked ?? last + (step < 0 ? 1 : 0)) + step)));
    });
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  show(samples, now, interval) {
    Object.assign(this, { samples, now, interval });
    if (this.picked !== null && this.picked >= samples.length) this.picked = null;
    this.draw();
  }

  pick(index) {
    this.picked = index;
    this.draw();
  }

  pickAt(x) {
    if (!this.samples.length) return;
    const distances = this.samples.map((sample) => Math.abs(this.x(sample) - x));
    this.pick(distances.indexOf(Math.min(...distances)));
  }

  x(sample) {
    const share = 1 - (this.now - Date.parse(sample.at)) / (MINUTES * 60000);
    return MARGIN.left + share * (this.width - MARGIN.left - MARGIN.right);
  }

  // Of a value, from the ticks of the axis.
  y(value) {
    const [low, high] = [this.ticks[0], this.ticks.at(-1)];
    const share = this.logarithmic ? Math.log10(Math.max(value, low) / low) / Math.log10(high / low) : (value - low) / (high - low);
    return HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  draw() {
    this.width = Math.max(this.drawing.clientWidth, 240);
    const values = this.samples.flatMap((sample) => this.lines.map(({ value }) => value(sample))).filter((value) => value !== null);
    if (this.logarithmic) this.ticks = values.length ? logTicks(Math.min(...values), Math.max(...values)) : [0.01, 0.1, 1];
    else this.ticks = linearTicks(Math.max(1, ...values));
    const grid = this.ticks.flatMap((tick) => [
      shape("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: this.y(tick), y2: this.y(tick) }),
      shape("text", { class: "tick", x: MARGIN.left - 6, y: this.y(tick) + 4, "text-anchor": "end" }, this.written(tick)),
    ]);
    const times = (this.width < 420 ? [15, 5, 0] : [15, 10, 5, 0]).map((minutes) => {
      const x = this.x({ at: new Date(this.now - minutes * 60000).toISOString() });
      const anchor = minutes === 0 ? "end" : minutes === MINUTES ? "start" : "middle";
      return shape("text", { class: "tick", x, y: HEIGHT - 6, "text-anchor": anchor }, minutes ? `${minutes} min ago` : "now");
    });
    const paths = this.lines.map(({ className, value }) => shape("path", { class: `line ${className}`, d: this.path(value) }));
    const dots = this.lines.flatMap(({ className, value }) => this.alone(value).map((sample) =>
      shape("circle", { class: `dot ${className}`, cx: this.x(sample), cy: this.y(value(sample)), r: 2.5 })));
    const sample = this.samples[this.picked ?? this.samples.length - 1];
    const cross = this.picked === null ? [] : [shape("line", { class: "cross", x1: this.x(sample), x2: this.x(sample), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom })];
    const drawn = shape("svg", { width: this.width, height: HEIGHT, viewBox: `0 0 ${this.width} ${HEIGHT}`, "aria-hidden": "true" }, grid, times, paths, dots, cross);
    this.drawing.replaceChildren(drawn);
    const when = sample ? (this.picked === null ? "now" : new Date(sample.at).toLocaleTimeString()) : "";
    const told = sample ? this.lines.map(({ name, className, value }) => element("span", {}, element("span", { className: `mark ${className}` }), ` ${name} ${value(sample) === null ? "–" : this.written(value(sample))}`)) : [];
    fill(this.told, sample ? [`${when}: `, ...told] : ["The first sample comes within five seconds."]);
    const spoken = this.lines.map(({ name, value }) => `${name} ${sample && value(sample) !== null ? this.written(value(sample)) : "none"}`).join(", ");
    this.drawing.setAttribute("aria-label", `${this.figure.querySelector("figcaption").textContent}. ${when || "No samples yet"}: ${spoken}. Left and right arrows read earlier samples.`);
  }

  // Whether the sample before, or after, is so far away that no line leads there.
  apart(a, b) {
    return !a || !b || Date.parse(b.at) - Date.parse(a.at) > GAP * this.interval * 1000;
  }

  path(value) {
    let before = null;
    return this.samples.map((sample) => {
      if (value(sample) === null) {
        before = null;
        return "";
      }
      const to = `${this.apart(before, sample) ? "M" : "L"}${this.x(sample).toFixed(1)},${this.y(value(sample)).toFixed(1)}`;
      before = sample;
      return to;
    }).join("");
  }

  // Samples that no line would show.
  alone(value) {
    return this.samples.filter((sample, i) => value(sample) !== null
      && (i === 0 || value(this.samples[i - 1]) === null) && (i === this.samples.length - 1 || value(this.samples[i + 1]) === null));
  }
}

export const perSecond = (number) => `${rate(number)} /s`;
export const seconds = (number) => duration(number < 0.01 ? Math.round(number * 1000) / 1000 : number);
