// All jobs: counts, filters, rows. The page begins here.

import { fill, h } from "../dom.js";
import { asWords, fromQuery, fromText, joined } from "../filters.js";
import { JobList } from "../job_list.js";
import { address } from "../router.js";
import { rowKeys } from "../rows.js";
import { number } from "../words.js";

/** How often the counts are read at most, in milliseconds. */
const EVERY = 2000;

/** How often they are read while nothing happens to any job: the dispatcher may be in trouble. */
const AT_REST = 15_000;

/** @type {[string, string][]} */
const FAILED = [["failed", "true"], ["ended_since", "-1h"]];

/** @param {any} app @param {import("../router.js").Route} route */
export function jobs(app, route) {
  const filters = fromQuery(route.query);
  const to = (/** @type {[string, string][]} */ other) => address(["jobs"], other);
  const field = h("input", {
    type: "search", placeholder: "Words, or name:value", "aria-label": "Search jobs",
    "aria-describedby": "search-help", autocomplete: "off", spellcheck: "false",
  });
  const search = h("form", {
    role: "search", class: "search",
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      app.go(to(joined(filters, fromText(field.value))));
    },
  }, field, h("button", { type: "submit" }, "Search"));
  const help = h("p", { class: "quiet help", id: "search-help" },
    "Such as ", h("code", null, "host:web*"), " ", h("code", null, "outcome:error"), " ",
    h("code", null, "submitted_since:-2h"), " ", h("code", null, "info.user:ann"));
  const chips = h("ul", { class: "chips", role: "list", "aria-label": "Filters" },
    filters.map((filter) => h("li", null,
      h("a", { class: "chip", href: to(filters.filter((there) => there !== filter)), "aria-label": `Remove ${asWords(filter)}` },
        asWords(filter), h("span", { "aria-hidden": "true" }, " \u00d7")))));
  const counts = h("nav", { class: "counts", "aria-label": "Counts" });
  const summary = new Counts(app, counts, filters);
  const list = new JobList(app, filters, () => summary.soon());
  return {
    title: "Jobs",
    element: h("div", { class: "screen" },
      h("div", { class: "top" }, h("h1", null, "Jobs"), counts, search),
      help, filters.length > 0 && chips, list.element),
    keys: { ...rowKeys(list.rows), "/": () => field.focus() },
    close: () => { list.close(); summary.close(); },
  };
}

/** Numbers of jobs by what becomes of them, as links, and what the dispatcher is in trouble with. */
class Counts {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** When the timer goes off. */
  #due = Infinity;

  /** @param {any} app @param {Element} place @param {[string, string][]} filters */
  constructor(app, place, filters) {
    this.app = app;
    this.place = place;
    this.filters = filters;
    if (app.may("observe")) this.#read();
  }

  close() {
    clearTimeout(this.#timer);
    this.#due = -Infinity;
  }

  soon() {
    if (this.app.may("observe")) this.#within(EVERY);
  }

  /** Reads again within so many milliseconds. @param {number} time */
  #within(time) {
    const due = Date.now() + time;
    if (this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#read(), time);
  }

  async #read() {
    let rest = AT_REST;
    this.#due = Infinity;
    try {
      // Nobody looks at a tab that is behind others.
      if (document.visibilityState === "visible") {
        const summary = await this.app.api.get("/summary");
        this.#show(summary);
        if (summary.store === "outage" || summary.draining) rest = EVERY;
      }
    } catch {
      // The list beside it says what is wrong.
    }
    this.#within(rest);
  }

  /** @param {any} summary */
  #show(summary) {
    const now = JSON.stringify(this.filters);
    const count = (/** @type {string} */ label, /** @type {number} */ value, /** @type {[string, string][]} */ filters) =>
      h("a", {
        href: address(["jobs"], filters), class: `count ${filters[0][1] === "true" ? "failed" : filters[0][1]}`,
        "aria-current": now === JSON.stringify(filters) && "page",
      }, h("strong", null, number(value)), ` ${label}`);
    fill(this.place,
      count("queued", summary.queued, [["state", "queued"]]),
      count("running", summary.running, [["state", "running"]]),
      count("failed in the last hour", summary.hour.exception + summary.hour.error, FAILED),
      summary.store === "outage" && h("span", { class: "warning", role: "status" }, "The job store cannot be written: no new calls are taken."),
      summary.draining && h("span", { class: "warning", role: "status" }, "The dispatcher is about to stop: no new calls are taken."));
  }
}
