/** Thumbnails are fetched with the token when they come into view, and shown from blobs. */

const KEPT = 800;
const AT_ONCE = 4; // A browser opens six connections to a host; a search finds one free.

export class Thumbnails {
  #api;
  #urls = new Map();
  #waiting = [];
  #loading = 0;
  #seen = new IntersectionObserver((changes) => this.#enter(changes), { rootMargin: "300px" });
  #keys = new WeakMap();

  constructor(api) {
    this.#api = api;
  }

  /** Shows the picture of an entry in an image as soon as it is looked at. */
  show(image, key) {
    this.#keys.set(image, key);
    image.draggable = false;
    image.classList.remove("missing");
    if (this.#urls.has(key)) image.src = this.#urls.get(key);
    else this.#seen.observe(image);
  }

  #enter(changes) {
    for (const { target, isIntersecting } of changes) {
      if (!isIntersecting) continue;
      this.#seen.unobserve(target);
      this.#waiting.push(target);
    }
    this.#next();
  }

  #next() {
    while (this.#loading < AT_ONCE && this.#waiting.length) {
      const image = this.#waiting.shift();
      if (!image.isConnected) continue;
      this.#loading += 1;
      this.#load(image).finally(() => {
        this.#loading -= 1;
        this.#next();
      });
    }
  }

  async #load(image) {
    const key = this.#keys.get(image);
    try {
      if (!this.#urls.has(key)) this.#keep(key, await this.#api.thumbnail(key));
      if (this.#keys.get(image) === key) image.src = this.#urls.get(key);
    } catch {
      image.classList.add("missing");
    }
  }

  #keep(key, blob) {
    this.#urls.set(key, URL.createObjectURL(blob));
    if (this.#urls.size <= KEPT) return;
    const [oldest, url] = this.#urls.entries().next().value;
    this.#urls.delete(oldest);
    URL.revokeObjectURL(url);
  }
}
