/** The wall of results: cards in the order of their distance, walked by the arrow keys. */

import { card, showMark } from "./card.js";
import { make, rove } from "./dom.js";

const LETTERS = { r: "right", w: "wrong", s: "from", a: "add", Enter: "open", Delete: "remove" };
const SKELETONS = 14;

export class Wall {
  #list;
  #context;
  #highlight;
  #cards = new Map();
  #results = [];

  /** `act(action, result)` carries out what a card is asked for, `highlight(key)` shows which
   * card is looked at (null for none). */
  constructor(list, { thumbnails, act, highlight }) {
    this.#list = list;
    this.#context = { clock: false, thumbnails, act };
    this.#highlight = highlight;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", ({ target }) => this.#focused(target));
    list.addEventListener("focusout", () => highlight(null));
    list.addEventListener("pointerover", ({ target }) => highlight(keyOf(target)));
    list.addEventListener("pointerleave", () => highlight(null));
  }

  /** Shows results; the focus stays at the entry that has it. */
  show(results, marks, clock) {
    const focus = this.#focus();
    this.#context.clock = clock;
    this.#results = results;
    const cards = results.map((result, place) => card(result, place, this.#context));
    this.#cards = new Map(results.map((result, place) => [result.key, cards[place]]));
    this.#list.replaceChildren(...cards);
    this.#list.classList.remove("loading");
    this.#list.setAttribute("aria-busy", "false");
    this.mark(marks);
    if (cards.length) this.#stop(cards[0]);
    if (focus) this.#refocus(focus);
  }

  /** Shows that results are on their way, over the old ones if there are any. */
  wait() {
    this.#list.setAttribute("aria-busy", "true");
    if (this.#cards.size) return;
    this.#list.classList.add("loading");
    this.#list.replaceChildren(...Array.from({ length: SKELETONS }, () =>
      make("li", { class: "card skeleton", "aria-hidden": "true" },
        make("div", { class: "picture" }), make("div", { class: "facts" }))));
  }

  clear() {
    this.show([], null, false);
  }

  /** Shows which results are marked. */
  mark(marks) {
    for (const result of this.#results) showMark(this.#cards.get(result.key), marks.of(result));
  }

  /** Shows one card as looked at. */
  point(key) {
    for (const [other, element] of this.#cards) element.classList.toggle("pointed", other === key);
  }

  /** Scrolls to a card and focuses it. */
  reveal(key) {
    const element = this.#cards.get(key);
    element?.scrollIntoView({ block: "center" });
    element?.focus({ preventScroll: true });
  }

  /** Focuses the card of a result, or the Tab stop, if what had the focus is gone. */
  recover(result) {
    const held = document.activeElement;
    if (held !== document.body && !held.closest("dialog:not([open])")) return;
    const element = this.#find(result) ?? this.#list.querySelector('.card[tabindex="0"]');
    element?.focus({ preventScroll: true });
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const element = event.target.closest(".card");
    if (!element || element.classList.contains("skeleton")) return;
    const next = this.#neighbour(element, event.key);
    if (next) {
      event.preventDefault();
      next.focus();
      return;
    }
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!LETTERS[letter] || (letter === "Enter" && event.target !== element)) return;
    event.preventDefault();
    this.#context.act(LETTERS[letter], this.#result(element));
  }

  #neighbour(element, key) {
    const cards = [...this.#cards.values()];
    const place = cards.indexOf(element);
    const columns = cards.filter((other) => other.offsetTop === cards[0].offsetTop).length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      Home: -place, End: cards.length - 1 - place };
    return key in steps ? cards[place + steps[key]] ?? element : null;
  }

  /** Returns the card of an entry, or of its track. */
  #find({ key, track }) {
    const other = this.#results.find((result) => track && result.track === track);
    return this.#cards.get(key) ?? this.#cards.get(other?.key);
  }

  #result(element) {
    return this.#results.find(({ key }) => key === element.dataset.key);
  }

  #focused(target) {
    const element = target.closest(".card");
    this.#stop(element);
    this.#highlight(element.dataset.key);
  }

  /** Makes a card and its buttons the wall's only Tab stops. */
  #stop(element) {
    rove(this.#cards.values(), element);
    for (const each of this.#list.querySelectorAll(".act")) {
      each.tabIndex = element.contains(each) ? 0 : -1;
    }
  }

  #focus() {
    const held = document.activeElement;
    const element = held?.closest?.(".card");
    if (!element || !this.#list.contains(element)) return null;
    const action = [...(held.classList ?? [])].find((name) => name !== "act" && name !== "card");
    return {
      result: this.#result(element), place: [...this.#list.children].indexOf(element),
      action: held.classList.contains("act") ? action : null,
      byKeyboard: held.matches(":focus-visible"),
    };
  }

  #refocus({ result, place, action, byKeyboard }) {
    const cards = [...this.#cards.values()];
    const element = this.#find(result) ?? cards[Math.min(place, cards.length - 1)];
    const held = action ? element?.querySelector(`.act.${action}`) : element;
    held?.focus({ preventScroll: !byKeyboard });
  }
}

const keyOf = (target) => target.closest(".card")?.dataset.key ?? null;
