// Elements. Whatever comes from users becomes text here, never markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Makes an element. Attributes that begin with `on` are listeners, `class` and others are set
 * as they are, those that are false, null or undefined are left out.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/**
 * Replaces what is in an element.
 *
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  const kept = [];
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    kept.push(typeof child === "number" ? String(child) : child);
  }
  return kept;
}

/**
 * A name that somebody else has chosen: on its own as to the direction of its letters, with
 * what cannot be seen shown.
 *
 * @param {string} text
 * @param {string} [classes]
 */
export function name(text, classes) {
  return h("bdi", { class: classes }, visible(text));
}

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A text with the characters that nobody sees, or that turn others round, in its place.
 *
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSEEN, (sign) => {
    const code = sign.codePointAt(0) ?? 0;
    return code < 32 ? String.fromCodePoint(0x2400 + code) : "\ufffd";
  });
}
