/** The part of the page that shows a search: its state, timeline and wall. */

import { byId, count } from "./dom.js";
import { Timeline } from "./timeline.js";
import { Wall } from "./wall.js";

const VERDICTS = ["same", "unsure", "unknown"];

export class Results {
  #wall;
  #timeline;
  #marks;
  #shown = null;
  #retry = null;

  constructor({ thumbnails, act, marks, window }) {
    this.#marks = marks;
    const highlight = (told) => (key) => {
      this.#wall.point(key);
      this.#timeline.point(key, told);
    };
    this.#wall = new Wall(byId("wall"), { thumbnails, act, highlight: highlight(false) });
    this.#timeline = new Timeline(byId("timeline"),
      { highlight: highlight(true), window, pick: (key) => this.#wall.reveal(key) });
    byId("retry").addEventListener("click", () => this.#retry());
  }

  /** Shows that a search runs. */
  wait() {
    this.#state(null);
    this.#say("Searching");
    byId("results").classList.add("busy");
    this.#wall.wait();
  }

  /** Shows what a search found. */
  show({ results, seconds }, { about, filters }) {
    const first = filters.since ?? about.first;
    const last = filters.until ?? about.last;
    this.#marks.learn(results);
    const { since, until, cameras } = filters;
    this.#shown = { results, first, last, since, until, cameras, clock: about.clock,
      marks: this.#marks };
    this.#state(results.length ? null : "no-match");
    byId("clear-filters").hidden = !filters.narrowing;
    byId("timeline-panel").hidden = !results.length;
    this.#wall.show(results, this.#marks, about.clock);
    this.#timeline.show(this.#shown);
    this.#say(`${count(results.length, filters.grouped ? "track" : "image")} in ` +
      `${seconds.toFixed(2)} s`);
    for (const verdict of VERDICTS) {
      const number = results.filter((result) => result.verdict === verdict).length;
      byId(`count-${verdict}`).textContent = number;
    }
    byId("verdict-counts").hidden = !results.some(({ verdict }) => verdict);
  }

  /** Scrolls back to the first result if the wall was scrolled past it. */
  begin() {
    const results = byId("results");
    if (results.getBoundingClientRect().top < 0) results.scrollIntoView();
  }

  /** Shows the sentence of a failed search, and a button that runs `retry`. */
  fail(sentence, retry) {
    this.#retry = retry;
    this.#empty();
    byId("error-sentence").textContent = sentence;
    this.#state("failed");
  }

  /** Shows why there are no results: one of the states of index.html. */
  explain(state) {
    this.#empty();
    this.#state(state);
  }

  /** Returns the focus to an entry that was looked at in a dialog. */
  recover(result) {
    this.#wall.recover(result);
  }

  /** Shows changed marks at the results there are. */
  mark() {
    if (!this.#shown) return;
    this.#wall.mark(this.#marks);
    this.#timeline.show(this.#shown);
  }

  #empty() {
    this.#shown = null;
    this.#wall.clear();
    this.#say("");
    byId("timeline-panel").hidden = true;
    byId("verdict-counts").hidden = true;
  }

  #state(name) {
    byId("results").classList.remove("busy");
    for (const state of document.querySelectorAll("[data-state]")) {
      state.hidden = state.dataset.state !== name;
    }
  }

  #say(sentence) {
    byId("status").textContent = sentence;
  }
}
