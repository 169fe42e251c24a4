// A form for the field of a schema. Its value is JSON text, so that numbers stay what was
// typed. Errors stand at the fields that they are about.

import { fill, h } from "./dom.js";
import { asText, fault, parse, stringify } from "./exact_json.js";

/** @typedef {import("./schema.js").Field} Field */

/**
 * @typedef {object} Part
 * @property {HTMLElement} element
 * @property {() => string | undefined} json its value; undefined if it is left out
 * @property {(path: string[], message: string) => boolean} tell shows an error; false if it has no place for it
 * @property {() => void} clear takes the errors away
 * @property {() => string | null} own what the form itself sees to be wrong
 */

let last = 0;

/**
 * @param {Field} field
 * @param {any} value as `parse` gives it; undefined: none yet
 * @param {() => void} onChange
 * @returns {Part}
 */
export function part(field, value, onChange) {
  const initial = value === undefined ? field.initial : value;
  switch (field.kind) {
    case "object": return objectPart(field, initial, onChange);
    case "list": return field.fields ? objectPart(field, initial, onChange) : listPart(field, initial, onChange);
    case "fixed": return fixedPart(field);
    default: return inputPart(field, initial, onChange);
  }
}

/** @param {Field} field @returns {Part} */
function fixedPart(field) {
  const json = stringify(field.value);
  const element = h("p", { class: "fixed" }, field.label && `${field.label}: `, h("code", null, json));
  return { element, json: () => json, tell: () => false, clear: () => {}, own: () => null };
}

/**
 * An input with its label, help and error.
 *
 * @param {Field} field
 * @param {any} initial
 * @param {() => void} onChange
 * @returns {Part}
 */
function inputPart(field, initial, onChange) {
  last += 1;
  const id = `field-${last}`;
  const error = h("p", { class: "bad", id: `${id}-error` });
  const help = field.help ? h("p", { class: "quiet", id: `${id}-help` }, field.help) : null;
  const common = { id, "aria-describedby": `${help ? `${id}-help ` : ""}${id}-error`, oninput: onChange };
  const { control, json } = input(field, initial, common);
  const mark = !field.required && field.kind !== "flag" ? h("span", { class: "quiet" }, " (may be left out)") : "";
  const label = h("label", { for: id }, field.label || "Value", mark);
  const element = field.kind === "flag"
    ? h("div", { class: "field flag" }, control, label, help, error)
    : h("div", { class: "field" }, label, control, help, error);
  const show = (/** @type {string} */ message) => {
    fill(error, message);
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const own = () => {
    const text = json();
    if (text === undefined) return field.required ? "is needed" : null;
    if (field.kind === "number" && !(field.whole ? /^-?\d+$/ : /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/).test(text)) {
      return field.whole ? "must be a whole number" : "must be a number";
    }
    const wrong = fault(text);
    return wrong && `${wrong.message} (line ${wrong.line}, column ${wrong.column})`;
  };
  return {
    element,
    json,
    own: () => {
      const wrong = own();
      if (wrong) show(wrong);
      return wrong;
    },
    tell: (path, message) => {
      // A field of JSON has no places for what is within it.
      show(path.length > 0 ? `/${path.join("/")}: ${message}` : message);
      return true;
    },
    clear: () => show(""),
  };
}

/**
 * @param {Field} field
 * @param {any} initial
 * @param {Record<string, any>} common
 * @returns {{control: HTMLElement, json: () => string | undefined}}
 */
function input(field, initial, common) {
  const leftOut = (/** @type {string} */ text) => text === "" && !field.required;
  switch (field.kind) {
    case "flag": {
      const control = h("input", { type: "checkbox", ...common });
      control.checked = initial === true;
      // A flag that nobody has touched is left out where it may be.
      let isTouched = typeof initial === "boolean" || field.required;
      control.addEventListener("change", () => { isTouched = true; });
      return { control, json: () => (isTouched ? String(control.checked) : undefined) };
    }
    case "choice": {
      const choices = (field.choices ?? []).map((choice) => stringify(choice));
      const control = h("select", common,
        (!field.required || initial === undefined) && h("option", { value: "" }, field.required ? "Choose" : "\u2013"),
        choices.map((json) => h("option", { value: json }, asText(json).text)));
      control.value = initial === undefined ? "" : stringify(initial);
      return { control, json: () => (control.value === "" ? undefined : control.value) };
    }
    case "text": {
      const control = field.lines
        ? h("textarea", { rows: 4, ...common })
        : h("input", { type: field.secret ? "password" : "text", autocomplete: "off", ...common });
      control.value = typeof initial === "string" ? initial : "";
      return { control, json: () => (leftOut(control.value) ? undefined : JSON.stringify(control.value)) };
    }
    case "number": {
      const control = h("input", { type: "text", inputmode: field.whole ? "numeric" : "decimal", autocomplete: "off", ...common });
      control.value = initial === undefined || initial === null ? "" : stringify(initial);
      return { control, json: () => (control.value.trim() === "" ? undefined : control.value.trim()) };
    }
    default: {
      const control = h("textarea", { rows: 3, class: "mono", spellcheck: "false", ...common });
      control.value = initial === undefined ? "" : stringify(initial);
      return { control, json: () => (control.value.trim() === "" ? undefined : control.value.trim()) };
    }
  }
}

/**
 * An object, or a list whose places are different fields.
 *
 * @param {Field} field
 * @param {any} initial
 * @param {() => void} onChange
 * @returns {Part}
 */
function objectPart(field, initial, onChange) {
  const isList = field.kind === "list";
  const parts = new Map((field.fields ?? []).map(([key, one]) => [key, part(one, initial?.[key], onChange)]));
  // Keys that the form does not show stay.
  const rest = isList || initial === null || typeof initial !== "object" || Array.isArray(initial) ? []
    : Object.entries(initial).filter(([key]) => !parts.has(key));
  const error = h("p", { class: "bad" });
  const inner = [...parts.values()].map((one) => one.element);
  const element = field.label
    ? h("fieldset", { class: "group" }, h("legend", null, field.label), field.help && h("p", { class: "quiet" }, field.help), error, inner)
    : h("div", { class: "group" }, field.help && h("p", { class: "quiet" }, field.help), error, inner);
  const there = () => [...parts].flatMap(([key, one]) => {
    const json = one.json();
    return json === undefined ? [] : [/** @type {[string, string]} */ ([key, json])];
  });
  const isLeftOut = () => !field.required && there().length === 0 && rest.length === 0;
  return {
    element,
    json: () => {
      if (isLeftOut()) return undefined;
      if (isList) {
        // Nothing can be left out before a place that is filled.
        const all = [...parts.values()].map((one) => one.json());
        while (all.length > 0 && all.at(-1) === undefined) all.pop();
        return `[${all.map((json) => json ?? "null").join(",")}]`;
      }
      const entries = [...there(), ...rest.map(([key, one]) => [key, stringify(one)])];
      return `{${entries.map(([key, json]) => `${JSON.stringify(key)}:${json}`).join(",")}}`;
    },
    own: () => (isLeftOut() ? null : first([...parts.values()].map((one) => one.own()))),
    tell: ([key, ...path], message) => {
      const one = key === undefined ? undefined : parts.get(key);
      if (one?.tell(path, message)) return true;
      fill(error, key === undefined ? message : `${key}: ${message}`);
      return true;
    },
    clear: () => {
      fill(error);
      for (const one of parts.values()) one.clear();
    },
  };
}

/**
 * A list of equal fields.
 *
 * @param {Field} field
 * @param {any} initial
 * @param {() => void} onChange
 * @returns {Part}
 */
function listPart(field, initial, onChange) {
  const item = /** @type {Field} */ (field.item);
  /** @type {Part[]} */
  let parts = [];
  const error = h("p", { class: "bad" });
  const rows = h("div", { class: "rows" });
  const more = h("button", { type: "button", onclick: () => { add(undefined); onChange(); rows.querySelector("div:last-child input, div:last-child select, div:last-child textarea")?.dispatchEvent(new Event("focus")); } }, "Add");
  const add = (/** @type {any} */ value) => {
    const one = part({ ...item, label: item.label || "Entry", required: true }, value, onChange);
    const row = h("div", { class: "entry" }, one.element,
      h("button", {
        type: "button", class: "plain", "aria-label": "Remove this entry",
        onclick: () => {
          parts = parts.filter((there) => there !== one);
          row.remove();
          onChange();
        },
      }, "Remove"));
    parts.push(one);
    rows.append(row);
  };
  const values = Array.isArray(initial) ? initial : Array.from({ length: field.least ?? 0 });
  for (const value of values) add(value);
  const isLeftOut = () => !field.required && parts.length === 0;
  return {
    element: h("fieldset", { class: "group" }, h("legend", null, field.label || "Entries"), field.help && h("p", { class: "quiet" }, field.help), error, rows, more),
    json: () => (isLeftOut() ? undefined : `[${parts.map((one) => one.json() ?? "null").join(",")}]`),
    own: () => first(parts.map((one) => one.own())),
    tell: ([key, ...path], message) => {
      const one = key === undefined ? undefined : parts[Number(key)];
      if (!one) fill(error, message);
      return one ? one.tell(path, message) : true;
    },
    clear: () => {
      fill(error);
      for (const one of parts) one.clear();
    },
  };
}

/** @param {(string | null)[]} all */
function first(all) {
  return all.find((one) => one !== null) ?? null;
}

/**
 * The keys of a JSON pointer.
 *
 * @param {string} pointer
 */
export function keysOf(pointer) {
  return pointer.split("/").slice(1).map((key) => key.replace(/~1/g, "/").replace(/~0/g, "~"));
}

/**
 * What stands in an editor, as a value; undefined if it is not JSON.
 *
 * @param {string} text
 */
export function valueOf(text) {
  return fault(text) === null ? parse(text) : undefined;
}
