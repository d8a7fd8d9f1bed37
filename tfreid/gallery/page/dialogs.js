/** Dialogs that ask for one thing, and notices in the corner. */

import { button, byId, make } from "./dom.js";

const NOTICE_SECONDS = 8;
const NOTICES = 3;

/** Returns a promise of whether the visitor agrees to what cannot be undone. */
export function confirmed(question, verb) {
  byId("confirm-question").textContent = question;
  byId("confirm-yes").textContent = verb;
  return answer(byId("confirm"), (value) => value === "yes");
}

/** Returns a promise of the service's token, or of null. */
export function askToken(again) {
  byId("token-error").textContent = again ? "The service did not accept this token." : "";
  const input = byId("token-value");
  input.value = "";
  return answer(byId("token"), (value) => (value === "yes" ? input.value.trim() : null));
}

function answer(dialog, meaning) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(meaning(dialog.returnValue)), { once: true });
  });
}

/** Says something in passing; a failure stays until it is retried or dismissed. */
export function notice(sentence, retry = null) {
  const place = byId("notices");
  const dismiss = () => box.remove();
  const again = async () => {
    dismiss();
    try {
      await retry();
    } catch (error) {
      notice(error.message, retry);
    }
  };
  const box = make("div", { class: retry ? "notice failed" : "notice" },
    make("p", { textContent: sentence }),
    retry && make("button", { type: "button", textContent: "Retry", onclick: again }),
    button("Dismiss", "cross", dismiss));
  for (const other of place.querySelectorAll("p")) {
    if (other.textContent === sentence) other.parentElement.remove();
  }
  place.append(box);
  while (place.childElementCount > NOTICES) place.firstChild.remove();
  if (!retry) setTimeout(dismiss, NOTICE_SECONDS * 1000);
}

/** Closes a dialog by its [data-close] buttons and by a press outside it. */
export function closable(dialog) {
  for (const each of dialog.querySelectorAll("[data-close]")) {
    each.addEventListener("click", () => dialog.close());
  }
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target !== dialog) return;
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    if (x < left || x > right || y < top || y > bottom) dialog.close();
  });
}
