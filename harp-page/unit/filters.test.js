import assert from "node:assert/strict";
import { test } from "node:test";
import { asWords, fromQuery, fromText, joined } from "../page/filters.js";

test("what is typed is filters and words", () => {
  assert.deepEqual(fromText('host:web* disk full outcome:error info.user:"ann b" a:b'), [
    ["host", "web*"], ["outcome", "error"], ["info.user", "ann b"], ["q", "disk full a:b"],
  ]);
  assert.deepEqual(fromText("  "), []);
  assert.deepEqual(fromText("http://x"), [["q", "http://x"]]);
});

test("filters of an address are those that there are", () => {
  assert.deepEqual(fromQuery([["host", "a"], ["packet", "1"], ["state", ""], ["arguments.0", "x"]]),
    [["host", "a"], ["arguments.0", "x"]]);
});

test("none stands twice, and a new search replaces the old one", () => {
  assert.deepEqual(joined([["q", "a"], ["host", "b"]], [["q", "c"], ["host", "b"], ["host", "d"]]),
    [["host", "b"], ["q", "c"], ["host", "d"]]);
});

test("filters read as words", () => {
  assert.equal(asWords(["ended_since", "-1h"]), "ended in the last 1 h");
  assert.equal(asWords(["failed", "true"]), "failed");
  assert.equal(asWords(["error_type", "timeout"]), "error type: timeout");
});
