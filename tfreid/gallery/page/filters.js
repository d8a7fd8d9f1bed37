/** What is searched and how results are listed: cameras, times, grouping, order, number. */

import { byId, make } from "./dom.js";
import { forInput, parseTime, prepareInput, readable } from "./clock.js";

const LISTED = [20, 60, 100, 200];
const DEFAULT_LISTED = 60;
const ORDERS = {
  none: "Distance", k_reciprocal: "k-reciprocal re-ranking", pair: "Pair network",
};

export class Filters extends EventTarget {
  since = null;
  until = null;
  #about = null;
  #unchecked = new Set();

  constructor() {
    super();
    for (const id of ["group", "rerank", "limit"]) this.#onChange(byId(id));
    for (const name of ["since", "until"]) {
      byId(name).addEventListener("change", () => this.#readTime(name));
    }
    byId("cameras").addEventListener("change", ({ target }) => {
      if (target.checked) this.#unchecked.delete(target.value);
      else this.#unchecked.add(target.value);
      this.#changed();
    });
    byId("cameras-all").addEventListener("click", () => {
      this.#tickAll();
      byId("cameras").querySelector("input").focus();
      this.#changed();
    });
    byId("times-clear").addEventListener("click", () => {
      this.setWindow(null, null);
      byId("since").focus();
    });
  }

  /** Offers what the gallery has; choices made before stay. */
  offer(about) {
    this.#about = about;
    for (const name of ["since", "until"]) prepareInput(byId(name), about.clock);
    byId("cameras").replaceChildren(...about.cameras.map((camera) => this.#camera(camera)));
    const orders = ["none", ...about.rerank];
    options(byId("rerank"), orders.map((order) => [order, ORDERS[order] ?? order]), "none");
    byId("rerank-field").hidden = orders.length === 1;
    const most = about.limits.results;
    const numbers = [...LISTED.filter((number) => number < most), most];
    options(byId("limit"), numbers.map((number) => [number, number]),
      String(Math.min(DEFAULT_LISTED, most)));
    this.#showTimes();
  }

  /** The cameras that are searched. */
  get cameras() {
    return this.#about.cameras.filter((camera) => !this.#unchecked.has(camera));
  }

  get grouped() {
    return byId("group").checked;
  }

  setWindow(since, until) {
    this.since = since;
    this.until = until;
    this.#showTimes();
    this.#changed();
  }

  clear() {
    this.#tickAll();
    this.setWindow(null, null);
  }

  get narrowing() {
    return this.#unchecked.size > 0 || this.since !== null || this.until !== null;
  }

  /** Writes the filters into the form of a search. */
  fill(form) {
    const cameras = this.cameras;
    if (cameras.length < this.#about.cameras.length) {
      for (const camera of cameras) form.append("cameras", camera);
    }
    if (this.since !== null) form.append("since", this.since);
    if (this.until !== null) form.append("until", this.until);
    form.append("limit", byId("limit").value);
    form.append("group", this.grouped ? "track" : "none");
    form.append("rerank", byId("rerank").value);
  }

  #camera(camera) {
    const box = make("input", {
      type: "checkbox", value: camera, checked: !this.#unchecked.has(camera),
    });
    return make("label", { class: "check", title: camera }, box,
      make("span", { textContent: camera }));
  }

  #tickAll() {
    this.#unchecked.clear();
    for (const box of byId("cameras").querySelectorAll("input")) box.checked = true;
  }

  #readTime(name) {
    const input = byId(name);
    const seconds = parseTime(input.value, this.#about.clock);
    input.setCustomValidity(Number.isNaN(seconds)
      ? "Write a time as mm:ss or h:mm:ss, for example 01:30." : "");
    if (!input.reportValidity()) return;
    this[name] = seconds;
    this.#showTimes();
    this.#changed();
  }

  #showTimes() {
    const { clock, first, last } = this.#about;
    for (const name of ["since", "until"]) {
      const input = byId(name);
      input.value = this[name] === null ? "" : forInput(this[name], clock);
      input.setCustomValidity("");
    }
    byId("times-clear").disabled = this.since === null && this.until === null;
    byId("times-range").textContent = first === null ? ""
      : `The gallery covers ${readable(first, clock)} to ${readable(last, clock)}.`;
  }

  #onChange(element) {
    element.addEventListener("change", () => this.#changed());
  }

  #changed() {
    byId("filters-active").hidden = !this.narrowing;
    byId("cameras-all").disabled = !this.#unchecked.size;
    this.dispatchEvent(new Event("change"));
  }
}

function options(select, choices, chosen) {
  const before = select.value || chosen;
  select.replaceChildren(...choices.map(([value, textContent]) =>
    make("option", { value, textContent })));
  select.value = choices.some(([value]) => String(value) === before) ? before : chosen;
}
