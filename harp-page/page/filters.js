// Filters of the list of jobs: as they are typed, as they are shown, as the API has them.

/** @typedef {[string, string]} Filter */

/** Names that the API has, apart from `info.PATH` and `arguments.PATH`. */
const NAMES = [
  "state", "outcome", "error_type", "failed", "host", "procedure", "client", "queue", "batch",
  "service", "key", "submitted_since", "submitted_until", "ended_since", "ended_until", "q",
];

/** @param {string} name */
export function isFilter(name) {
  return NAMES.includes(name) || /^(info|arguments)\..+/.test(name);
}

/**
 * Filters from what was typed: `name:value`, the value perhaps in quotes, and words that are
 * looked for anywhere.
 *
 * @param {string} text
 * @returns {Filter[]}
 */
export function fromText(text) {
  /** @type {Filter[]} */
  const filters = [];
  const words = [];
  for (const [part, name, quoted, plain] of text.matchAll(/([\w.]+):(?:"([^"]*)"|(\S+))|\S+/g)) {
    const value = quoted ?? plain;
    if (name !== undefined && value !== undefined && isFilter(name)) filters.push([name, value]);
    else words.push(part);
  }
  if (words.length > 0) filters.push(["q", words.join(" ")]);
  return filters;
}

/**
 * The filters of an address, others left out.
 *
 * @param {[string, string][]} query
 * @returns {Filter[]}
 */
export function fromQuery(query) {
  return query.filter(([name, value]) => isFilter(name) && value !== "");
}

/**
 * These filters with more of them, none twice; a new text to look for replaces the old one.
 *
 * @param {Filter[]} filters
 * @param {Filter[]} more
 */
export function joined(filters, more) {
  const has = (/** @type {Filter[]} */ all, /** @type {Filter} */ [name, value]) =>
    all.some((there) => there[0] === name && there[1] === value);
  const isNew = more.some(([name]) => name === "q");
  const kept = filters.filter(([name]) => !(isNew && name === "q"));
  return [...kept, ...more.filter((filter) => !has(kept, filter))];
}

/**
 * How a filter reads.
 *
 * @param {Filter} filter
 */
export function asWords([name, value]) {
  if (name === "failed") return value === "true" ? "failed" : "not failed";
  if (name === "q") return `\u201c${value}\u201d`;
  const since = /^-(\d+)([smhd])$/.exec(value);
  if (since && name.endsWith("_since")) {
    const unit = { s: "s", m: "min", h: "h", d: "d" }[since[2]];
    return `${name.replace("_since", "")} in the last ${since[1]} ${unit}`;
  }
  return `${name.replace(/_/g, " ")}: ${value}`;
}
