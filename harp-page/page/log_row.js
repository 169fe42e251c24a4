// One packet as a row of the output.

import { runs } from "./ansi.js";
import { h } from "./dom.js";
import { asText, layOut } from "./exact_json.js";
import { ofLine, timeElement } from "./time.js";

/** Lines of a packet that are shown before it is opened. */
const FOLD = 20;

/** Characters that are shown before a packet is opened, and more each time it is. */
const SHORT = 4_000;
const MORE = 100_000;

/**
 * Where a text is to be marked: of the packet of this number, by the text that is shown.
 *
 * @typedef {(number: number, text: string) => [number, number][]} Marker
 */

/** How a packet is shown. @typedef {{shown: number, isLaidOut: boolean}} Opened */

/** @returns {Opened} */
export function closed() {
  return { shown: 0, isLaidOut: false };
}

/**
 * A row.
 *
 * @param {import("./packets.js").Packet} packet
 * @param {object} how
 * @param {string} how.link where the row is to be found
 * @param {Opened} how.opened
 * @param {(opened: Opened) => void} how.onOpen
 * @param {Marker | null} how.search what is to be marked
 */
export function row(packet, { link, opened, onOpen, search }) {
  const { text, isString } = asText(packet.data);
  const whole = opened.isLaidOut ? layOut(text) : text.endsWith("\n") ? text.slice(0, -1) : text;
  const { part, hidden } = cut(whole, opened.shown);
  const content = h("span", { class: isString ? "text" : "text json" }, marked(part, search && ((plain) => search(packet.packet, plain))));
  const buttons = [];
  if (hidden > 0) {
    const lines = whole.slice(part.length).split("\n").length - 1;
    const rest = lines > 0 ? `${lines} more lines` : `${hidden} more characters`;
    buttons.push(opener(`Show ${rest}`, () => onOpen({ ...opened, shown: opened.shown + MORE })));
  }
  if (opened.shown > 0) buttons.push(opener("Fold", () => onOpen({ ...opened, shown: 0 })));
  if (!isString && /^[[{]/.test(text) && text.length > 2) {
    const label = opened.isLaidOut ? "One line" : "Lay out";
    buttons.push(opener(label, () => onOpen({ ...opened, isLaidOut: !opened.isLaidOut })));
  }
  return h("div", { class: "row", "data-packet": packet.packet },
    h("a", { class: "no", href: link, tabindex: -1, "aria-label": `Packet ${packet.packet}` }, packet.packet),
    timeOf(packet),
    h("div", { class: "said" }, content, buttons.length > 0 && h("span", { class: "openers" }, buttons)));
}

/** A row whose packet is not here yet. @param {number} number */
export function emptyRow(number) {
  return h("div", { class: "row missing", "data-missing": number },
    h("span", { class: "no" }, number), h("span", { class: "at" }),
    h("div", { class: "said" }, "\u2026"));
}

/** @param {import("./packets.js").Packet} packet */
function timeOf(packet) {
  const element = timeElement(packet.time, ofLine(packet.time));
  element.className = "at";
  return element;
}

/** @param {string} label @param {() => void} onclick */
function opener(label, onclick) {
  return h("button", { type: "button", class: "plain", onclick }, label);
}

/**
 * The part of a text that is shown, and how many characters are not.
 *
 * @param {string} text
 * @param {number} shown characters beyond those that are shown anyway
 */
export function cut(text, shown) {
  let end = Math.min(text.length, SHORT + shown);
  if (shown === 0) {
    let at = -1;
    for (let line = 0; line < FOLD; line += 1) {
      at = text.indexOf("\n", at + 1);
      if (at < 0) break;
    }
    if (at >= 0) end = Math.min(end, at);
    // A few characters or one line more are shown rather than hidden.
    if (text.length - end < 200 && !text.slice(end + 1).includes("\n")) end = text.length;
  }
  // Neither half of a surrogate pair stands alone.
  if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1])) end -= 1;
  return { part: text.slice(0, end), hidden: text.length - end };
}

/**
 * A text's runs as elements, with what is looked for marked.
 *
 * @param {string} text
 * @param {((plain: string) => [number, number][]) | null} search
 */
export function marked(text, search) {
  const all = runs(text);
  const plain = all.map((run) => run.text).join("");
  const ranges = search ? search(plain) : [];
  const nodes = [];
  let start = 0;
  for (const run of all) {
    const end = start + run.text.length;
    let at = start;
    for (const [from, to] of ranges) {
      if (to <= at || from >= end) continue;
      if (from > at) nodes.push(piece(plain.slice(at, from), run.classes));
      const stop = Math.min(to, end);
      nodes.push(h("mark", null, piece(plain.slice(Math.max(from, at), stop), run.classes)));
      at = stop;
    }
    if (at < end) nodes.push(piece(plain.slice(at, end), run.classes));
    start = end;
  }
  return nodes;
}

/** @param {string} text @param {string} classes */
function piece(text, classes) {
  return classes ? h("span", { class: classes }, text) : text;
}
