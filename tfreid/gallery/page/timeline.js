/** The timeline: a row per camera, a mark per result, and a time window by dragging. */

import { describe } from "./card.js";
import { draw, make, rove } from "./dom.js";
import { readable, ticks } from "./clock.js";

const ROW = 26, AXIS = 22, MARGIN = 22, LABEL = 84; // Pixels; LABEL is the room of one time.
const LEAST_DRAG = 5;
const SHAPES = {
  same: "M-5.5,0a5.5,5.5 0 1,0 11,0a5.5,5.5 0 1,0 -11,0z",
  unsure: "M0,-6.5L6.5,0L0,6.5L-6.5,0z",
  unknown: "M-4.5,-4.5H4.5V4.5H-4.5z",
};

export class Timeline {
  #svg = draw("svg", { class: "plot", role: "group", "aria-label": "Results by time" });
  #labels = make("div", { class: "labels", "aria-hidden": "true" });
  #tip = make("div", { class: "tip", hidden: true });
  #calls;
  #shown = null;
  #marks = new Map();

  /** `pick(key)` goes to a card, `highlight(key)` shows one, `window(since, until)` filters. */
  constructor(panel, calls) {
    this.#calls = calls;
    panel.append(this.#labels, this.#svg, this.#tip);
    new ResizeObserver(() => this.#draw()).observe(panel);
    this.#svg.addEventListener("pointerdown", (event) => this.#drag(event));
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows results of cameras between two times.
   *
   * `shown` has `results`, `cameras`, `first`, `last`, `clock`, `marks`, and the window `since`
   * and `until` of the search, null where it is open.
   */
  show(shown) {
    this.#shown = shown;
    this.#draw();
  }

  /** Shows one mark as looked at, and if `told` what it means. */
  point(key, told) {
    for (const [other, mark] of this.#marks) mark.classList.toggle("pointed", other === key);
    const mark = this.#marks.get(key);
    this.#tip.hidden = !mark || !told;
    if (this.#tip.hidden) return;
    const result = this.#shown.results.find((other) => other.key === key);
    this.#tip.textContent = describe(result, this.#shown.clock);
    this.#place(this.#x(result.time), Number(mark.dataset.y));
  }

  get #width() {
    return this.#svg.clientWidth;
  }

  get #range() {
    const { first, last } = this.#shown;
    return last > first ? [first, last] : [first - 1, first + 1];
  }

  #x(time) {
    const [first, last] = this.#range;
    return MARGIN + (time - first) / (last - first) * (this.#width - 2 * MARGIN);
  }

  #time(x) {
    const [first, last] = this.#range;
    const part = (x - MARGIN) / (this.#width - 2 * MARGIN);
    return first + Math.min(Math.max(part, 0), 1) * (last - first);
  }

  /** Returns the tenths of a second around what is between two places. */
  #span(start, end) {
    return [Math.floor(this.#time(start) * 10) / 10, Math.ceil(this.#time(end) * 10) / 10];
  }

  /** Returns the window between two places; an edge keeps its bound, since `until` excludes. */
  #window(start, end) {
    const [since, until] = this.#span(start, end);
    return [start > MARGIN ? since : this.#shown.since,
      end < this.#width - MARGIN ? until : this.#shown.until];
  }

  #draw() {
    if (!this.#shown || !this.#width) return;
    const { cameras, results } = this.#shown;
    const height = AXIS + cameras.length * ROW;
    this.#svg.setAttribute("height", height);
    this.#labels.replaceChildren(...cameras.map((camera) =>
      make("div", { textContent: camera, title: camera })));
    const rows = cameras.map((_, place) => draw("rect", {
      class: place % 2 ? "row odd" : "row", x: 0, width: this.#width,
      y: AXIS + place * ROW, height: ROW }));
    const timed = results.filter(({ time, camera }) => time !== null && cameras.includes(camera));
    const marks = timed.map((result) => this.#mark(result)).reverse();
    this.#svg.replaceChildren(...rows, ...this.#axis(height), ...marks);
    this.#marks = new Map(marks.map((mark) => [mark.dataset.key, mark]));
    this.#tip.hidden = true;
    if (timed.length) rove(marks, this.#marks.get(timed[0].key));
  }

  #axis(height) {
    const { clock } = this.#shown;
    const [first, last] = this.#range;
    const wanted = Math.max(1, Math.floor(this.#width / LABEL));
    return ticks(first, last, wanted, clock).map(({ at, label }) => {
      const x = this.#x(at);
      const inside = Math.min(Math.max(x, LABEL / 2), this.#width - LABEL / 2);
      const text = draw("text", { x: clock ? inside : x, y: 15 });
      text.textContent = label;
      return draw("g", { class: "tick" }, draw("line", { x1: x, x2: x, y1: AXIS, y2: height }),
        text);
    });
  }

  #mark(result) {
    const { cameras, clock, marks } = this.#shown;
    const y = AXIS + (cameras.indexOf(result.camera) + 0.5) * ROW;
    const right = marks.of(result);
    const judged = right === null ? "" : right ? " is-right" : " is-wrong";
    const mark = draw("g", {
      class: `mark ${result.verdict ?? ""}${judged}`, role: "button", tabindex: -1,
      transform: `translate(${this.#x(result.time)},${y})`,
      "aria-label": describe(result, clock),
    }, draw("circle", { class: "halo", r: 10 }),
    draw("path", { d: SHAPES[result.verdict] ?? SHAPES.same }));
    mark.dataset.key = result.key;
    mark.dataset.y = y;
    const { highlight, pick } = this.#calls;
    for (const type of ["pointerenter", "focus"]) {
      mark.addEventListener(type, () => highlight(result.key));
    }
    for (const type of ["pointerleave", "blur"]) mark.addEventListener(type, () => highlight(null));
    mark.addEventListener("click", () => pick(result.key));
    return mark;
  }

  #place(x, y) {
    const left = this.#labels.offsetWidth + x;
    this.#tip.style.left = `${left}px`;
    this.#tip.style.top = `${y}px`;
    this.#tip.classList.toggle("leftward", x > this.#width / 2);
  }

  /** Walks the marks in the order of time. */
  #key(event) {
    const mark = event.target.closest(".mark");
    if (!mark) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#calls.pick(mark.dataset.key);
      return;
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const walked = this.#shown.results.filter(({ key }) => this.#marks.has(key))
      .sort((one, other) => one.time - other.time).map(({ key }) => this.#marks.get(key));
    rove(walked, walked[walked.indexOf(mark) + step] ?? mark).focus();
  }

  #drag(down) {
    if (down.button !== 0 || !this.#shown || down.target.closest(".mark")) return;
    const left = this.#svg.getBoundingClientRect().left;
    const from = down.clientX - left;
    const band = draw("rect", { class: "band", y: AXIS, height: this.#svg.clientHeight - AXIS });
    this.#svg.append(band);
    this.#svg.setPointerCapture(down.pointerId);
    const span = ({ clientX }) => [from, clientX - left].sort((one, other) => one - other);
    const move = (event) => {
      const [start, end] = span(event);
      band.setAttribute("x", start);
      band.setAttribute("width", end - start);
      this.#tip.hidden = false;
      this.#tip.textContent = this.#span(start, end).map((time) =>
        readable(time, this.#shown.clock)).join(" to ");
      this.#place(end, AXIS);
    };
    const stop = (event) => {
      for (const type of ["pointermove", "pointerup", "pointercancel"]) {
        this.#svg.removeEventListener(type, type === "pointermove" ? move : stop);
      }
      band.remove();
      this.#tip.hidden = true;
      const [start, end] = span(event);
      if (event.type === "pointercancel" || end - start < LEAST_DRAG) return;
      this.#calls.window(...this.#window(start, end));
    };
    this.#svg.addEventListener("pointermove", move);
    this.#svg.addEventListener("pointerup", stop);
    this.#svg.addEventListener("pointercancel", stop);
  }
}
