/** One result as a card, and the words for what is known of it. */

import { button, count, icon, make } from "./dom.js";
import { readable } from "./clock.js";

const UNKNOWN_CAMERA = "Camera not known";
const VERDICTS = { same: "Same", unsure: "Unsure", unknown: "Unknown" };

/** Returns the verdict as a symbol and a word, or null if the gallery has no thresholds. */
export function verdictBadge(verdict) {
  if (!VERDICTS[verdict]) return null;
  return make("span", { class: `verdict ${verdict}` }, icon(verdict),
    make("span", { textContent: VERDICTS[verdict] }));
}

/** Returns a distance as it is written; one that is rounded to zero has no sign. */
export function distanceText(distance) {
  return distance.toFixed(3).replace(/^-(0\.0+)$/, "$1");
}

/** Returns where and when an entry was seen, as far as known. */
export function placeOf({ camera, time }, clock) {
  return [camera || UNKNOWN_CAMERA, readable(time, clock)].filter(Boolean).join(", ");
}

/** Returns a result in words, for screen readers and tips. */
export function describe(result, clock) {
  return [placeOf(result, clock), `distance ${distanceText(result.distance)}`,
    VERDICTS[result.verdict], result.person && `person ${result.person}`,
    result.entries > 1 && `${count(result.entries, "image")} of its track`,
  ].filter(Boolean).join(", ");
}

/** Returns the element of a result; its buttons call `act(action, result)`. */
export function card(result, place, { clock, thumbnails, act }) {
  const picture = make("img", { alt: "", decoding: "async" });
  thumbnails.show(picture, result.key);
  const does = (action) => (event) => {
    event.stopPropagation();
    act(action, result);
  };
  const small = (action, label, symbol, more = {}) =>
    button(label, symbol, does(action), { class: `act ${action}`, tabIndex: -1, ...more });
  const element = make("li", {
    class: "card", tabIndex: -1, "aria-label": `${place + 1}: ${describe(result, clock)}`,
    "aria-keyshortcuts": "Enter R W S A Delete", onclick: () => act("open", result),
  },
  make("div", { class: "picture" }, picture,
    make("span", { class: "rank", textContent: place + 1, "aria-hidden": "true" }),
    make("div", { class: "quick" },
      small("from", "Search from here (S)", "search"),
      small("add", "Add to the query (A)", "plus"))),
  facts(result, clock),
  make("div", { class: "judge" },
    small("right", "Right", "check", { text: true, "aria-pressed": "false" }),
    small("wrong", "Wrong", "cross", { text: true, "aria-pressed": "false" })));
  element.dataset.key = result.key;
  return element;
}

/** Shows on a card whether its result is marked right (true), wrong (false) or not (null). */
export function showMark(element, right) {
  element.classList.toggle("is-right", right === true);
  element.classList.toggle("is-wrong", right === false);
  element.querySelector(".act.right").setAttribute("aria-pressed", right === true);
  element.querySelector(".act.wrong").setAttribute("aria-pressed", right === false);
}

function facts(result, clock) {
  const others = [result.person && `Person ${result.person}`,
    result.entries > 1 && count(result.entries, "image")].filter(Boolean).join(" · ");
  return make("div", { class: "facts" },
    make("div", { class: "measure" }, verdictBadge(result.verdict),
      make("span", { class: "distance", textContent: distanceText(result.distance),
        title: "Distance to the query" })),
    make("div", { class: "camera", textContent: result.camera || UNKNOWN_CAMERA,
      title: result.camera }),
    make("div", { class: "time", textContent: readable(result.time, clock) || "Time not known" }),
    make("div", { class: "others", textContent: others || "Person not known" }));
}
