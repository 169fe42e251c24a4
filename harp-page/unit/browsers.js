// Holds the page against the browsers that are served, by MDN's data on what each of them has:
//
//     node harp-page/unit/browsers.js target/page-tools/node_modules/@mdn/browser-compat-data/data.json
//
// Properties, selectors and rules of the styles are looked up by their names. Of the modules, what is
// called or made and is not the page's own is looked up; it counts as late only if nothing of that
// name, in any interface, is in a browser: the data do not know whose member it is.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The oldest version of each that is served. */
const SERVED = { safari: 17, safari_ios: 17, firefox: 128, chrome: 130 };

/** What some of them lack, and why the page is as good without. */
const SPARED = {
  "overflow-anchor": "Safari moves nothing by itself, which is what `none` asks for",
  "text-size-adjust": "for Safari on phones alone, which zooms by itself when it is turned",
  "-webkit-details-marker": "for Safari alone, the others go by `list-style`",
  resize: "nobody pulls at a field on a phone",
};

/** @param {any} version */
const number = (version) => (version === true ? 0 : parseFloat(String(version).replace("\u2264", "")));

/** @param {any} support what the data say of one browser @returns {{from: number, to: number, prefix?: string}[]} */
function versions(support) {
  const all = Array.isArray(support) ? support : [support];
  return all
    .filter((one) => one?.version_added && !one.flags && !one.alternative_name)
    .map((one) => ({ from: number(one.version_added), to: number(one.version_removed ?? "999"), prefix: one.prefix }));
}

/**
 * The browsers that lack something.
 *
 * @param {any} compat
 * @param {(prefix: string) => boolean} [hasPrefixed] whether it stands there with a prefix, too
 */
function lacking(compat, hasPrefixed = () => false) {
  return Object.entries(SERVED)
    .filter(([browser, oldest]) => !versions(compat.support[browser])
      .some(({ from, to, prefix }) => from <= oldest && oldest < to && (!prefix || hasPrefixed(prefix))))
    .map(([browser]) => browser);
}

/** Every entry of the data below some of its parts, by its name. @param {any[]} parts */
function byName(parts) {
  /** @type {Map<string, any[]>} */
  const found = new Map();
  const walk = (/** @type {any} */ node) => {
    for (const [name, child] of Object.entries(node)) {
      if (name === "__compat" || typeof child !== "object" || child === null) continue;
      if (child.__compat) found.set(name, [...(found.get(name) ?? []), child.__compat]);
      walk(child);
    }
  };
  parts.forEach(walk);
  return found;
}

/** Files of a folder of the page. @param {string} ending */
function files(ending) {
  const page = join(import.meta.dirname, "../page");
  const names = readdirSync(page, { recursive: true }).map(String);
  return names.filter((name) => name.endsWith(ending)).map((name) => ({ name, text: readFileSync(join(page, name), "utf8") }));
}

/** @param {string} text @param {RegExp} pattern */
const names = (text, pattern) => new Set([...text.matchAll(pattern)].map((match) => match[1]));

const data = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { properties, selectors, "at-rules": rules } = data.css;
const known = byName([data.api, data.javascript.builtins]);
const problems = [];
let looked = 0;

/** @param {string} file @param {string} name @param {string[]} browsers */
function judge(file, name, browsers) {
  looked += 1;
  if (browsers.length > 0 && !(name in SPARED)) problems.push(`${file}: ${name} is not in ${browsers.join(", ")}`);
}

for (const { name: file, text } of files(".css")) {
  const styles = text.replace(/\/\*[\s\S]*?\*\//g, "");
  const own = names(styles, /[;{]\s*(-?[a-z][a-z-]*)\s*:/g);
  for (const written of own) {
    const property = written.replace(/^-webkit-/, "");
    const compat = properties[property]?.__compat;
    if (compat) judge(file, property, lacking(compat, (prefix) => own.has(prefix + property)));
    else judge(file, property, ["any"]);
  }
  for (const selector of names(styles, /::?([a-z-]+)(?=[^;{}]*\{)/g)) {
    if (selectors[selector]) judge(file, selector, lacking(selectors[selector].__compat));
    else judge(file, selector, ["any"]);
  }
  for (const rule of names(styles, /@([a-z-]+)/g)) judge(file, rule, lacking(rules[rule].__compat));
}
const modules = files(".js").map(({ name, text }) => ({ name, text: text.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, "") }));
const theirs = new Set(modules.flatMap(({ text }) => [
  ...names(text, /\b([A-Za-z]\w*)\s*(?:=(?![=>])|:|\([^()]*\)\s*\{)/g),
]));
for (const { name: file, text } of modules) {
  for (const name of names(text, /(?:\.|\bnew )([A-Za-z]\w*)\s*\(/g)) {
    const all = known.get(name);
    if (!all || theirs.has(name)) continue;
    const lack = all.map((compat) => lacking(compat));
    judge(file, name, lack.every((browsers) => browsers.length > 0) ? lack[0] : []);
  }
}
console.log(`${looked} uses were looked up for ${Object.entries(SERVED).map((pair) => pair.join(" ")).join(", ")}`);
problems.forEach((problem) => console.error(problem));
process.exitCode = problems.length > 0 || looked < 200 ? 1 : 0;
