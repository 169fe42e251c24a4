// Whether the dispatcher can be reached, as all of the page sees it.

import { fill, h } from "./dom.js";
import { duration, timeElement } from "./time.js";

/** After how long without an answer what is shown counts as old, in milliseconds. */
const OLD = 4000;

/** After how long of silence it is asked whether the dispatcher is there, in milliseconds. */
const QUIET = 5000;

/** How often that is looked at, and asked while the dispatcher is not there. */
const LOOK = 2000;

export class Connection {
  /** @type {"live" | "reconnecting" | "stale"} */ state = "live";
  /** When the last answer came, in milliseconds since 1970. */
  #heard = Date.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  constructor() {
    this.banner = h("div", { class: "banner", role: "status", hidden: true });
    /** Called when answers come again. @type {Set<() => void>} */
    this.onBack = new Set();
  }

  /**
   * Asks for as long as the page is there, and seen, so that a screen on which nothing happens
   * learns it, too.
   *
   * @param {() => Promise<any>} ask by which `reached` or `lost` is told
   */
  watch(ask) {
    let isAsking = false;
    setInterval(async () => {
      const isQuiet = this.state !== "live" || Date.now() - this.#heard > QUIET;
      if (isAsking || !isQuiet || document.visibilityState === "hidden") return;
      isAsking = true;
      await ask().catch(() => {});
      isAsking = false;
    }, LOOK);
  }

  /** Something has come from the dispatcher. */
  reached() {
    this.#heard = Date.now();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.state === "live") return;
    this.#become("live");
    for (const back of this.onBack) back();
  }

  /** A request or a stream has failed. */
  lost() {
    if (this.state === "live") this.#become("reconnecting");
    if (this.state === "reconnecting" && this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#become("stale"), OLD);
    }
  }

  /** @param {"live" | "reconnecting" | "stale"} state */
  #become(state) {
    this.state = state;
    document.body.dataset.connection = state;
    this.banner.hidden = state !== "stale";
    if (state === "stale") this.#tell();
    this.apply(document.body);
  }

  #tell() {
    fill(
      this.banner,
      "The dispatcher has not answered since ", timeElement(this.#heard),
      h("span", { class: "quiet" }, ` (${duration(Date.now() - this.#heard)}). `),
      "What is shown is old; the page goes on by itself as soon as it answers.",
    );
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.state === "stale" && this.#tell(), 5000);
  }

  /**
   * Buttons that act (`data-acts`) cannot be used without the dispatcher.
   *
   * @param {Element} root
   */
  apply(root) {
    for (const button of root.querySelectorAll("[data-acts]")) {
      if (button instanceof HTMLButtonElement) button.disabled = this.state === "stale";
    }
  }
}
