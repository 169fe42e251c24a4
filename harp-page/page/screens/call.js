// A new call: host, procedure, arguments, and what else it may say. It is checked as it is
// typed, and made once however often the button is pressed.

import { announce } from "../announce.js";
import { Problem, Text } from "../api.js";
import { Arguments } from "../arguments.js";
import { fill, h } from "../dom.js";
import { fault, parse, stringify } from "../exact_json.js";
import { address, value } from "../router.js";
import { keysOf } from "../schema_form.js";
import { explainDeed } from "../states.js";

/** How long after the last letter a call is checked, in milliseconds. */
const REST = 350;

/** After how long it is said that the answer to a call takes its time, and how long it may. */
const SLOW = 2000;
const PATIENCE = 60_000;

/** @param {any} app @param {import("../router.js").Route} route */
export function call(app, route) {
  const screen = new CallScreen(app, route);
  return { title: "Call", element: screen.element, keys: {}, close: () => screen.close() };
}

class CallScreen {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {AbortController | null} */ #checking = null;
  #key = newKey();
  #isSending = false;
  /** Fields that somebody has been in: others are not told what they lack. */
  #isTouched = false;
  #lastBody = "";

  /** @param {any} app @param {import("../router.js").Route} route */
  constructor(app, route) {
    this.app = app;
    const changed = () => this.#changed();
    const text = (/** @type {Record<string, any>} */ attributes) => h("input", { type: "text", autocomplete: "off", spellcheck: "false", oninput: changed, ...attributes });
    this.hostNames = h("datalist", { id: "host-names" });
    this.procedureNames = h("datalist", { id: "procedure-names" });
    this.host = text({ id: "host", list: "host-names", required: true });
    this.procedure = text({ id: "procedure", list: "procedure-names", required: true });
    this.arguments = new Arguments(changed);
    this.queue = text({ id: "queue", class: "mono", placeholder: '{"deploy": "web"}' });
    this.concurrency = text({ id: "concurrency", inputmode: "numeric", placeholder: "1" });
    this.timeout = text({ id: "timeout", inputmode: "numeric" });
    this.longest = text({ id: "max_exec_time", inputmode: "numeric" });
    this.startBy = text({ id: "start_by", inputmode: "numeric" });
    this.info = text({ id: "info", class: "mono", placeholder: "any JSON" });
    this.verdict = h("p", { class: "verdict", role: "status" });
    this.problem = h("div", { role: "alert" });
    this.button = h("button", { type: "submit", class: "primary", "data-acts": true }, "Call");
    this.more = h("details", { class: "more" }, h("summary", null, "Queue, limits, info"),
      h("div", { class: "pair" },
        this.#field("Queue", this.queue, "Its name, a JSON object. Jobs of one queue wait for each other."),
        this.#field("Concurrency", this.concurrency, "How many of its jobs run at once.")),
      h("div", { class: "pair" },
        this.#field("Seconds without output", this.timeout, "Then the call ends."),
        this.#field("Seconds to run", this.longest, "All in all."),
        this.#field("Seconds to start", this.startBy, "It is not started later than that.")),
      this.#field("Info", this.info, "For people and searches, such as who asked for it."));
    this.element = h("div", { class: "screen narrow" },
      h("div", { class: "top" }, h("h1", null, "Call")),
      h("form", { class: "call", novalidate: true, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); this.#send(); } },
        h("div", { class: "pair" }, this.#field("Host", this.host, ""), this.#field("Procedure", this.procedure, "")),
        this.arguments.element, this.more, this.problem,
        h("div", { class: "actions" }, this.button, this.verdict)),
      this.hostNames, this.procedureNames);
    this.host.addEventListener("input", () => this.#complete());
    this.host.addEventListener("change", () => this.#learn());
    this.procedure.addEventListener("change", () => this.#learn());
    this.host.value = value(route, "host") ?? "";
    this.procedure.value = value(route, "procedure") ?? "";
    const again = value(route, "again");
    if (again) this.#copy(again);
    else {
      this.#complete();
      this.#learn();
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#checking?.abort();
  }

  /** @param {string} label @param {HTMLInputElement} input @param {string} help */
  #field(label, input, help) {
    const error = h("span", { class: "bad", id: `${input.id}-error`, "data-error-of": input.id });
    input.setAttribute("aria-describedby", `${input.id}-help ${input.id}-error`);
    return h("div", { class: "field" }, h("label", { for: input.id }, label), input,
      h("span", { class: "quiet", id: `${input.id}-help` }, help), error);
  }

  /** Takes over the call of a job. @param {string} id */
  async #copy(id) {
    try {
      const job = await this.app.api.get(`/jobs/${encodeURIComponent(id)}`, [["values", "text"]]);
      this.host.value = job.host;
      this.procedure.value = job.procedure;
      await this.#learn(job.arguments);
      this.queue.value = job.queue ? stringify(job.queue.name) : "";
      this.concurrency.value = job.queue ? String(job.queue.concurrency) : "";
      this.timeout.value = job.timeout ?? "";
      this.longest.value = job.max_exec_time ?? "";
      this.startBy.value = job.start_by ?? "";
      this.info.value = job.info === "null" ? "" : job.info;
      this.more.open = [this.queue, this.info, this.startBy].some((field) => field.value !== "");
      this.button.textContent = "Call again";
      this.button.focus();
      this.#changed();
    } catch (error) {
      this.#show(error);
    }
  }

  /** Hosts that may be meant. */
  async #complete() {
    if (!this.app.may("observe")) return;
    try {
      const { hosts } = await this.app.api.get("/hosts", [["q", this.host.value], ["limit", "50"]]);
      fill(this.hostNames, hosts.map((/** @type {any} */ host) => h("option", { value: host.name })));
    } catch {
      // A name can be typed without help.
    }
  }

  /**
   * What is known of the host's procedures, and a form for the chosen one.
   *
   * @param {string} [json] arguments to begin with
   */
  async #learn(json) {
    const host = this.host.value.trim();
    if (json !== undefined) this.arguments.set(json);
    if (host === "") return;
    let known = [];
    try {
      known = (await this.app.api.get(`/hosts/${encodeURIComponent(host)}/procedures`)).procedures;
    } catch {
      known = await this.#called(host);
    }
    fill(this.procedureNames, known.map((/** @type {any} */ one) => h("option", { value: one.name }, one.description ?? "")));
    const chosen = known.find((/** @type {any} */ one) => one.name === this.procedure.value.trim());
    this.arguments.learn(chosen?.arguments_schema ?? null, chosen?.description ?? "");
  }

  /** Procedures that have been called there lately. @param {string} host */
  async #called(host) {
    try {
      const { jobs } = await this.app.api.get("/jobs", [["host", host], ["limit", "100"]]);
      const names = new Set(jobs.map((/** @type {any} */ job) => job.procedure));
      return [...names].map((name) => ({ name }));
    } catch {
      return [];
    }
  }

  #changed() {
    clearTimeout(this.#timer);
    this.#isTouched = true;
    this.#timer = setTimeout(() => this.#check(), REST);
  }

  /** The call as JSON; null if a field says that it cannot be. */
  #body() {
    /** @type {string[]} */
    const entries = [];
    let isGood = true;
    const told = (/** @type {HTMLInputElement} */ input, /** @type {string} */ message) => {
      this.#tell(input.id, message);
      if (message) isGood = false;
    };
    for (const input of [this.host, this.procedure]) {
      const name = input.value.trim();
      told(input, name === "" ? "is needed" : "");
      entries.push(`"${input.id}":${JSON.stringify(name)}`);
    }
    const json = this.arguments.json();
    if (json === null) isGood = false;
    else entries.push(`"arguments":${json}`);
    const number = (/** @type {HTMLInputElement} */ input) => {
      const text = input.value.trim();
      told(input, text === "" || /^[1-9]\d*$/.test(text) ? "" : "must be a whole number");
      return text;
    };
    for (const input of [this.timeout, this.longest, this.startBy]) {
      const text = number(input);
      if (text) entries.push(`"${input.id}":${text}`);
    }
    const concurrency = number(this.concurrency);
    const queue = this.queue.value.trim();
    const wrong = queue && fault(queue);
    told(this.queue, wrong ? wrong.message : queue && queue[0] !== "{" ? "must be an object" : "");
    if (queue) entries.push(`"queue":{"name":${queue}${concurrency ? `,"concurrency":${concurrency}` : ""}}`);
    const info = this.info.value.trim();
    if (info) entries.push(`"info":${fault(info) ? JSON.stringify(info) : info}`);
    return isGood ? `{${entries.join(",")}}` : null;
  }

  async #check() {
    const body = this.#body();
    this.#checking?.abort();
    fill(this.problem);
    if (body === null) return fill(this.verdict);
    if (body !== this.#lastBody) {
      this.#lastBody = body;
      this.#key = newKey();
    }
    const checking = new AbortController();
    this.#checking = checking;
    try {
      const answer = await this.app.api.post("/jobs/check", new Text(body), { signal: checking.signal });
      this.arguments.clear();
      this.#say(answer.host_known ? "This would be accepted." : "The hosts registry does not know this host: the call would be accepted, and fail if that stays so.", !answer.host_known);
    } catch (error) {
      if (!checking.signal.aborted) this.#show(error);
    }
    return undefined;
  }

  async #send() {
    if (this.#isSending) return;
    clearTimeout(this.#timer);
    const body = this.#body();
    if (body === null) {
      /** @type {HTMLElement | null} */ (this.element.querySelector("[aria-invalid=true]"))?.focus();
      return;
    }
    if (body !== this.#lastBody) {
      this.#lastBody = body;
      this.#key = newKey();
    }
    this.#checking?.abort();
    this.#isSending = true;
    this.button.disabled = true;
    fill(this.problem);
    this.#say("");
    const slow = setTimeout(() => this.#say("The dispatcher has not answered yet: it may be waiting for its disk.", true), SLOW);
    try {
      const job = await this.app.api.post("/jobs", new Text(body), { headers: { "Idempotency-Key": `"${this.#key}"` }, patience: PATIENCE });
      announce("The call was accepted");
      this.app.go(address(["jobs", job.id]));
    } catch (error) {
      // Sent again, it is the same call: an answer may have been lost.
      this.#show(error);
      this.#isSending = false;
      this.button.disabled = this.app.connection.state === "stale";
    } finally {
      clearTimeout(slow);
    }
  }

  /** What is to be said of the call as it stands. @param {string} text @param {boolean} [isWarning] */
  #say(text, isWarning = false) {
    fill(this.verdict, text);
    this.verdict.classList.toggle("warning", isWarning);
  }

  /** @param {any} error */
  #show(error) {
    fill(this.verdict);
    if (error instanceof Problem) {
      const { errors, field } = error.told;
      if (Array.isArray(errors) && errors.length > 0) {
        this.arguments.clear();
        for (const one of errors) this.arguments.tell(keysOf(one.path ?? ""), one.message);
        return;
      }
      const place = String(field ?? "").split(".")[0];
      if (place === "arguments") return this.arguments.tell([], error.message);
      if (this.#tell(place, error.message)) return;
    }
    const { text, detail, kind } = explainDeed(error, "Whether the call was accepted is not known. Sent again, it is the same call.");
    fill(this.problem, h("p", { class: "bad", "data-error": kind }, h("strong", null, text), " ", detail));
  }

  /** @param {string} id @param {string} message @returns {boolean} */
  #tell(id, message) {
    const place = id && this.element.querySelector(`[data-error-of="${CSS.escape(id)}"]`);
    if (!place) return false;
    fill(place, message);
    const input = this.element.querySelector(`#${CSS.escape(id)}`);
    if (message) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
    return true;
  }
}

/** A name that no other call has. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
