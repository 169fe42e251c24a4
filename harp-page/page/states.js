// The faces of something that is not there: it loads, there is none, it failed, it may not be
// seen. None of them looks like another.

import { Problem, Unreachable } from "./api.js";
import { h } from "./dom.js";

/** @param {string} what */
export function loading(what) {
  return h("p", { class: "state", "data-loading": true, role: "status" },
    h("span", { class: "spinner", "aria-hidden": "true" }), `Loading ${what}\u2026`);
}

/** @param {string} text @param {...import("./dom.js").Child} more */
export function empty(text, ...more) {
  return h("div", { class: "state", "data-empty": true }, h("p", null, text), ...more);
}

/** What is no fault of anybody: it passes, or is as somebody wants it. */
const MILD = ["busy", "forbidden", "missing", "outage", "unauthorized"];

/** What stands before some words, so that they are told apart without colours. @type {Record<string, string>} */
const SIGNS = { forbidden: "\u2298", missing: "?", unauthorized: "\u2298" };

/**
 * @param {any} error
 * @param {(() => void) | null} again tries once more
 */
export function failed(error, again) {
  const { kind, text, detail } = explain(error);
  return h("div", { class: `state ${MILD.includes(kind) ? "warning" : "bad"}`, "data-error": kind, role: "alert" },
    h("p", null, h("span", { class: "sign", "aria-hidden": "true" }, `${SIGNS[kind] ?? "!"} `), h("strong", null, text)),
    detail && h("p", { class: "detail" }, detail),
    again && h("button", { type: "button", onclick: again }, "Try again"));
}

/**
 * Why something was not done, in words.
 *
 * @param {any} error
 * @param {string} [unknown] what is said where nobody knows whether it was done
 */
export function explainDeed(error, unknown = "Whether it was done is not known.") {
  const told = explain(error);
  return error instanceof Unreachable ? { ...told, detail: unknown } : told;
}

/**
 * What is wrong, in words.
 *
 * @param {any} error
 * @returns {{kind: string, text: string, detail: string}}
 */
export function explain(error) {
  if (error instanceof Unreachable) {
    return { kind: "unreachable", text: "The dispatcher does not answer.", detail: "This goes on by itself as soon as it does." };
  }
  if (!(error instanceof Problem)) {
    return { kind: "failed", text: "The page has failed here.", detail: String(error?.message ?? error) };
  }
  const { status, type, told } = error;
  const id = told.request_id ? ` Request ${told.request_id}.` : "";
  const because = `${error.message}.${id}`;
  if (status === 403) return { kind: "forbidden", text: "You may not see or do this.", detail: because };
  if (status === 401) return { kind: "unauthorized", text: "You are not logged in.", detail: because };
  if (status === 404) return { kind: "missing", text: `${error.title}.`, detail: because };
  if (status === 429) return { kind: "busy", text: "Too many requests at the moment.", detail: because };
  if (type === "storage_error") {
    const unknown = told.outcome === "unknown" ? " Whether the call was accepted is not known." : "";
    return { kind: "outage", text: "The job store cannot be written at the moment.", detail: because + unknown };
  }
  if (status === 503) return { kind: "busy", text: `${error.title}: try again in a moment.`, detail: because };
  if (status >= 500) return { kind: "failed", text: "The dispatcher has failed.", detail: because };
  return { kind: "refused", text: `${error.title}.`, detail: because };
}
