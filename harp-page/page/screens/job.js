// One job: what it is, why it waits, its output, how it ended.

import { announce } from "../announce.js";
import { fill, h, name } from "../dom.js";
import { stringify } from "../exact_json.js";
import { actions, cancel } from "../job_actions.js";
import { JobLog } from "../job_log.js";
import { outcomeOf, value } from "../job_outcome.js";
import { badge, hostLink, queueLink } from "../job_row.js";
import { address, value as ofQuery } from "../router.js";
import { failed, loading } from "../states.js";
import { duration, timeElement } from "../time.js";
import { howItEnded, howLong, standing, whyItWaits } from "../words.js";

/** @typedef {import("../words.js").Job} Job */

/** When a job that could not be read is tried again by itself. */
const AGAIN = 3000;

/** How often a job that waits is looked at, since its place in the queue is no event. */
const WAITING = 3000;

/** @param {any} app @param {import("../router.js").Route} route */
export function job(app, route) {
  const screen = new JobScreen(app, route.id ?? "", packetOf(route));
  return {
    title: "Job",
    element: screen.element,
    get keys() { return screen.keys; },
    close: () => screen.close(),
    update: (/** @type {import("../router.js").Route} */ other) => screen.show(packetOf(other)),
  };
}

/** @param {import("../router.js").Route} route */
function packetOf(route) {
  const packet = ofQuery(route, "packet");
  return packet !== null && /^\d{1,15}$/.test(packet) ? Number(packet) : null;
}

class JobScreen {
  /** @type {Job | null} */ #job = null;
  /** @type {JobLog | null} */ #log = null;
  /** @type {any} */ #outcome = null;
  #isClosed = false;
  #drawn = "";

  /** @param {any} app @param {string} id @param {number | null} packet */
  constructor(app, id, packet) {
    this.app = app;
    this.id = id;
    this.packet = packet;
    this.head = h("div", { class: "head" });
    this.outcome = h("div", { class: "outcome-place" });
    this.place = h("div", { class: "log-place" });
    this.element = h("div", { class: "screen job-screen" }, this.head, this.outcome, this.place);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.again = undefined;
    this.ticker = setInterval(() => this.#tick(), 1000);
    this.waiter = setInterval(() => this.#lookWhileWaiting(), WAITING);
    this.back = () => this.#read();
    app.connection.onBack.add(this.back);
    this.#load();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.again);
    clearInterval(this.ticker);
    clearInterval(this.waiter);
    this.app.connection.onBack.delete(this.back);
    this.#log?.close();
  }

  /** @returns {import("../keys.js").Bindings} */
  get keys() {
    const own = this.#log?.keys ?? {};
    return {
      ...own,
      x: () => {
        if (this.#job && this.#job.state !== "ended" && this.app.may("cancel") && this.app.connection.state !== "stale") cancel(this.app, this.#job);
      },
    };
  }

  /** @param {number | null} packet */
  show(packet) {
    if (packet !== null) this.#log?.view.show(packet);
  }

  /** @param {boolean} [isAgain] by itself: what is shown stays until there is something else */
  async #load(isAgain = false) {
    clearTimeout(this.again);
    if (!isAgain) fill(this.head, h("h1", { class: "spoken" }, "Job"), loading("the job"));
    try {
      this.#set(await this.app.api.get(`/jobs/${this.id}`, [["values", "text"]]));
    } catch (error) {
      if (this.#isClosed) return;
      fill(this.head, h("h1", { class: "spoken" }, "Job"), failed(error, () => this.#load()));
      // An outage passes; a dispatcher that is away tells by itself when it is back.
      if (/** @type {any} */ (error).status >= 500) this.again = setTimeout(() => this.#load(true), AGAIN);
    }
  }

  /** Looks again, as after a break. */
  async #read() {
    if (this.#job === null) return this.#load();
    try {
      this.#set(await this.app.api.get(`/jobs/${this.id}`, [["values", "text"]]));
    } catch {
      // The banner or the stream says it.
    }
    return undefined;
  }

  #lookWhileWaiting() {
    if (this.#job?.state === "queued" && document.visibilityState === "visible") this.#read();
  }

  /** @param {Job} job */
  async #set(job) {
    if (this.#isClosed) return;
    const before = this.#job;
    // A state is passed once; an answer that was on its way may be older.
    const order = ["queued", "running", "ended"];
    if (before && order.indexOf(job.state) < order.indexOf(before.state)) return;
    this.#job = { ...before, ...job };
    if (before && standing(before) !== standing(job)) announce(`The job is ${standing(job)}`);
    this.#drawHead();
    if (!this.#log) {
      this.#log = new JobLog(this.app, this.#job, this.packet, (name, data) => this.#event(name, data));
      this.place.append(this.#log.element);
      this.app.refreshKeys();
    } else this.#log.setJob(this.#job);
    if (job.state === "ended" && !this.#outcome) {
      try {
        this.#end(await this.app.api.get(`/jobs/${this.id}/result`, [["values", "text"]]));
      } catch (error) {
        fill(this.outcome, failed(error, () => this.#read()));
      }
    }
  }

  /** @param {string} name @param {any} data */
  #event(name, data) {
    if (name === "job") this.#set(data);
    else if (name === "end") {
      this.#outcome = data;
      this.#read().then(() => this.#end(data));
    } else if (name === "gone") {
      fill(this.outcome, h("p", { class: "bad" }, "The job has been pruned: it does not exist any more."));
    } else if (name === "forbidden") {
      fill(this.outcome, h("p", { class: "bad", role: "alert" }, "You may not see this job any more."));
      // Whether that is since the session is over is found out by asking.
      this.#read();
    } else if (name === "refused") fill(this.outcome, failed(data, () => this.#load()));
  }

  /** @param {any} outcome */
  #end(outcome) {
    if (this.#isClosed || outcome.no_result) return;
    this.#outcome = outcome;
    const element = outcomeOf(outcome, (this.#job?.packets ?? 0) === 0);
    this.place.hidden = (this.#job?.packets ?? 0) === 0 && element !== null;
    fill(this.outcome, element);
  }

  #drawHead() {
    const job = /** @type {Job} */ (this.#job);
    document.title = `${standing(job)}: ${job.procedure} on ${job.host} \u2013 HarpCaller`;
    // What never changes, and may be long, and what the sentence alone says.
    const { arguments: _arguments, info: _info, ahead: _ahead, holders: _holders, packets: _packets, ...rest } = job;
    const drawn = JSON.stringify(rest);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      const isOpen = this.head.querySelector("details.facts")?.hasAttribute("open") ?? false;
      fill(this.head,
        h("div", { class: "title" }, badge(job),
          h("h1", null, name(job.procedure, "mono"), h("span", { class: "quiet" }, " on "), h("span", { class: "mono" }, hostLink(job.host))),
          actions(this.app, job)),
        h("p", { class: "sentence" }),
        this.#facts(job, isOpen));
      this.app.connection.apply(this.head);
    }
    const sentence = this.head.querySelector(".sentence");
    if (sentence) fill(sentence, ...this.#sentence(job));
  }

  /** @param {Job} job */
  #sentence(job) {
    const waits = whyItWaits(job);
    const end = howItEnded(job);
    return [
      end, end && " ",
      h("span", { class: "long" }, capital(howLong(job, Date.now()))), ". ",
      waits, waits && job.queue && h("span", null, " Queue: ", queueLink(job.queue), "."),
      waits && holders(job),
    ];
  }

  /** @param {Job} job @param {boolean} isOpen */
  #facts(job, isOpen) {
    const fact = (/** @type {string} */ label, /** @type {import("../dom.js").Child} */ content) =>
      content !== null && content !== false && content !== undefined && h("div", null, h("dt", null, label), h("dd", null, content));
    const text = job.arguments ?? "";
    return h("details", { class: "facts", open: isOpen },
      h("summary", null, h("span", null, "Arguments "), h("code", null, name(text.length > 300 ? `${text.slice(0, 300)}\u2026` : text)),
        job.client && h("span", { class: "quiet" }, " by ", name(job.client))),
      h("dl", null,
        fact("Id", h("code", null, job.id)),
        fact("Arguments", value(text)),
        fact("Info", job.info !== "null" && value(job.info ?? "null")),
        fact("Queue", job.queue && h("span", null, queueLink(job.queue), ` (${job.queue.concurrency} at once)`)),
        fact("Client", job.client && name(job.client)),
        fact("Key", job.key && h("code", null, name(job.key))),
        fact("Submitted", timeElement(job.submitted)),
        fact("Started", job.started !== null && timeElement(job.started)),
        fact("Ended", job.ended !== null && timeElement(job.ended)),
        fact("Limits", limits(job)),
        fact("Worker", job.worker && name(job.worker)),
        fact("Standard output", job.evidence?.stdout && value(stringify(job.evidence.stdout))),
        fact("Standard error", job.evidence?.stderr && value(stringify(job.evidence.stderr))),
        fact("Violations", job.result_violations > 0 && `The result violates its schema in ${job.result_violations} places.`),
        fact("Same procedure", h("a", { href: address(["jobs"], [["host", job.host], ["procedure", job.procedure]]) }, "its jobs on this host"))));
  }

  #tick() {
    const job = this.#job;
    const long = this.head.querySelector(".long");
    if (job && long && job.state !== "ended") long.textContent = capital(howLong(job, Date.now()));
  }
}

/** Whom a job waits for. @param {Job} job */
function holders(job) {
  if (job.state !== "queued" || !job.holders || job.holders.length === 0) return null;
  const links = job.holders.flatMap((id, at) => [at > 0 && ", ", h("a", { href: address(["jobs", id]), class: "mono" }, `\u2026${id.slice(-12)}`)]);
  return h("span", null, job.holders.length === 1 ? " The place is held by " : " Places are held by ", links, ".");
}

/** @param {string} text */
function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** @param {Job} job */
function limits(job) {
  const seconds = (/** @type {number | null} */ value, /** @type {string} */ what) =>
    value === null ? [] : [`${duration(value * 1000)} ${what}`];
  const all = [
    ...seconds(job.start_by, "to start"),
    ...seconds(job.timeout, "without output"),
    ...seconds(job.max_exec_time, "to run"),
  ];
  return all.length > 0 && all.join(", ");
}
