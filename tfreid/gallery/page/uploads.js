/** Which chosen files may be sent, by the limits that the service states. */

import { count } from "./dom.js";

const MEGABYTE = 1024 * 1024;
const FRAMING = 64 * 1024; // Bytes of a request that are not images, generously.

/** Returns the files that are images and may be sent, and a sentence for each that may not. */
export function acceptable(files, limits) {
  const sentences = [];
  const accepted = files.filter((file) => {
    if (file.type && !file.type.startsWith("image/")) {
      sentences.push(`${file.name} is not an image.`);
    } else if (file.size > room(limits)) {
      sentences.push(`${file.name} has ${megabytes(file.size)}; at most ` +
        `${megabytes(limits.upload_bytes)} can be sent.`);
    } else return true;
    return false;
  });
  return { accepted, sentences };
}

/** Returns how many of the first files fit into one request with `before`. */
export function fitting(files, limits, before = []) {
  let bytes = total(before);
  let number = 0;
  while (number < files.length && before.length + number < limits.images) {
    bytes += files[number].size;
    if (bytes > room(limits)) break;
    number += 1;
  }
  return number;
}

const room = (limits) => limits.upload_bytes - FRAMING;

const total = (files) => files.reduce((sum, file) => sum + file.size, 0);

/** Returns the sentence for images that do not fit into one query. */
export function leftOut(number, limits) {
  return `A query has at most ${count(limits.images, "image")} and ` +
    `${megabytes(limits.upload_bytes)}; ${count(number, "image was", "images were")} left out.`;
}

/** Returns a sentence if an image has, with `before` pixels of others, more than the service
 * takes in a request, else null. */
export function tooManyPixels(name, { width, height }, limits, before = 0) {
  if (before + width * height <= limits.pixels) return null;
  return `${name} has ${width} x ${height} pixels; the images of a request may have at most ` +
    `${(limits.pixels / 1e6).toLocaleString("en")} million together.`;
}

/** Returns the first of the files, as many as one request takes. */
export async function firstRequest(files, limits) {
  const part = [];
  let pixels = 0;
  for (const file of files.slice(0, fitting(files, limits))) {
    const size = await sizeOf(file);
    const sentence = tooManyPixels(file.name, size, limits, pixels);
    if (sentence && !part.length) throw new Error(sentence);
    if (sentence) break;
    pixels += size.width * size.height;
    part.push(file);
  }
  return part;
}

/** Returns the size of a file's image, without pixels if the browser cannot decode its format. */
async function sizeOf(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  const { width = 0, height = 0 } = bitmap ?? {};
  bitmap?.close();
  return { width, height };
}

/** Calls `take` with the images dropped on an element, and marks it meanwhile. */
export function acceptDrops(element, take, wanted = () => true) {
  const holdsFiles = (event) => wanted() && event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const mark = (change) => {
    depth = change === 0 ? 0 : depth + change;
    element.classList.toggle("dropping", depth > 0);
  };
  element.addEventListener("dragenter", (event) => holdsFiles(event) && mark(1));
  element.addEventListener("dragleave", (event) => holdsFiles(event) && mark(-1));
  element.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  element.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    mark(0);
    take([...event.dataTransfer.files]);
  });
}

const megabytes = (bytes) => `${(bytes / MEGABYTE).toLocaleString("en",
  { maximumFractionDigits: 1 })} MB`;
