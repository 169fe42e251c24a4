// Searching all of a job's output: the dispatcher looks, piece by piece; the page counts,
// jumps and marks.

import { fill, h } from "./dom.js";
import { ofMatch, ofWords } from "./marks.js";
import { counted, number } from "./words.js";

/** Matches that are kept; there may be more. */
const MOST = 20_000;

export class LogSearch {
  /** @type {number[]} Numbers of packets, in order. */ #matches = [];
  /** @type {Map<number, import("./marks.js").Match>} */ #found = new Map();
  #at = -1;
  #question = "";
  /** @type {{next: number | null, through: number, total: number}} */
  #progress = { next: null, through: 0, total: 0 };
  /** @type {AbortController | null} */ #asking = null;

  /**
   * @param {(query: [string, string][], signal: AbortSignal) => Promise<any>} ask
   * @param {object} listener
   * @param {(search: import("./log_row.js").Marker | null) => void} listener.onQuestion what is to be marked
   * @param {(packet: number) => void} listener.onGo
   */
  constructor(ask, listener) {
    this.ask = ask;
    this.listener = listener;
    this.field = h("input", {
      type: "search", class: "search", placeholder: "Search output", "aria-label": "Search the output",
      autocomplete: "off", spellcheck: "false",
    });
    this.regex = h("input", { type: "checkbox", onchange: () => this.#begin() });
    this.exactCase = h("input", { type: "checkbox", onchange: () => this.#begin() });
    this.count = h("span", { class: "count", role: "status" });
    const button = (/** @type {string} */ sign, /** @type {string} */ label, /** @type {number} */ by) =>
      h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: () => this.go(by) }, sign);
    this.more = h("span", { class: "found", hidden: true },
      button("\u2191", "Match before (N)", -1), button("\u2193", "Next match (n)", 1), this.count);
    this.element = h("form", { class: "finder", role: "search", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
      this.field,
      h("label", { class: "choice", title: "Letters as they are, large or small" }, this.exactCase, "Aa"),
      h("label", { class: "choice", title: "A regular expression" }, this.regex, ".*"),
      this.more);
    this.field.addEventListener("input", () => this.field.value === "" && this.#begin());
  }

  close() {
    this.#asking?.abort();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.field.value !== this.#question) this.#begin();
    else this.go(1);
  }

  async #begin() {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#question = this.field.value;
    this.#matches = [];
    this.#found.clear();
    this.#at = -1;
    this.more.hidden = this.#question === "";
    this.listener.onQuestion(this.#marker());
    if (this.#question === "") return;
    this.#progress = { next: 0, through: 0, total: 0 };
    await this.#look(asking.signal);
  }

  /** Looks at all that there is by now. @param {AbortSignal} signal */
  async #look(signal) {
    try {
      while (this.#progress.next !== null && this.#matches.length < MOST) {
        this.#tell();
        /** @type {[string, string][]} */
        const query = [["q", this.#question], ["since", String(this.#progress.next)], ["limit", "1000"]];
        if (this.regex.checked) query.push(["regex", "true"]);
        if (this.exactCase.checked) query.push(["case", "true"]);
        const found = await this.ask(query, signal);
        if (signal.aborted) return;
        for (const match of found.matches) {
          this.#matches.push(match.packet);
          if (this.regex.checked) this.#found.set(match.packet, match);
        }
        this.#progress = found;
        // Rows that are seen already are marked, too.
        if (this.regex.checked && found.matches.length > 0) this.listener.onQuestion(this.#marker());
        if (this.#at < 0 && this.#matches.length > 0) this.go(1);
      }
      this.#tell();
    } catch (error) {
      if (!signal.aborted) fill(this.count, /** @type {Error} */ (error).message);
    }
  }

  /** Goes to another match. @param {1 | -1 | number} by */
  async go(by) {
    if (this.#question === "") return this.field.focus();
    const isLast = this.#at === this.#matches.length - 1;
    if (by > 0 && isLast && this.#asking && this.#progress.next === null && this.#at >= 0) {
      // There may be more of a job that goes on.
      this.#progress.next = this.#progress.through;
      const before = this.#matches.length;
      await this.#look(this.#asking.signal);
      if (this.#matches.length === before) this.#at = -1;
    }
    if (this.#matches.length === 0) return undefined;
    this.#at = (this.#at + by + this.#matches.length) % this.#matches.length;
    this.#tell();
    this.listener.onGo(this.#matches[this.#at]);
    return undefined;
  }

  #tell() {
    const { next, through, total } = this.#progress;
    const matches = this.#matches.length;
    const place = this.#at >= 0 ? `${number(this.#at + 1)} of ` : "";
    const more = matches >= MOST ? ", there may be more" : "";
    const looking = next !== null && matches < MOST && total > 0 ? `, ${Math.floor((through / total) * 100)} % looked at` : "";
    const all = next === null && matches === 0 ? "nothing found" : `${place}${counted(matches, "packet")}`;
    fill(this.count, all + looking + more);
  }

  /** What is to be marked. @returns {import("./log_row.js").Marker | null} */
  #marker() {
    const question = this.#question;
    const isExact = this.exactCase.checked;
    if (question === "") return null;
    return this.regex.checked
      ? (packet, text) => ofMatch(text, this.#found.get(packet))
      : (_packet, text) => ofWords(text, question, isExact);
  }
}
