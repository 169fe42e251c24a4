// A job's output with what it is steered by, and the stream that feeds it.

import { fill, h } from "./dom.js";
import { LogSearch } from "./log_search.js";
import { LogView } from "./log_view.js";
import { Packets } from "./packets.js";
import { address } from "./router.js";
import { choices, choose } from "./settings.js";
import { empty, explain } from "./states.js";
import { number } from "./words.js";

/** Packets before the end with which a running job is opened. */
const RECENT = 200;

export class JobLog {
  /** Packets that there were when following ended. */
  #seen = 0;
  #isRunning = false;

  /**
   * @param {any} app
   * @param {import("./words.js").Job} job
   * @param {number | null} packet where it is opened
   * @param {(name: string, data: any) => void} onEvent events that are not packets
   */
  constructor(app, job, packet, onEvent) {
    this.app = app;
    this.job = job.id;
    this.onEvent = onEvent;
    this.packets = new Packets(
      (since, limit, signal) => app.api.get(`/jobs/${job.id}/packets`,
        [["since", String(since)], ["limit", String(limit)], ["values", "text"]], { signal }),
      (error) => this.#came(error),
    );
    this.packets.total = job.packets;
    this.view = new LogView(this.packets, (row) => address(["jobs", job.id], [["packet", String(row)]]),
      { onFollow: (follows) => this.#followed(follows) });
    this.search = new LogSearch(
      (query, signal) => app.api.get(`/jobs/${job.id}/search`, query, { signal }),
      { onQuestion: (search) => this.view.restyle(search), onGo: (row) => this.#go(row) },
    );
    this.none = h("div", { class: "none" });
    this.trouble = h("p", { class: "trouble bad", role: "alert", hidden: true });
    this.total = h("span", { class: "quiet total" });
    this.followButton = this.#toggle("Follow", "f", () => this.view.follows, (on) => (on ? this.view.toEnd(true) : (this.view.follows = false)));
    this.fresh = h("button", { type: "button", class: "fresh", hidden: true, onclick: () => this.view.toEnd(true) });
    this.element = h("section", { class: "output", "aria-label": "Output" },
      h("div", { class: "bar" }, this.search.element,
        h("div", { class: "toggles" },
          this.followButton, this.#choice("Wrap", "w", "wrap"), this.#choice("Times", "t", "times"), this.#choice("Numbers", "", "numbers"),
          h("button", { type: "button", class: "icon", title: "Begin (Home)", "aria-label": "To the beginning", onclick: () => this.view.toBegin() }, "\u2912"),
          h("button", { type: "button", class: "icon", title: "End (End)", "aria-label": "To the end", onclick: () => this.toEnd() }, "\u2913")),
        this.total),
      this.trouble, this.none, this.view.element, this.fresh);
    this.style();
    this.setJob(job);
    if (job.state !== "ended") this.#stream();
    if (packet !== null) this.view.show(packet);
    else if (job.state !== "ended") this.view.toEnd(true);
    // What went wrong is told last.
    else if (job.outcome !== "returned") this.view.toEnd(false);
    else this.view.toBegin();
  }

  close() {
    this.view.close();
    this.search.close();
    this.packets.close();
  }

  /** @returns {import("./keys.js").Bindings} */
  get keys() {
    return {
      "/": () => this.search.field.focus(),
      n: () => this.search.go(1),
      N: () => this.search.go(-1),
      f: () => this.followButton.click(),
      w: () => this.#choose("wrap"),
      t: () => this.#choose("times"),
      Home: () => this.view.toBegin(),
      End: () => this.toEnd(),
    };
  }

  /** Goes to a packet, which the address then names. @param {number} row */
  #go(row) {
    this.view.show(row);
    history.replaceState(null, "", address(["jobs", this.job], [["packet", String(row)]]));
  }

  toEnd() {
    this.view.toEnd(this.#isRunning);
  }

  /** Takes note of how the job stands. @param {import("./words.js").Job} job */
  setJob(job) {
    this.#isRunning = job.state !== "ended";
    this.packets.total = Math.max(this.packets.total, job.packets);
    this.followButton.hidden = !this.#isRunning;
    if (!this.#isRunning && this.view.follows) {
      // The last lines are seen, whatever was drawn last.
      this.view.follows = false;
      this.view.toEnd(false);
    }
    const text = { queued: "It has not started.", running: "No output yet.", ended: "No output." }[job.state];
    fill(this.none, this.packets.total === 0 && empty(text));
    this.#tell();
  }

  #stream() {
    let next = Math.max(0, this.packets.total - RECENT);
    this.app.live.open({
      path: `/jobs/${this.job}/events`,
      query: () => [["since", String(next)], ["values", "text"]],
      onEvent: (/** @type {string} */ name, /** @type {any} */ data) => {
        if (name !== "message") return this.onEvent(name, data);
        // A break is passed over without a gap; what came twice is the same.
        next = Math.max(next, data.packet + 1);
        return this.packets.add(data);
      },
      onTurn: () => this.#came(null),
      onRefused: (/** @type {any} */ problem) => this.onEvent("refused", problem),
    });
  }

  /** @param {any} error */
  #came(error) {
    this.trouble.hidden = !error;
    if (error) {
      const { text, detail } = explain(error);
      fill(this.trouble, `${text} ${detail} `, h("button", { type: "button", onclick: () => this.#came(null) }, "Try again"));
    }
    if (this.packets.total > 0) fill(this.none);
    this.#tell();
    this.view.refresh();
  }

  #tell() {
    const total = this.packets.total;
    fill(this.total, total > 0 && `${number(total)} ${total === 1 ? "packet" : "packets"}`);
    const fresh = total - this.#seen;
    this.fresh.hidden = this.view.follows || !this.#isRunning || fresh <= 0;
    fill(this.fresh, `${number(fresh)} new, follow \u2193`);
  }

  /** @param {boolean} follows */
  #followed(follows) {
    this.#seen = this.packets.total;
    this.followButton.setAttribute("aria-pressed", String(follows));
    this.#tell();
  }

  /** @param {"wrap" | "times" | "numbers"} key */
  #choose(key) {
    choose(key, !choices[key]);
    this.style();
  }

  /** Shows lines as they were chosen to be. */
  style() {
    for (const key of /** @type {const} */ (["wrap", "times", "numbers"])) {
      this.view.element.classList.toggle(key, choices[key]);
      this.element.querySelector(`[data-choice=${key}]`)?.setAttribute("aria-pressed", String(choices[key]));
    }
    this.view.restyle();
  }

  /** @param {string} label @param {string} key @param {"wrap" | "times" | "numbers"} choice */
  #choice(label, key, choice) {
    const button = this.#toggle(label, key, () => choices[choice], () => this.#choose(choice));
    button.dataset.choice = choice;
    return button;
  }

  /** @param {string} label @param {string} key @param {() => boolean} is @param {(on: boolean) => void} set */
  #toggle(label, key, is, set) {
    return h("button", {
      type: "button", class: "toggle", title: key ? `${label} (${key})` : label, "aria-pressed": is(), onclick: () => set(!is()),
    }, label);
  }
}
