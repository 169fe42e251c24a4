import assert from "node:assert/strict";
import { test } from "node:test";
import { asText, fault, layOut, parse, stringify } from "../page/exact_json.js";

test("numbers stay what they were", () => {
  for (const json of [
    '{"a":12345678901234567890,"b":[1,2.50,1e400,-0]}', "12345678901234567890.10",
    '"12345678901234567890"', '{"12345678901234567890":1}', "null", '[true,false,"\\u0001"]',
  ]) assert.equal(stringify(parse(json)), json);
  assert.equal(parse('{"time":1700000000000}').time, 1700000000000);
});

test("a value is laid out without another change", () => {
  assert.equal(layOut('{"a":[1.50,{}],"b":"x{,}","c":[]}'),
    '{\n  "a": [\n    1.50,\n    {}\n  ],\n  "b": "x{,}",\n  "c": []\n}');
  assert.equal(layOut("12345678901234567890"), "12345678901234567890");
});

test("a string is its text, another value its JSON", () => {
  assert.deepEqual(asText('"a\\nb"'), { text: "a\nb", isString: true });
  assert.deepEqual(asText("1.50"), { text: "1.50", isString: false });
});

test("what is wrong with a text is told with its place", () => {
  for (const good of ["[]", ' {"a": [1, -2.5e3, "x\\n", true, null]} ', '"\\ud800"']) assert.equal(fault(good), null, good);
  const at = (text) => { const found = fault(text); return [found.line, found.column]; };
  assert.deepEqual(at("[1,]"), [1, 4]);
  assert.deepEqual(at('{"a": 1,\n "b" 2}'), [2, 6]);
  assert.deepEqual(at("[1] x"), [1, 5]);
  assert.deepEqual(at(""), [1, 1]);
  assert.deepEqual(at('["abc'), [1, 2]);
  assert.deepEqual(at("[01]"), [1, 3]);
  assert.deepEqual(at("{'a': 1}"), [1, 2]);
  assert.ok(fault("[".repeat(10_000)));
});
