// The arguments of a call: fields where a schema is known, and JSON in any case.

import { fill, h } from "./dom.js";
import { fault, layOut } from "./exact_json.js";
import { field, isWorthIt } from "./schema.js";
import { part, valueOf } from "./schema_form.js";

export class Arguments {
  /** @type {import("./schema_form.js").Part | null} The form, while it is in use. */ #form = null;
  /** @type {any} */ #schema = null;
  #learned = "";

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.editor = h("textarea", { id: "arguments", class: "mono", rows: 4, spellcheck: "false", oninput: onChange, "aria-describedby": "arguments-error" });
    this.editor.value = "[]";
    this.error = h("p", { class: "bad", id: "arguments-error" });
    this.switch = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#turn() });
    this.about = h("p", { class: "quiet" });
    this.place = h("div", null);
    this.element = h("div", { class: "arguments" }, this.about, this.place, this.error, this.switch);
    this.#draw();
  }

  /** @param {string} json */
  set(json) {
    this.#form = null;
    this.#learned = "";
    this.editor.value = json.length < 4000 ? layOut(json) : json;
    this.#draw();
  }

  /** Takes note of what the arguments of the chosen procedure must be. @param {any} schema @param {string} description */
  learn(schema, description) {
    const learned = JSON.stringify(schema) + description;
    if (learned === this.#learned) return;
    this.#learned = learned;
    fill(this.about, description);
    this.#schema = schema && isWorthIt(field(schema)) ? schema : null;
    this.#form = null;
    // Nothing is taken from under somebody's hands; the form is offered.
    if (this.#schema && document.activeElement !== this.editor) this.#toForm();
    this.#draw();
  }

  /** The arguments as JSON text; null if they are not good, which is shown. */
  json() {
    this.clear();
    if (this.#form) {
      if (this.#form.own() !== null) return null;
      return this.#form.json() ?? "[]";
    }
    const text = this.editor.value.trim() || "[]";
    const wrong = fault(text);
    if (wrong) return this.#say(`${wrong.message} (line ${wrong.line}, column ${wrong.column})`);
    return "[{".includes(text[0]) ? text : this.#say("must be a list or an object");
  }

  /** @param {string[]} path @param {string} message */
  tell(path, message) {
    if (this.#form) this.#form.tell(path, message);
    else this.#say(path.length > 0 ? `/${path.join("/")}: ${message}` : message, true);
  }

  clear() {
    this.#form?.clear();
    fill(this.error);
    this.editor.removeAttribute("aria-invalid");
  }

  /** @param {string} message @param {boolean} [more] beside what is there */
  #say(message, more = false) {
    if (!more) fill(this.error);
    this.error.append(this.error.childNodes.length > 0 ? h("br", null) : "", message);
    this.editor.setAttribute("aria-invalid", "true");
    return null;
  }

  /** From the form to JSON, or back. */
  #turn() {
    if (this.#form) {
      this.editor.value = layOut(this.#form.json() ?? "[]");
      this.#form = null;
    } else this.#toForm();
    this.#draw();
    this.onChange();
  }

  #toForm() {
    const value = valueOf(this.editor.value);
    const isEmpty = ["[]", "{}"].includes(JSON.stringify(value));
    this.#form = part(field(this.#schema), isEmpty ? undefined : value, this.onChange);
  }

  #draw() {
    fill(this.error);
    this.switch.hidden = this.#schema === null;
    this.switch.textContent = this.#form ? "Write them as JSON" : "Fill in fields";
    // Moved within the document, an editor loses the focus.
    if (this.place.contains(this.#form?.element ?? this.editor)) return;
    fill(this.place, this.#form
      ? h("fieldset", { class: "fields" }, h("legend", null, "Arguments"), this.#form.element)
      : h("div", { class: "field" }, h("label", { for: "arguments" }, "Arguments, as JSON"), this.editor));
  }
}
