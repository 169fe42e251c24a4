// A list of jobs that stays true: pages of it, and what happens since.

import { h } from "./dom.js";
import { jobRow, tick, update } from "./job_row.js";
import { isLeftAlone } from "./rows.js";
import { empty, failed, loading } from "./states.js";
import { timeElement } from "./time.js";
import { counted } from "./words.js";

/** @typedef {import("./words.js").Job} Job */

/** Filters that a job can stop or begin to fit: they are looked at here. */
const CHANGING = ["state", "outcome", "failed", "error_type", "ended_since", "ended_until"];

/** How often the list is read where events may not be. */
const EVERY = 10_000;

/** When a list that could not be read is tried again by itself. */
const AGAIN = 3000;

export class JobList {
  /** @type {Map<string, {job: Job, row: HTMLElement}>} */ #shown = new Map();
  /** @type {Map<string, Job>} Jobs that wait to be taken in, oldest first. */ #fresh = new Map();
  /** @type {string | null} */ #next = null;
  #isLoaded = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #poller;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #again;

  /**
   * @param {any} app
   * @param {[string, string][]} filters
   * @param {(job: Job, change: string) => void} [onEvent]
   * @param {string} [none] what is said where none fits
   */
  constructor(app, filters, onEvent, none = "No job fits.") {
    this.none = none;
    this.app = app;
    this.filters = filters;
    this.onEvent = onEvent;
    this.rows = h("ul", { class: "jobs", role: "list" });
    this.fresh = h("button", { type: "button", class: "fresh", hidden: true, onclick: () => this.#takeIn() });
    this.foot = h("div", { class: "foot" });
    this.place = h("div", null);
    this.element = h("div", { class: "job-list" }, h("div", { class: "above" }, this.fresh), this.place, this.rows, this.foot);
    this.timer = setInterval(() => this.#tick(), 1000);
    this.back = () => this.#reread();
    app.connection.onBack.add(this.back);
    this.#load();
    if (app.may("observe")) {
      app.live.open({
        path: "/events",
        query: () => filters.filter(([name]) => !CHANGING.includes(name)),
        onEvent: (/** @type {string} */ name, /** @type {any} */ data) => this.#event(name, data),
        onRefused: () => this.#poll(),
      });
    } else this.#poll();
  }

  close() {
    clearInterval(this.timer);
    clearInterval(this.#poller);
    clearTimeout(this.#again);
    this.app.connection.onBack.delete(this.back);
  }

  #poll() {
    this.#poller ??= setInterval(() => document.visibilityState === "visible" && this.#reread(), EVERY);
  }

  /** @param {boolean} [isAgain] by itself: what is shown stays until there is something else */
  async #load(isAgain = false) {
    clearTimeout(this.#again);
    if (!isAgain) this.place.replaceChildren(loading("jobs"));
    try {
      const page = await this.app.api.get("/jobs", this.filters);
      this.#isLoaded = true;
      for (const job of page.jobs) this.#append(job);
      this.#foot(page);
    } catch (error) {
      this.place.replaceChildren(failed(error, () => this.#load()));
      // An outage passes; a dispatcher that is away tells by itself when it is back.
      if (/** @type {any} */ (error).status >= 500) this.#again = setTimeout(() => this.#load(true), AGAIN);
    }
  }

  /** @param {any} page */
  #foot(page) {
    this.#next = page.next;
    const isEmpty = this.#shown.size === 0;
    const none = this.filters.length > 0 ? this.none : "No jobs yet.";
    this.place.replaceChildren(isEmpty && page.next === null
      ? empty(none, this.filters.length === 0 && this.app.may("call") && h("p", null, h("a", { href: "#/call" }, "Make the first call")))
      : "");
    if (page.next === null) return this.foot.replaceChildren();
    const more = h("button", { type: "button", onclick: () => this.#more() }, page.complete ? "Older jobs" : "Go on");
    this.foot.replaceChildren(...(page.complete ? [more]
      : [h("span", null, "Looked back to ", timeElement(page.through), "."), " ", more]));
    return undefined;
  }

  async #more() {
    const before = [...this.foot.childNodes];
    this.foot.replaceChildren(loading("older jobs"));
    try {
      const page = await this.app.api.get("/jobs", [...this.filters, ["cursor", this.#next ?? ""]]);
      for (const job of page.jobs) this.#append(job);
      this.#foot(page);
    } catch (error) {
      this.foot.replaceChildren(failed(error, null), ...before);
    }
  }

  /** Finds what was missed, as after a break. */
  async #reread() {
    if (!this.#isLoaded) return this.#load();
    try {
      const page = await this.app.api.get("/jobs", this.filters);
      if (this.#shown.size === 0) this.place.replaceChildren();
      for (const job of page.jobs.reverse()) this.#see(job);
      const now = new Set(page.jobs.map((/** @type {Job} */ job) => job.id));
      for (const [id, { job }] of this.#shown) {
        if (!now.has(id) && job.state !== "ended") this.#look(id);
      }
    } catch (error) {
      // Of a dispatcher that is away the banner tells, and its next answer brings this again.
      if (/** @type {any} */ (error).status === 403) {
        this.rows.replaceChildren();
        this.#shown.clear();
        this.foot.replaceChildren();
        this.place.replaceChildren(failed(error, () => this.#reread()));
      }
    }
    return undefined;
  }

  /** Reads a job that may have changed. @param {string} id */
  async #look(id) {
    try {
      const job = await this.app.api.get(`/jobs/${id}`, [["values", "text"]]);
      this.#see({ ...job, arguments_head: job.arguments.slice(0, 120), info_head: job.info.slice(0, 120) });
    } catch {
      // It may have been pruned since.
    }
  }

  /** @param {string} name @param {any} data */
  #event(name, data) {
    if (name === "job") {
      this.#see(data);
      this.onEvent?.(data, data.change);
    } else if (name === "gone") this.#drop(data.id);
    else if (name === "reset") this.#reread();
    // What may still be read is asked for, which says what has changed.
    else if (name === "forbidden") {
      this.#poll();
      this.#reread();
    }
  }

  /** Takes a job out that was pruned; it stays as long as somebody is at the list. @param {string} id */
  #drop(id) {
    if (this.#fresh.delete(id)) this.#tell();
    const shown = this.#shown.get(id);
    if (!shown || !isLeftAlone(this.element)) return;
    shown.row.remove();
    this.#shown.delete(id);
  }

  /** @param {Job} job */
  #see(job) {
    const shown = this.#shown.get(job.id);
    if (shown) {
      shown.job = job;
      update(shown.row, job);
      return;
    }
    if (!this.#isLoaded || !this.#fits(job)) {
      if (this.#fresh.delete(job.id)) this.#tell();
      return;
    }
    this.#fresh.set(job.id, job);
    if (isLeftAlone(this.element)) this.#takeIn();
    else this.#tell();
  }

  /** True for a job that fits the filters which it did not have when it was submitted. @param {Job} job */
  #fits(job) {
    const any = (/** @type {string} */ name, /** @type {string | null} */ value) => {
      const wanted = this.filters.filter(([there]) => there === name);
      return wanted.length === 0 || wanted.some(([, there]) => there === value);
    };
    const isFailed = job.outcome === "exception" || job.outcome === "error";
    const isEnded = this.filters.every(([name]) => !name.startsWith("ended_")) || job.state === "ended";
    return any("state", job.state) && any("outcome", job.outcome) && any("failed", String(isFailed))
      && any("error_type", job.error_type) && isEnded;
  }

  #tell() {
    this.fresh.hidden = this.#fresh.size === 0;
    this.fresh.textContent = `${counted(this.#fresh.size, "new job")}: show`;
  }

  #takeIn() {
    const fresh = [...this.#fresh.values()].sort((one, other) => one.submitted - other.submitted);
    this.#fresh.clear();
    this.#tell();
    this.place.replaceChildren();
    for (const job of fresh) {
      const row = jobRow(job);
      this.#shown.set(job.id, { job, row });
      this.rows.prepend(row);
    }
  }

  /** @param {Job} job */
  #append(job) {
    if (this.#shown.has(job.id)) return;
    const row = jobRow(job);
    this.#shown.set(job.id, { job, row });
    this.rows.append(row);
  }

  #tick() {
    if (document.visibilityState === "hidden") return;
    for (const { job, row } of this.#shown.values()) tick(row, job);
  }
}
