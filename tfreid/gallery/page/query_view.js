/** Shows the query as thumbnails, and takes images that are chosen, dropped or pasted. */

import { button, byId, count, icon, make } from "./dom.js";
import { placeOf } from "./card.js";
import { acceptDrops } from "./uploads.js";

const THUMBNAIL = 192; // Height in pixels, twice what is shown, for dense screens.

export class QueryView {
  clock = false;
  #query;
  #thumbnails;
  #drawBox;
  #say;

  /** `drawBox(image)` opens the dialog of boxes; `say(sentence)` tells what was left out. */
  constructor(query, thumbnails, { drawBox, say }) {
    this.#query = query;
    this.#thumbnails = thumbnails;
    this.#drawBox = drawBox;
    this.#say = say;
    query.addEventListener("change", () => this.#show());
    const files = byId("query-files");
    files.addEventListener("change", () => {
      this.#take([...files.files]);
      files.value = "";
    });
    for (const opener of document.querySelectorAll("[data-choose]")) {
      opener.addEventListener("click", () => files.click());
    }
    acceptDrops(document.body, (dropped) => this.#take(dropped), nothingOpen);
    document.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (!pasted.length || !nothingOpen()) return;
      event.preventDefault();
      this.#take(pasted);
    });
  }

  async #take(files) {
    if (!files.length) return;
    const sentences = await this.#query.add(files);
    if (sentences.length) this.#say(sentences.join(" "));
  }

  #show() {
    const { images, entries } = this.#query;
    byId("query-items").replaceChildren(
      ...images.map((image, place) => this.#imageItem(image, place)),
      ...entries.map((entry) => this.#entryItem(entry)));
    const parts = images.length + entries.length;
    byId("query-count").textContent = parts > 1 ? `${count(parts, "image")}, one query` : "";
    byId("query").classList.toggle("filled", parts > 0);
  }

  #imageItem(image, place) {
    const name = image.file.name || `Image ${place + 1}`;
    const box = image.picture && button(
      image.box ? "Change box" : "Draw a box", "box", () => this.#drawBox(image), { text: true });
    const shown = image.picture ? cropped(image, name)
      : make("span", { class: "unseen", textContent: name }, icon("image"));
    const remove = () => this.#query.removeImage(image);
    return make("li", { class: "query-item", title: name }, this.#framed(shown, name, remove), box);
  }

  #entryItem(entry) {
    const name = placeOf(entry, this.clock);
    const picture = make("img", { alt: name });
    this.#thumbnails.show(picture, entry.key);
    const remove = () => this.#query.removeEntries([entry.key]);
    return make("li", { class: "query-item", title: name }, this.#framed(picture, name, remove),
      make("span", { class: "source", textContent: entry.camera }));
  }

  #framed(shown, name, remove) {
    const remover = button(`Remove ${name} from the query`, "cross", () => {
      remove();
      byId("query-choose").focus();
    }, { class: "remove" });
    return make("div", { class: "framed" }, shown, remover);
  }
}

function nothingOpen() {
  return !document.querySelector("dialog[open]");
}

/** Returns a canvas of the part of an image that is searched for. */
function cropped({ picture, box }, name) {
  const [left, top, right, bottom] = box ?? [0, 0, picture.naturalWidth, picture.naturalHeight];
  const scale = THUMBNAIL / (bottom - top);
  const canvas = make("canvas", {
    width: Math.max(1, Math.round((right - left) * scale)), height: THUMBNAIL,
    role: "img", "aria-label": box ? `Box of ${name}` : name,
  });
  canvas.getContext("2d").drawImage(
    picture, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height);
  return canvas;
}
