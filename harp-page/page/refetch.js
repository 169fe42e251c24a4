// A part of the page that is read anew whenever something has happened.

import { fill } from "./dom.js";
import { failed, loading } from "./states.js";

/** How soon a part is read again at the earliest, and how often where nothing tells. */
const SOONEST = 1500;
const EVERY = 10_000;

export class Refetch {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #hasData = false;
  #isClosed = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #poller;

  /**
   * @param {any} app
   * @param {object} part
   * @param {Element} part.place
   * @param {string} part.what
   * @param {() => Promise<any>} part.read
   * @param {(data: any) => void} part.show
   * @param {[string, string][] | null} [part.events] filters of events that tell of changes
   */
  constructor(app, part) {
    this.app = app;
    this.part = part;
    fill(part.place, loading(part.what));
    this.back = () => this.now();
    app.connection.onBack.add(this.back);
    const poll = () => { this.#poller ??= setInterval(() => document.visibilityState === "visible" && this.now(), EVERY); };
    poll();
    const { events } = part;
    if (events && app.may("observe")) {
      app.live.open({ path: "/events", query: () => events, onEvent: () => this.soon(), onRefused: poll });
    }
    this.now();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#poller);
    this.app.connection.onBack.delete(this.back);
  }

  soon() {
    this.#timer ??= setTimeout(() => this.now(), SOONEST);
  }

  async now() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      const data = await this.part.read();
      if (this.#isClosed) return;
      this.#hasData = true;
      keepingFocus(this.part.place, () => this.part.show(data));
      this.app.connection.apply(this.part.place);
    } catch (error) {
      // What was shown stays, and the banner says that it is old.
      if (!this.#isClosed && (!this.#hasData || /** @type {any} */ (error).status)) {
        fill(this.part.place, failed(error, () => this.now()));
      }
    }
  }
}

/**
 * Draws a part anew; the link in it that has the focus has it afterwards.
 *
 * @param {Element} place
 * @param {() => void} draw
 */
function keepingFocus(place, draw) {
  const { activeElement: before } = document;
  const focused = before instanceof HTMLAnchorElement && place.contains(before) ? before.hash : null;
  draw();
  if (focused === null) return;
  const link = [...place.querySelectorAll("a")].find((one) => one.hash === focused);
  link?.focus({ preventScroll: true });
}

/**
 * All pages of a list, up to so many entries.
 *
 * @param {any} api
 * @param {string} path
 * @param {[string, string][]} query
 * @param {string} key
 * @param {number} [most]
 * @returns {Promise<{entries: any[], isAll: boolean}>}
 */
export async function pages(api, path, query, key, most = 2000) {
  const entries = [];
  /** @type {string | null} */
  let cursor = null;
  do {
    /** @type {any} */
    const page = await api.get(path, [...query, ["limit", "500"], .../** @type {[string, string][]} */ (cursor ? [["cursor", cursor]] : [])]);
    entries.push(...page[key]);
    cursor = page.next;
  } while (cursor !== null && entries.length < most);
  return { entries, isAll: cursor === null };
}
