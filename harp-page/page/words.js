// What a job is doing, in words.

import { visible } from "./dom.js";
import { stringify } from "./exact_json.js";
import { duration, full } from "./time.js";

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {"queued" | "running" | "ended"} state
 * @property {null | "returned" | "exception" | "error" | "cancelled"} outcome
 * @property {string | null} error_type
 * @property {string} host
 * @property {string} procedure
 * @property {string} [arguments]
 * @property {string} [info]
 * @property {string} [arguments_head]
 * @property {string} [info_head]
 * @property {{name: any, concurrency: number} | null} queue
 * @property {number | null} ahead
 * @property {string[] | null} holders jobs that hold the places of its queue, eight at most
 * @property {string | null} waiting_for
 * @property {number | null} timeout
 * @property {number | null} max_exec_time
 * @property {number | null} start_by
 * @property {string | null} client
 * @property {string | null} key
 * @property {string | null} batch
 * @property {string | null} service
 * @property {string | null} worker
 * @property {number} submitted
 * @property {number | null} started
 * @property {number | null} ended
 * @property {number} packets
 * @property {number} result_violations
 * @property {boolean} place_kept
 * @property {{unreachable_since: number} | null} host_state
 * @property {{stdout?: string, stderr?: string} | null} [evidence]
 * @property {string} [change]
 */

/** A sign for each state and outcome, beside the word. */
const SIGNS = {
  queued: "\u25cb",
  running: "\u25b6",
  returned: "\u2713",
  exception: "\u2717",
  error: "!",
  cancelled: "\u2298",
};

/**
 * The word for where a job stands.
 *
 * @param {Job} job
 * @returns {keyof typeof SIGNS}
 */
export function standing(job) {
  return job.state === "ended" ? (job.outcome ?? "returned") : job.state;
}

/** @param {keyof typeof SIGNS} word */
export function sign(word) {
  return SIGNS[word] ?? "?";
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/**
 * A number with thin spaces between its thousands.
 *
 * @param {number} value
 */
export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/**
 * A queue's name, shorter than its JSON where it has one key alone.
 *
 * @param {any} queue
 */
export function queueName(queue) {
  const keys = Object.keys(queue);
  const only = keys.length === 1 ? queue[keys[0]] : null;
  return typeof only === "string" && !only.startsWith("\u0001") ? `${keys[0]}=${only}` : stringify(queue);
}

/**
 * Why a job waits, in one sentence; null if it does not.
 *
 * @param {Job} job
 * @returns {string | null}
 */
export function whyItWaits(job) {
  if (job.state === "ended") {
    return job.place_kept
      ? "Its place in the queue is kept: the host has not said yet that nothing of it is left."
      : null;
  }
  if (job.state === "running") {
    const since = job.host_state?.unreachable_since;
    if (since !== undefined) {
      return `The host cannot be reached since ${full(since)}; the call goes on there.`;
    }
    return job.waiting_for === "host"
      ? "It waits at its host, where as many calls run as may." : null;
  }
  const deadline = job.start_by === null ? ""
    : ` It gives up at ${full(job.submitted + job.start_by * 1000)}.`;
  if (job.waiting_for === "store") {
    return `It waits for the job store, which cannot be written at the moment.${deadline}`;
  }
  if (job.waiting_for === "operator") {
    return `It waits for harpcallerd resume: it came with a copy of another job store.${deadline}`;
  }
  if (job.waiting_for === "worker") return `It waits for a worker of its service.${deadline}`;
  if (job.queue === null) return `It starts in a moment.${deadline}`;
  const places = counted(job.queue.concurrency, "place");
  const ahead = job.ahead ?? 0;
  const what = ahead > 0
    ? `${counted(ahead, "job")} of its queue must end first; the queue has ${places}.`
    : `It is the next of its queue, which has ${places}.`;
  return what + deadline;
}

/**
 * How long a job waited and ran, in words.
 *
 * @param {Job} job
 * @param {number} now
 */
export function howLong(job, now) {
  if (job.state === "queued") return `waits for ${duration(now - job.submitted)}`;
  if (job.started === null) {
    return `never started, waited ${duration((job.ended ?? now) - job.submitted)}`;
  }
  if (job.state === "running") return `runs for ${duration(now - job.started)}`;
  return `took ${duration((job.ended ?? now) - job.started)}`;
}

/** What happened, by the code of the failure, or its type where there is none. */
const FAILURES = {
  econnrefused: "refused the connection",
  econnreset: "broke the connection off",
  closed: "broke the connection off",
  etimedout: "did not answer in time",
  ehostunreach: "no way leads there",
  enetunreach: "no way leads there",
  nxdomain: "its name does not exist",
  nodata: "its name has no address",
  eai_again: "the name service did not answer",
  eai_fail: "the name service failed",
  tls: "its certificate is not trusted, or TLS failed",
  auth_error: "did not take the user and password",
  protocol_error: "did not speak the protocol",
};

/**
 * Why a host could not be called, in words; the code itself where there are none for it.
 *
 * @param {{type: string, code: string | null}} failure
 */
export function whyNotReached({ type, code }) {
  const known = code ?? type;
  return Object.hasOwn(FAILURES, known) ? FAILURES[/** @type {keyof typeof FAILURES} */ (known)] : `failed with ${visible(known)}`;
}

/**
 * How a job ended, in one sentence; null if it has not.
 *
 * @param {Job} job
 */
export function howItEnded(job) {
  switch (job.state === "ended" && job.outcome) {
    case "returned": return "The procedure returned.";
    case "exception": return "The procedure raised an exception.";
    case "error": return "The call failed.";
    case "cancelled": return "It was cancelled.";
    default: return null;
  }
}

/**
 * What came of a cancel, in words.
 *
 * @param {{cancelled: boolean, remote?: string}} answer
 */
export function whatCameOfCancel(answer) {
  if (!answer.cancelled) return "It had ended already; nothing was cancelled.";
  switch (answer.remote) {
    case "confirmed": return "Cancelled, confirmed: nothing of the call is left at its host.";
    case "unconfirmed":
      return "Cancelled, unconfirmed: its host has not said yet whether anything of the call is left there.";
    default: return "Cancelled.";
  }
}
