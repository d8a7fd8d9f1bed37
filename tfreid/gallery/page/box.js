/** A dialog in which a box is drawn around a person of an image, by mouse, touch or keyboard. */

import { byId } from "./dom.js";

const SIDES = ["left", "top", "right", "bottom"];
const LEAST = 4; // Pixels of the image.
const MAGNIFIED = 6; // A small image is shown at most so many times its size.
const SPACE = 32, LEAST_HEIGHT = 140; // Pixels of the screen: around the dialog, of the image.
const REACH = 14; // How near to an edge a press takes hold of it, in pixels of the screen.

export class BoxDialog {
  #dialog = byId("box-dialog");
  #stage = byId("box-stage");
  #frame = byId("box-frame");
  #picture = null;
  #box = null;
  #grip = null; // {sides, from}: the sides that move with the pointer, null for the whole box

  constructor() {
    this.#stage.addEventListener("pointerdown", (event) => this.#press(event));
    this.#stage.addEventListener("pointermove", (event) => this.#drag(event));
    this.#stage.addEventListener("pointerup", () => this.#release());
    this.#stage.addEventListener("pointercancel", () => this.#release());
    this.#stage.addEventListener("keydown", (event) => this.#key(event));
    for (const side of SIDES) {
      byId(`box-${side}`).addEventListener("change", () => this.#typed());
    }
    new ResizeObserver(() => this.#fit()).observe(this.#stage.parentElement);
  }

  /** Returns a promise of the box in pixels of the image, null for the whole image, or of
   * undefined if the dialog was cancelled. */
  open(image) {
    this.#picture = image.picture;
    this.#stage.querySelector("img")?.remove();
    const shown = this.#picture.cloneNode();
    shown.alt = image.file.name;
    shown.draggable = false;
    this.#stage.prepend(shown);
    this.#box = image.box ? [...image.box] : null;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    this.#stage.focus();
    this.#fit();
    return new Promise((resolve) => {
      this.#dialog.addEventListener("close", () => {
        const choice = this.#dialog.returnValue;
        resolve(choice === "box" ? this.#box.map(Math.round) : choice === "whole" ? null
          : undefined);
      }, { once: true });
    });
  }

  get #size() {
    return [this.#picture.naturalWidth, this.#picture.naturalHeight];
  }

  /** Pixels of the screen for one pixel of the image. */
  get #scale() {
    return this.#stage.clientWidth / this.#picture.naturalWidth;
  }

  /** Shows the image as large as the dialog has room for. */
  #fit() {
    if (!this.#picture) return;
    const [width, height] = this.#size;
    const around = this.#dialog.scrollHeight - this.#stage.offsetHeight + SPACE;
    const room = Math.max(innerHeight - around, LEAST_HEIGHT);
    const shown = Math.min(this.#stage.parentElement.clientWidth, room * width / height,
      MAGNIFIED * width);
    this.#stage.style.width = `${shown}px`;
    this.#show();
  }

  #at(event) {
    const { left, top } = this.#stage.getBoundingClientRect();
    const [width, height] = this.#size;
    const scale = this.#scale;
    return [clamp((event.clientX - left) / scale, 0, width),
      clamp((event.clientY - top) / scale, 0, height)];
  }

  #press(event) {
    if (event.button !== 0) return;
    this.#stage.setPointerCapture(event.pointerId);
    const from = this.#at(event);
    const sides = this.#box ? this.#sidesNear(from) : null;
    if (sides?.length) this.#grip = { sides, from };
    else if (this.#box && inside(this.#box, from)) this.#grip = { sides: null, from };
    else {
      this.#box = [...from, ...from];
      this.#grip = { sides: [2, 3], from };
    }
  }

  #sidesNear([x, y]) {
    const reach = REACH / this.#scale;
    const [left, top, right, bottom] = this.#box;
    if (!inside([left - reach, top - reach, right + reach, bottom + reach], [x, y])) return [];
    const away = [x - left, y - top, x - right, y - bottom].map(Math.abs);
    const nearer = (first, second) => (away[first] <= away[second] ? first : second);
    return [nearer(0, 2), nearer(1, 3)].filter((side) => away[side] <= reach);
  }

  #drag(event) {
    if (!this.#grip) return;
    const at = this.#at(event);
    if (this.#grip.sides) for (const side of this.#grip.sides) this.#box[side] = at[side % 2];
    else this.#move(at[0] - this.#grip.from[0], at[1] - this.#grip.from[1]);
    this.#grip.from = at;
    this.#show();
  }

  #move(right, down) {
    const [width, height] = this.#size;
    const x = clamp(right, -this.#box[0], width - this.#box[2]);
    const y = clamp(down, -this.#box[1], height - this.#box[3]);
    this.#box = this.#box.map((side, place) => side + (place % 2 ? y : x));
  }

  #release() {
    if (!this.#grip) return;
    this.#grip = null;
    this.#settle();
  }

  /** Orders the sides, and drops a box that is too small to be meant. */
  #settle() {
    const [a, b, c, d] = this.#box;
    this.#box = [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
    if (this.#box[2] - this.#box[0] < LEAST || this.#box[3] - this.#box[1] < LEAST) {
      this.#box = null;
    }
    this.#show();
  }

  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [width, height] = this.#size;
    const [x, y] = step.map((direction) => direction * Math.max(1, Math.round(height / 100)));
    if (!this.#box) this.#box = [width * 0.4, height * 0.25, width * 0.6, height * 0.75];
    else if (event.shiftKey) {
      this.#box[2] = clamp(this.#box[2] + x, this.#box[0] + LEAST, width);
      this.#box[3] = clamp(this.#box[3] + y, this.#box[1] + LEAST, height);
    } else this.#move(x, y);
    this.#show();
  }

  #typed() {
    const values = SIDES.map((side) => byId(`box-${side}`).valueAsNumber);
    if (values.some(Number.isNaN)) return;
    this.#box = values.map((value, place) => clamp(value, 0, this.#size[place % 2]));
    this.#settle();
  }

  #show() {
    const box = this.#box;
    this.#frame.hidden = !box;
    byId("box-use").disabled = !box;
    SIDES.forEach((side, place) => {
      const input = byId(`box-${side}`);
      input.max = this.#size[place % 2];
      input.value = box ? Math.round(box[place]) : "";
    });
    if (!box) return;
    const scale = this.#scale;
    const style = this.#frame.style;
    style.left = `${Math.min(box[0], box[2]) * scale}px`;
    style.top = `${Math.min(box[1], box[3]) * scale}px`;
    style.width = `${Math.abs(box[2] - box[0]) * scale}px`;
    style.height = `${Math.abs(box[3] - box[1]) * scale}px`;
  }
}

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

const inside = ([left, top, right, bottom], [x, y]) =>
  x >= left && x <= right && y >= top && y <= bottom;
