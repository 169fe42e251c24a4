// What is said to people who do not see the change, and shown for a while to those who do.

import { fill, h } from "./dom.js";

const spoken = h("div", { class: "spoken", role: "status", "aria-live": "polite" });
const notice = h("div", { class: "notice", hidden: true });
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

export const places = [spoken, notice];

/** Says a change of state. @param {string} text */
export function announce(text) {
  spoken.textContent = text;
}

/**
 * Shows what came of an action, and says it.
 *
 * @param {string} text
 * @param {"good" | "bad" | "busy"} [kind] busy: it goes on, and what comes of it is told in its place
 */
export function tell(text, kind = "good") {
  announce(text);
  notice.dataset.kind = kind;
  fill(notice, text, h("button", { class: "plain", type: "button", "aria-label": "Dismiss", onclick: hide }, "\u00d7"));
  notice.hidden = false;
  clearTimeout(timer);
  if (kind !== "busy") timer = setTimeout(hide, kind === "bad" ? 20_000 : 8_000);
}

function hide() {
  notice.hidden = true;
}
