import assert from "node:assert/strict";
import { test } from "node:test";
import { field, isWorthIt } from "../page/schema.js";

test("an object is a field for each of its properties", () => {
  const object = field({
    type: "object", required: ["release"],
    properties: {
      release: { type: "integer", description: "Which one" },
      notes: { type: "string", maxLength: 5000 },
      force: { type: "boolean", default: false },
      where: { enum: ["here", "there", 3] },
      what: { const: 7 },
      tags: { type: "array", items: { type: "string" }, minItems: 1 },
    },
  });
  assert.equal(object.kind, "object");
  const kinds = object.fields.map(([name, one]) => [name, one.kind, one.required]);
  assert.deepEqual(kinds, [
    ["release", "number", true], ["notes", "text", false], ["force", "flag", false],
    ["where", "choice", false], ["what", "fixed", false], ["tags", "list", false],
  ]);
  const [release, notes, force] = object.fields.map(([, one]) => one);
  assert.deepEqual([release.help, release.whole, notes.lines, force.initial], ["Which one", true, true, false]);
});

test("a list may have places that differ", () => {
  for (const schema of [
    { type: "array", prefixItems: [{ type: "string", title: "Name" }, { type: "number" }], minItems: 1 },
    { type: "array", items: [{ type: "string", title: "Name" }, { type: "number" }], minItems: 1 },
  ]) {
    const list = field(schema);
    assert.deepEqual(list.fields.map(([, one]) => [one.label, one.kind, one.required]), [["Name", "text", true], ["2.", "number", false]]);
  }
});

test("references within the schema are followed, others and circles are not", () => {
  const schema = {
    $ref: "#/$defs/point",
    $defs: { point: { type: "object", properties: { x: { $ref: "#/$defs/number" }, next: { $ref: "#/$defs/point" } } }, number: { type: "number" } },
  };
  const point = field(schema);
  assert.equal(point.fields[0][1].kind, "number");
  let [, inner] = point.fields[1];
  while (inner.kind === "object") [, inner] = inner.fields[1];
  assert.equal(inner.kind, "json");
  assert.equal(field({ $ref: "http://127.0.0.1/x" }).kind, "json");
  assert.equal(field({ $ref: "#/constructor" }).kind, "json");
});

test("what a form cannot show is JSON", () => {
  for (const schema of [true, {}, { oneOf: [{ type: "string" }] }, { type: ["string", "number"] }, { type: "object" }, { type: "array" }, null]) {
    assert.equal(isWorthIt(field(schema)), false, JSON.stringify(schema));
  }
  assert.equal(field({ type: ["string", "null"] }).kind, "text");
  assert.equal(field({ properties: { a: {} } }).kind, "object");
});
