// What of a JSON Schema can be asked for by a form. Whatever else a schema says is left to the
// dispatcher, which checks it all.

/**
 * @typedef {object} Field
 * @property {"text" | "number" | "flag" | "choice" | "fixed" | "object" | "list" | "json"} kind
 * @property {string} label
 * @property {string} help
 * @property {boolean} required
 * @property {any} [initial]
 * @property {any[]} [choices] values of a choice
 * @property {any} [value] of what is fixed
 * @property {boolean} [whole] a number without a fraction
 * @property {boolean} [lines] a text of several lines
 * @property {boolean} [secret]
 * @property {[string, Field][]} [fields] of an object; of a list whose places differ, by index
 * @property {Field} [item] of a list
 * @property {number} [least] entries of a list
 * @property {number} [most]
 */

/** How deep objects are taken apart. */
const DEEPEST = 6;

/**
 * The field of a schema.
 *
 * @param {any} schema
 * @param {string} [label]
 * @param {boolean} [required]
 * @returns {Field}
 */
export function field(schema, label = "", required = true) {
  return of(schema, schema, { label, required, depth: 0 });
}

/**
 * True if a form has more to offer than an editor of JSON.
 *
 * @param {Field} field
 */
export function isWorthIt(field) {
  return field.kind !== "json" && field.kind !== "fixed";
}

/**
 * @param {any} schema
 * @param {any} root
 * @param {{label: string, required: boolean, depth: number}} at
 * @returns {Field}
 */
function of(schema, root, { label, required, depth }) {
  const own = resolved(schema, root);
  const base = {
    label: typeof own?.title === "string" ? own.title : label,
    help: typeof own?.description === "string" ? own.description : "",
    required,
    initial: own?.default,
  };
  const json = /** @type {Field} */ ({ ...base, kind: "json" });
  if (own === null || typeof own !== "object" || depth > DEEPEST) return json;
  if (own.const !== undefined) return { ...base, kind: "fixed", value: own.const };
  if (Array.isArray(own.enum)) return { ...base, kind: "choice", choices: own.enum };
  // Alternatives are more than a form can show.
  if (own.oneOf || own.anyOf || own.allOf || own.if || own.not) return json;
  const inner = (/** @type {any} */ part, /** @type {string} */ name, /** @type {boolean} */ isRequired) =>
    of(part, root, { label: name, required: isRequired, depth: depth + 1 });
  switch (kindOf(own)) {
    case "string":
      return { ...base, kind: "text", lines: own.maxLength > 200 || own.format === "multiline", secret: own.format === "password" || own.writeOnly === true };
    case "integer": return { ...base, kind: "number", whole: true };
    case "number": return { ...base, kind: "number", whole: false };
    case "boolean": return { ...base, kind: "flag" };
    case "object": {
      const names = Object.entries(own.properties ?? {});
      // What may have any keys is written as JSON.
      if (names.length === 0 || own.patternProperties) return json;
      const isRequired = (/** @type {string} */ name) => Array.isArray(own.required) && own.required.includes(name);
      return { ...base, kind: "object", fields: names.map(([name, part]) => [name, inner(part, name, isRequired(name))]) };
    }
    case "array": {
      const places = own.prefixItems ?? (Array.isArray(own.items) ? own.items : null);
      if (places) {
        const least = own.minItems ?? 0;
        /** @type {[string, Field][]} */
        const fields = places.map((/** @type {any} */ part, /** @type {number} */ at) => [String(at), inner(part, `${at + 1}.`, at < least)]);
        return { ...base, kind: "list", fields };
      }
      const item = inner(own.items ?? true, "", true);
      return item.kind === "json" ? json : { ...base, kind: "list", item, least: own.minItems ?? 0, most: own.maxItems ?? Infinity };
    }
    default: return json;
  }
}

/**
 * The one type of a schema; null beside it may be left out.
 *
 * @param {any} schema
 */
function kindOf(schema) {
  const types = [schema.type].flat().filter((type) => type !== "null");
  if (types.length === 1 && types[0]) return types[0];
  if (types.length === 0 || types[0] === undefined) {
    if (schema.properties) return "object";
    if (schema.prefixItems || schema.items) return "array";
  }
  return null;
}

/**
 * A schema with its references within the document followed.
 *
 * @param {any} schema
 * @param {any} root
 */
function resolved(schema, root) {
  let own = schema;
  for (let hop = 0; hop < 8 && typeof own?.$ref === "string"; hop += 1) {
    if (!own.$ref.startsWith("#")) return null;
    const path = own.$ref.slice(1).split("/").slice(1);
    /** @type {any} */
    let found = root;
    for (const part of path) {
      const key = decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~");
      found = found !== null && typeof found === "object" && Object.hasOwn(found, key) ? found[key] : null;
    }
    const { $ref: _ref, ...beside } = own;
    own = found === null || typeof found !== "object" ? null : { ...found, ...beside };
  }
  return own;
}
