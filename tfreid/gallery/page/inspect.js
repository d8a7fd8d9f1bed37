/** The dialog of one result: its picture, what is known, all images of its track, and actions. */

import { button, byId, count, make } from "./dom.js";
import { readable } from "./clock.js";
import { distanceText, placeOf, verdictBadge } from "./card.js";

export class Inspector {
  #dialog = byId("inspect");
  #api;
  #thumbnails;
  #marks;
  #act;
  #clock = false;
  #chosen = null;

  #opened = null;

  /** `act(action, entry)` carries out what a button asks for; `closed(result)` follows the end. */
  constructor(api, thumbnails, marks, { act, closed }) {
    this.#api = api;
    this.#thumbnails = thumbnails;
    this.#marks = marks;
    this.#act = act;
    byId("inspect-actions").replaceChildren(
      this.#action("from", "Search from here", "search", true),
      this.#action("add", "Add to query", "plus", true),
      this.#action("right", "Right", "check"),
      this.#action("wrong", "Wrong", "cross"),
      this.#action("remove", "Delete image", "bin"),
      this.#action("removeTrack", "Delete track", "bin"));
    this.#dialog.addEventListener("close", () => closed(this.#opened));
    marks.addEventListener("change", () => this.#chosen && this.#showMark());
  }

  async open(result, clock) {
    this.#clock = clock;
    this.#opened = result;
    byId("inspect-track").replaceChildren();
    byId("inspect-track-title").textContent = "Images of this track";
    this.#choose(result);
    if (!this.#dialog.open) this.#dialog.showModal();
    await this.#showTrack(result);
  }

  close() {
    this.#dialog.close();
  }

  #action(action, label, symbol, closing = false) {
    return button(label, symbol, () => {
      if (closing) this.close();
      this.#act(action, this.#chosen);
    }, { text: true, class: `do ${action}` });
  }

  #choose(entry) {
    this.#chosen = entry;
    const picture = make("img", { alt: placeOf(entry, this.#clock) });
    this.#thumbnails.show(picture, entry.key);
    byId("inspect-picture").replaceChildren(picture);
    const facts = [["Camera", entry.camera], ["Time", readable(entry.time, this.#clock)],
      ["Person", entry.person || "not known"], ["Track", entry.track || "none"],
      ["Distance", "distance" in entry && distanceText(entry.distance)], ["Entry", entry.key]];
    byId("inspect-facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(
      ([name, textContent]) => [make("dt", { textContent: name }), make("dd", { textContent })]));
    byId("inspect-verdict").replaceChildren(verdictBadge(entry.verdict) ?? "");
    byId("inspect-actions").querySelector(".removeTrack").hidden = !entry.track;
    for (const crop of byId("inspect-track").children) {
      crop.firstChild.setAttribute("aria-pressed", crop.firstChild.dataset.key === entry.key);
    }
    this.#showMark();
  }

  #showMark() {
    for (const [name, value] of [["right", true], ["wrong", false]]) {
      byId("inspect-actions").querySelector(`.${name}`)
        .setAttribute("aria-pressed", this.#marks.of(this.#chosen) === value);
    }
  }

  async #showTrack(result) {
    const title = byId("inspect-track-title");
    if (!result.track) {
      title.textContent = "This image belongs to no track";
      return;
    }
    try {
      const { entries } = await this.#api.track(result.track);
      if (this.#chosen.track !== result.track) return;
      title.textContent = `${count(entries.length, "image")} of this track`;
      entries.sort((one, other) => one.time - other.time);
      byId("inspect-track").replaceChildren(...entries.map((entry) =>
        make("li", {}, this.#crop(entry.key === result.key ? result : entry))));
    } catch (error) {
      title.textContent = error.message;
    }
  }

  #crop(entry) {
    const name = readable(entry.time, this.#clock) || "No time";
    const picture = make("img", { alt: "" });
    this.#thumbnails.show(picture, entry.key);
    const crop = make("button", {
      type: "button", "aria-label": `Image, ${name}`,
      "aria-pressed": entry.key === this.#chosen.key, onclick: () => this.#choose(entry),
    }, picture, make("span", { textContent: name }));
    crop.dataset.key = entry.key;
    return crop;
  }
}
