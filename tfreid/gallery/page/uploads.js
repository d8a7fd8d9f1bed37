/** Which chosen files may be sent, by the limits that the service states. */

import { count } from "./dom.js";

const MEGABYTE = 1024 * 1024;

/** Returns the files that may be sent and a sentence for each reason why others may not. */
export function acceptable(files, limits, room = Infinity) {
  const sentences = [];
  const fits = files.filter((file) => {
    if (file.type && !file.type.startsWith("image/")) {
      sentences.push(`${file.name} is not an image.`);
    } else if (file.size > limits.upload_bytes) {
      sentences.push(`${file.name} has ${megabytes(file.size)}; an image may have at most ` +
        `${megabytes(limits.upload_bytes)}.`);
    } else return true;
    return false;
  });
  if (fits.length > room) {
    sentences.push(`A query has at most ${count(limits.images, "image")}; ` +
      `${count(fits.length - room, "image was", "images were")} left out.`);
  }
  return { accepted: fits.slice(0, room), sentences };
}

/** Returns a sentence if an image has more pixels than the service takes, else null. */
export function tooManyPixels(name, width, height, limits) {
  if (width * height <= limits.pixels) return null;
  return `${name} has ${width} x ${height} pixels; an image may have at most ` +
    `${(limits.pixels / 1e6).toLocaleString("en")} million.`;
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
