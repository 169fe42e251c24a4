// Where a scroll bar stands for a place in the output. Browsers lay out some millions of
// pixels at most, so for long outputs a pixel of the bar stands for more than one row.

/** The longest that a scroll bar's content is made, in pixels. */
export const LONGEST = 4_000_000;

/**
 * @typedef {object} Sight
 * @property {number} total rows there are
 * @property {number} average height of a row, in pixels
 * @property {number} view height of what is seen, in pixels
 */

/** How long the scroll bar's content is. @param {Sight} sight */
export function length({ total, average, view }) {
  return Math.max(view, Math.min(LONGEST, Math.ceil(total * average)));
}

/** True if a pixel of the bar is more than one of the output. @param {Sight} sight */
export function isScaled({ total, average }) {
  return total * average > LONGEST;
}

/** The greatest row that can stand at the top. @param {Sight} sight */
function last({ total, average, view }) {
  return Math.max(0, total - view / average);
}

/**
 * Where the bar stands for a row at the top; rows may be broken.
 *
 * @param {number} row
 * @param {Sight} sight
 */
export function barOf(row, sight) {
  const most = last(sight);
  const way = length(sight) - sight.view;
  return most === 0 ? 0 : Math.round(Math.min(1, row / most) * way);
}

/**
 * The row at the top for a place of the bar.
 *
 * @param {number} bar
 * @param {Sight} sight
 */
export function rowOf(bar, sight) {
  const way = length(sight) - sight.view;
  return way <= 0 ? 0 : Math.min(1, Math.max(0, bar / way)) * last(sight);
}
