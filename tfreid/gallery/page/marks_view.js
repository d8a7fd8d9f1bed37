/** The panel of the person looked for: the name, what is marked, and the table of all marks. */

import { byId, count, make, save } from "./dom.js";

export class MarksView {
  #marks;
  #thumbnails;

  /** `report(sentence, retry)` says that the table could not be fetched. */
  constructor(marks, api, thumbnails, report) {
    this.#marks = marks;
    this.#thumbnails = thumbnails;
    const name = byId("person-name");
    name.addEventListener("change", () => marks.name(name.value.trim()));
    marks.addEventListener("change", () => this.#show());
    marks.addEventListener("kept", () => this.#showNames());
    const download = async () => {
      try {
        save(await api.marksTable(), "marks.csv");
      } catch (error) {
        report(error.message, download);
      }
    };
    byId("marks-download").addEventListener("click", download);
    addEventListener("beforeunload", (event) => marks.unsaved && event.preventDefault());
  }

  #show() {
    const { right, wrong, person, unnamed } = this.#marks;
    byId("person-name").value = person;
    byId("marks-right").replaceChildren(...right.map((key) => this.#marked(key, "right")));
    byId("marks-wrong").replaceChildren(...wrong.map((key) => this.#marked(key, "wrong")));
    byId("marks-right-count").textContent = right.length;
    byId("marks-wrong-count").textContent = wrong.length;
    byId("person-tag").hidden = !person && !unnamed;
    byId("person-tag").textContent = person || count(right.length + wrong.length, "mark");
    byId("marks").hidden = !right.length && !wrong.length;
    byId("marks-note").textContent = unnamed
      ? `Name the person to keep ${count(right.length + wrong.length, "mark")}.`
      : "Marks are kept under this name.";
    byId("marks-note").classList.toggle("warning", unnamed);
    this.#showNames();
  }

  #showNames() {
    const { names } = this.#marks;
    byId("person-names").replaceChildren(...names.map((value) => make("option", { value })));
    byId("marks-download").disabled = !names.length;
  }

  #marked(key, kind) {
    const picture = make("img", { alt: "" });
    this.#thumbnails.show(picture, key);
    return make("li", {}, make("button", {
      type: "button", title: `Marked ${kind}: ${key}. Press to take the mark back.`,
      "aria-label": `Take back the mark ${kind} of ${key}`,
      onclick: () => {
        this.#marks.set(key, null);
        byId("person-name").focus();
      },
    }, picture));
  }
}
