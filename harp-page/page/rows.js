// Rows that are walked through by keys, whatever they are rows of: each has one main link.

/**
 * Moves the focus to the main link of the next row, or the one before.
 *
 * @param {Element} list
 * @param {1 | -1} by
 */
export function walk(list, by) {
  const links = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[data-main]")]);
  if (links.length === 0) return;
  const row = document.activeElement?.closest("li");
  const at = row ? links.findIndex((link) => row.contains(link)) : -1;
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
  links[next].closest("li")?.scrollIntoView({ block: "nearest" });
}

/** The keys of a list. @param {Element} list */
export function rowKeys(list) {
  return { j: () => walk(list, 1), k: () => walk(list, -1) };
}

/**
 * True if something new may come in at the top without moving what somebody is at.
 *
 * @param {Element} list
 */
export function isLeftAlone(list) {
  return !list.matches(":hover") && !list.contains(document.activeElement) && window.scrollY < 80;
}
