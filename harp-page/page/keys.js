// Keys of the whole page. A screen adds its own while it is shown.

import { choices } from "./settings.js";

/** @typedef {Record<string, (event: KeyboardEvent) => void>} Bindings */

/** What `?` shows. @type {[string, string][]} */
export const HELP = [
  ["/", "search"],
  ["j  k", "next row, row before"],
  ["Enter", "open the row"],
  ["g j", "jobs"],
  ["g q", "queues"],
  ["g h", "hosts"],
  ["g s", "services"],
  ["c", "new call"],
  ["x", "cancel the job"],
  ["f", "follow the output"],
  ["w", "wrap long lines"],
  ["t", "times of lines"],
  ["n  N", "next match, match before"],
  ["Home  End", "begin, end of the output"],
  ["Esc", "back"],
  ["?", "this help"],
];

export class Keys {
  /** @type {Bindings} */ general = {};
  /** @type {Bindings} */ ofScreen = {};
  #afterG = false;

  constructor() {
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target instanceof Element && event.target.closest("dialog")) return;
    const isTyping = event.target instanceof Element
      && event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select") !== null;
    if (isTyping) {
      if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    const isOne = event.key.length === 1;
    if (isOne && !choices.keys) return;
    const key = this.#afterG ? `g ${event.key}` : event.key;
    this.#afterG = false;
    if (key === "g") {
      this.#afterG = true;
      return;
    }
    const isButton = event.target instanceof Element && event.target.closest("a, button, summary") !== null;
    if (key === "Enter" && isButton) return;
    const bound = this.ofScreen[key] ?? this.general[key];
    if (!bound) return;
    event.preventDefault();
    bound(event);
  }
}
