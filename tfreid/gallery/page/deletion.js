/** Deletes entries of the gallery, after asking. */

import { confirmed, notice } from "./dialogs.js";
import { count } from "./dom.js";

export class Deletion {
  #api;
  #forget;

  /** `forget(keys)` takes deleted entries out of what is shown. */
  constructor(api, forget) {
    this.#api = api;
    this.#forget = forget;
  }

  async ofEntry({ key }) {
    const question = `Delete the image ${key} from the gallery? This cannot be undone.`;
    if (await confirmed(question, "Delete image")) await this.#remove({ keys: [key] }, [key]);
  }

  async ofTrack({ track }) {
    try {
      const { entries } = await this.#api.track(track);
      const question = `Delete the track ${track} with ${count(entries.length, "image")} from ` +
        "the gallery? This cannot be undone.";
      if (!await confirmed(question, "Delete track")) return;
      await this.#remove({ track }, entries.map(({ key }) => key));
    } catch (error) {
      notice(error.message, () => this.ofTrack({ track }));
    }
  }

  async #remove(what, keys) {
    try {
      const { removed } = await this.#api.remove(what);
      notice(`${count(removed, "image was", "images were")} deleted.`);
    } catch (error) {
      notice(error.message, () => this.#remove(what, keys));
      return;
    }
    await this.#forget(keys);
  }
}
