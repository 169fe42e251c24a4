// Where a search has found something, in the text as it is shown.

/** Places of one text that are marked. */
const MOST = 1000;

/** @typedef {{packet: number, head: string, ranges: [number, number][]}} Match as the dispatcher tells it */

/**
 * Where words occur.
 *
 * @param {string} text
 * @param {string} words
 * @param {boolean} isExact large letters are not small ones
 * @returns {[number, number][]}
 */
export function ofWords(text, words, isExact) {
  const escaped = words.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  /** @type {[number, number][]} */
  const ranges = [];
  // Without anything that repeats, it takes no longer than the text is.
  for (const match of text.matchAll(new RegExp(escaped, isExact ? "gu" : "giu"))) {
    ranges.push([match.index, match.index + match[0].length]);
    if (ranges.length >= MOST) break;
  }
  return ranges;
}

/**
 * Where the dispatcher has found an expression, whose own machine takes linear time, as a
 * browser's does not.
 *
 * @param {string} text
 * @param {Match | undefined} match
 * @returns {[number, number][]}
 */
export function ofMatch(text, match) {
  const from = match ? text.indexOf(match.head) : -1;
  if (!match || from < 0) return [];
  // The dispatcher counts characters, JavaScript halves of surrogate pairs.
  /** @type {number[]} */
  const starts = [];
  let at = from;
  for (const sign of match.head) {
    starts.push(at);
    at += sign.length;
  }
  starts.push(at);
  return match.ranges.slice(0, MOST).map(([start, end]) => [starts[start] ?? at, starts[end] ?? at]);
}
