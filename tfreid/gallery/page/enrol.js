/** The dialog that adds images to the gallery. */

import { byId, count, make } from "./dom.js";
import { parseTime, prepareInput } from "./clock.js";
import { acceptable, acceptDrops, firstRequest } from "./uploads.js";

export class EnrolDialog {
  #dialog = byId("enrol");
  #api;
  #about = null;
  #files = [];
  #done;

  /** `done(number)` is called when so many images were added. */
  constructor(api, done) {
    this.#api = api;
    this.#done = done;
    const chooser = byId("enrol-files");
    chooser.addEventListener("change", () => {
      this.#take([...chooser.files]);
      chooser.value = "";
    });
    byId("enrol-choose").addEventListener("click", () => chooser.click());
    acceptDrops(byId("enrol-drop"), (files) => this.#take(files));
    byId("enrol-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  open(about) {
    this.#about = about;
    this.#files = [];
    byId("enrol-form").reset();
    prepareInput(byId("enrol-time"), about.clock);
    byId("camera-names").replaceChildren(
      ...about.cameras.map((value) => make("option", { value })));
    this.#show();
    this.#dialog.showModal();
  }

  #take(files) {
    const { accepted, sentences } = acceptable(files, this.#about.limits);
    this.#files.push(...accepted);
    this.#show(sentences);
  }

  #show(sentences = []) {
    byId("enrol-chosen").textContent = this.#files.length
      ? `${count(this.#files.length, "image")} chosen` : "No image chosen yet";
    byId("enrol-list").replaceChildren(...this.#files.map(({ name }) =>
      make("li", { textContent: name })));
    byId("enrol-send").disabled = !this.#files.length;
    byId("enrol-error").textContent = sentences.join(" ");
  }

  /** Sends as many images at a time as the service takes; what fails stays chosen. */
  async #send() {
    const time = parseTime(byId("enrol-time").value, this.#about.clock);
    if (Number.isNaN(time)) {
      this.#show(["Write the time as mm:ss or h:mm:ss, for example 01:30."]);
      return;
    }
    let added = 0;
    try {
      while (this.#files.length) {
        byId("enrol-send").disabled = true;
        const part = await firstRequest(this.#files, this.#about.limits);
        added += (await this.#api.enrol(this.#form(part, time))).keys.length;
        this.#files = this.#files.slice(part.length);
        byId("enrol-chosen").textContent = `${count(added, "image")} added, ` +
          `${this.#files.length} to go`;
      }
      this.#dialog.close();
    } catch (error) {
      this.#show([added ? `${count(added, "image was", "images were")} added, then: ` : "",
        error.message]);
    }
    if (added) this.#done(added);
  }

  #form(files, time) {
    const form = new FormData();
    for (const file of files) form.append("images", file, file.name);
    if (time !== null) form.append("time", time);
    for (const name of ["camera", "track", "person"]) {
      const value = byId(`enrol-${name}`).value.trim();
      if (value) form.append(name, value);
    }
    return form;
  }
}
