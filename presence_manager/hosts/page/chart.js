// Outcomes over time: stacked bars in SVG, drawn here.

import { ask } from "./api.js";
import { byId, el, keep, say, svg } from "./dom.js";
import { brief, clock, KINDS, whole, words } from "./words.js";

const SPANS = { "1 h": [3600, 60], "6 h": [21_600, 300], "24 h": [86_400, 1200] };
const EVERY = 10_000;
const EDGE = { top: 8, right: 4, bottom: 20, left: 40 };
const LEAST = { failed: 2, unfinished: 2 }; // pixels: these are seen, however few

/** The chart; `refresh` asks for what is new, but seldom. */
export class Chart {
  constructor() {
    this.span = "6 h";
    this.bars = [];
    this.chosen = -1;
    this.asked = 0;
    this.keys = new Map();
    this.sums = new Map();
    this.box = byId("chart");
    for (const name of Object.keys(SPANS)) {
      const input = el("input", { type: "radio", name: "span", value: name, checked: name === this.span });
      input.addEventListener("change", () => {
        this.span = name;
        this.asked = 0;
        this.chosen = -1;
        this.refresh().catch(() => {}); // the next round tells
      });
      byId("spans").append(el("label", {}, input, el("span", { text: name })));
    }
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("pointermove", (event) => this.choose(this.at(event.offsetX)));
    this.box.addEventListener("pointerleave", () => this.choose(-1));
    this.box.addEventListener("blur", () => this.choose(-1));
  }

  async refresh() {
    if (Date.now() - this.asked < EVERY) return;
    this.asked = Date.now();
    const span = this.span;
    const [seconds, interval] = SPANS[span];
    const end = (Math.floor(Date.now() / 1000 / interval) + 1) * interval;
    const since = end - seconds;
    const path = `/v1/outcomes/counts?since=${new Date(since * 1000).toISOString()}&interval=${interval}`;
    const { counts } = await ask(path);
    if (span !== this.span) return;
    this.interval = interval;
    this.bars = Array.from({ length: seconds / interval }, (_, n) => ({
      at: new Date((since + n * interval) * 1000), kinds: new Map(), total: 0,
    }));
    for (const { at, kind, outcomes } of counts) {
      const bar = this.bars[Math.round((Date.parse(at) / 1000 - since) / interval)];
      if (bar === undefined) continue;
      bar.kinds.set(kind, outcomes);
      bar.total += outcomes;
    }
    this.draw();
    this.sum();
  }

  sum() {
    const sums = new Map();
    for (const bar of this.bars) {
      for (const [kind, count] of bar.kinds) sums.set(kind, (sums.get(kind) || 0) + count);
    }
    this.sums = sums;
    const shown = KINDS.filter((kind) => sums.has(kind));
    keep(byId("legend"), this.keys, shown, (kind) => el("li", { "data-kind": kind },
      el("span", { class: "key" }), el("span", { text: words(kind) }), el("b")));
    byId("history-none").hidden = shown.length > 0;
    const told = shown.map((kind) => `${whole(sums.get(kind))} ${words(kind)}`).join(", ");
    this.box.setAttribute("aria-label", told
      ? `Outcomes of the last ${this.span}: ${told}. Left and right go through the bars.`
      : `No outcomes in the last ${this.span}`);
    this.choose(this.chosen);
  }

  draw() {
    const width = this.box.clientWidth;
    const height = this.box.clientHeight;
    if (!width || !this.bars.length) return;
    const top = nice(Math.max(...this.bars.map((bar) => bar.total), 4));
    this.step = (width - EDGE.left - EDGE.right) / this.bars.length;
    const tall = height - EDGE.top - EDGE.bottom;
    const y = (value) => EDGE.top + tall * (1 - value / top);
    const x = (n) => EDGE.left + n * this.step;
    const drawing = svg("svg", { width, height, "aria-hidden": "true" });
    for (const value of [0, top / 2, top]) {
      drawing.append(
        svg("line", { class: "rule", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
        svg("text", { class: "tick end", x: EDGE.left - 6, y: y(value) + 4, text: brief(value) }),
      );
    }
    const each = this.bars.length / 6;
    for (let n = 0; n < 6; n += 1) {
      drawing.append(svg("text", {
        class: "tick", x: x(n * each), y: height - 4, text: clock(this.bars[n * each].at),
      }));
    }
    const gap = this.step > 5 ? 1.5 : 0.5;
    this.bars.forEach((bar, n) => {
      let foot = EDGE.top + tall;
      const column = svg("g", { class: "column" });
      for (const kind of KINDS) {
        if (!bar.kinds.has(kind)) continue;
        const high = Math.max(LEAST[kind] || 0, (tall * bar.kinds.get(kind)) / top);
        foot -= high;
        column.append(svg("rect", {
          "data-kind": kind, x: x(n) + gap / 2, y: foot, width: this.step - gap, height: high,
        }));
      }
      drawing.append(column);
    });
    this.columns = drawing.querySelectorAll(".column");
    this.box.replaceChildren(drawing);
    this.choose(this.chosen);
  }

  at(offset) {
    const n = Math.floor((offset - EDGE.left) / this.step);
    return n >= 0 && n < this.bars.length ? n : -1;
  }

  key(event) {
    const last = this.bars.length - 1;
    const to = { ArrowLeft: this.chosen < 0 ? last : this.chosen - 1,
      ArrowRight: this.chosen + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.min(Math.max(to, 0), last));
    const { kinds } = this.bars[this.chosen];
    const told = KINDS.filter((kind) => kinds.has(kind))
      .map((kind) => `${whole(kinds.get(kind))} ${words(kind)}`);
    say(byId("readout"), `${byId("when").textContent}: ${told.join(", ") || "no outcomes"}`);
  }

  choose(n) {
    this.chosen = n;
    this.columns?.forEach((column, each) => column.classList.toggle("off", n >= 0 && each !== n));
    const bar = this.bars[n];
    const until = bar && new Date(bar.at.getTime() + this.interval * 1000);
    say(byId("when"), bar ? `${clock(bar.at)} to ${clock(until)}` : "");
    for (const [kind, item] of this.keys) {
      say(item.lastChild, whole((bar ? bar.kinds : this.sums).get(kind) || 0));
    }
  }
}

/** The next number for the top of an axis, whose half is a good number too. */
function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const steps = power < 10 ? [2, 4, 6, 8, 10] : [1, 2, 3, 4, 5, 6, 8, 10];
  return steps.map((n) => n * power).find((n) => n >= most);
}
