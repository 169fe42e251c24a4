// Addresses of screens: `#/jobs?state=queued`, `#/jobs/ID?packet=7`. They are relative, so
// that the page works below any prefix.

/**
 * @typedef {object} Route
 * @property {string} screen
 * @property {string | null} id
 * @property {[string, string][]} query
 */

/** Screens whose address has a name behind it, with the screen that this is. */
const WITH_NAME = { jobs: "job", queues: "queue", hosts: "host", services: "service" };

/** Screens without one. */
const PLAIN = ["jobs", "queues", "hosts", "services", "call"];

/**
 * Reads the part of an address behind `#`.
 *
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const query = [...new URLSearchParams(search)];
  const [first = "", ...rest] = path.split("/");
  const id = rest.length > 0 ? decoded(rest.join("/")) : "";
  if (first === "") return { screen: "jobs", id: null, query };
  if (id !== "" && Object.hasOwn(WITH_NAME, first)) {
    return { screen: WITH_NAME[/** @type {keyof typeof WITH_NAME} */ (first)], id, query };
  }
  const screen = PLAIN.includes(first) && id === "" ? first : "missing";
  return { screen, id: null, query };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The address of a screen.
 *
 * @param {string[]} path
 * @param {Iterable<[string, string]>} [query]
 */
export function address(path, query = []) {
  const search = new URLSearchParams([...query]).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/**
 * The first value of a name.
 *
 * @param {Route} route
 * @param {string} name
 */
export function value(route, name) {
  return route.query.find(([there]) => there === name)?.[1] ?? null;
}
