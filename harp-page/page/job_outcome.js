// How a job ended, laid out by its kind.

import { marked } from "./log_row.js";
import { h, name } from "./dom.js";
import { asText, layOut, parse, stringify } from "./exact_json.js";

/** Characters of a value that are shown before it is opened. */
const SHORT = 3000;

/** Characters of a value that is laid out; a longer one stays on its line. */
const LAID_OUT = 300_000;

/**
 * @param {any} outcome the last line of the client protocol, values as text
 * @param {boolean} isAll false: a short result is left to the output
 */
export function outcomeOf(outcome, isAll) {
  if (outcome.result !== undefined) {
    if (!isAll && ["null", '""'].includes(outcome.result)) return null;
    const isShort = outcome.result.length < 100 && !outcome.result.includes("\\n");
    return h("section", { class: isShort ? "outcome returned short" : "outcome returned", "aria-label": "Result" },
      h("h2", null, "Result"), value(outcome.result, isShort));
  }
  const failure = outcome.exception ?? outcome.error;
  if (!failure) return null;
  const kind = outcome.exception ? "exception" : "error";
  const data = typeof failure.data === "string" && outcome.exception ? failure.data
    : failure.data === undefined ? null : stringify(failure.data);
  return h("section", { class: `outcome ${kind}`, "aria-label": kind },
    h("h2", null, name(failure.type, "mono")),
    h("p", { class: "message" }, marked(String(failure.message ?? ""), null)),
    data !== null && data !== "null" && parts(data, String(failure.message ?? "")));
}

/**
 * The data of a failure: texts of several lines, such as tracebacks, stand by themselves; what
 * the message says is not said twice.
 *
 * @param {string} json
 * @param {string} message
 */
function parts(json, message) {
  let data;
  try {
    data = parse(json);
  } catch {
    return value(json);
  }
  if (data === null || typeof data !== "object" || Array.isArray(data)) return value(json);
  /** @type {Record<string, any>} */
  const rest = {};
  const texts = [];
  for (const [key, one] of Object.entries(data)) {
    if (typeof one === "string" && one.trim() === message.trim()) continue;
    if (typeof one === "string" && one.includes("\n")) texts.push([key, one]);
    else rest[key] = one;
  }
  return h("div", null,
    texts.map(([key, text]) => h("div", null, h("h3", null, name(key)), h("pre", { class: "value" }, marked(text, null)))),
    Object.keys(rest).length > 0 && value(stringify(rest), stringify(rest).length < 100));
}

/**
 * A value of a user: a text as it is, other JSON laid out.
 *
 * @param {string} json
 * @param {boolean} [isShort] on one line
 */
export function value(json, isShort = false) {
  const { text, isString } = asText(json);
  const whole = isString || isShort || text.length > LAID_OUT ? text : layOut(text);
  const place = h("pre", { class: isString ? "value" : "value json", tabindex: 0, "aria-label": "Value" });
  const show = (/** @type {number} */ length) => {
    const rest = whole.length - length;
    place.replaceChildren(...marked(whole.slice(0, length), null).map((node) => node));
    if (rest > 0) {
      place.append("\n", h("button", { type: "button", class: "plain", onclick: () => show(length + 100_000) }, `Show ${rest} more characters`));
    }
  };
  show(Math.min(whole.length, whole.length < SHORT * 1.2 ? whole.length : SHORT));
  return place;
}
