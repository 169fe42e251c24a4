// What a person has chosen for this browser, and keeps over its restarts.

const PREFIX = "harp.";

/**
 * @typedef {object} Choices
 * @property {"system" | "light" | "dark"} theme
 * @property {boolean} utc
 * @property {boolean} keys
 * @property {boolean} wrap
 * @property {boolean} times
 * @property {boolean} numbers
 */

/** @type {Choices} */
const USUAL = { theme: "system", utc: false, keys: true, wrap: true, times: false, numbers: true };

/** The choices in force. @type {Choices} */
export const choices = read();

function read() {
  /** @type {any} */
  const read = { ...USUAL };
  for (const key of Object.keys(USUAL)) {
    const kept = load(key);
    if (kept !== null) read[key] = typeof read[key] === "boolean" ? kept === "true" : kept;
  }
  return read;
}

/**
 * @template {keyof Choices} K
 * @param {K} key
 * @param {Choices[K]} value
 */
export function choose(key, value) {
  choices[key] = value;
  save(key, String(value));
}

/** Sets the theme in force, which follows the system unless one was chosen. */
export function applyTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = choices.theme === "dark" || (choices.theme === "system" && dark.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}

/** @param {string} key */
export function load(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string | null} value null: forget it */
export function save(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    // A browser that keeps nothing: the choice holds until the page is closed.
  }
}
