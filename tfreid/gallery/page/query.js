/** The query: images of the visitor's, each whole or a box of it, and entries of the gallery. */

import { acceptable, fitting, leftOut, tooManyPixels } from "./uploads.js";

export class Query extends EventTarget {
  images = []; // {file, picture, box}: the picture is null if the browser cannot show the file
  entries = []; // {key, camera, time}
  limits = { upload_bytes: Infinity, pixels: Infinity, images: Infinity };

  get empty() {
    return !this.images.length && !this.entries.length;
  }

  /** Adds images and returns a sentence for each reason why some were left out. */
  async add(files) {
    const { accepted, sentences } = acceptable(files, this.limits);
    const number = fitting(accepted, this.limits, this.images.map(({ file }) => file));
    if (number < accepted.length) sentences.push(leftOut(accepted.length - number, this.limits));
    for (const file of accepted.slice(0, number)) {
      const picture = await decode(file);
      const sentence = tooManyPixels(file.name, sizeOf(picture), this.limits, this.#pixels);
      if (sentence) sentences.push(sentence);
      else this.images.push({ file, picture, box: null });
    }
    if (number) this.#changed();
    return sentences;
  }

  addEntry(entry) {
    if (this.has(entry.key)) return;
    this.entries.push(entry);
    this.#changed();
  }

  replaceBy(entry) {
    this.images.forEach(release);
    this.images = [];
    this.entries = [entry];
    this.#changed();
  }

  has(key) {
    return this.entries.some((entry) => entry.key === key);
  }

  setBox(image, box) {
    image.box = box;
    this.#changed();
  }

  removeImage(image) {
    release(image);
    this.images = this.images.filter((other) => other !== image);
    this.#changed();
  }

  removeEntries(keys) {
    const left = this.entries.filter(({ key }) => !keys.includes(key));
    if (left.length === this.entries.length) return;
    this.entries = left;
    this.#changed();
  }

  clear() {
    this.images.forEach(release);
    this.images = [];
    this.entries = [];
    this.#changed();
  }

  /** Writes the query into the form of a search. */
  fill(form) {
    for (const { file } of this.images) form.append("images", file, file.name || "pasted.png");
    form.append("boxes", JSON.stringify(this.images.map(({ box }) => box)));
    for (const { key } of this.entries) form.append("keys", key);
  }

  get #pixels() {
    return this.images.map(({ picture }) => sizeOf(picture))
      .reduce((sum, { width, height }) => sum + width * height, 0);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Returns the image of a file, or null if the browser cannot decode its format. */
async function decode(file) {
  const picture = new Image();
  picture.src = URL.createObjectURL(file);
  try {
    await picture.decode();
    return picture;
  } catch {
    URL.revokeObjectURL(picture.src);
    return null;
  }
}

const sizeOf = (picture) =>
  ({ width: picture?.naturalWidth ?? 0, height: picture?.naturalHeight ?? 0 });

function release({ picture }) {
  if (picture) URL.revokeObjectURL(picture.src);
}
