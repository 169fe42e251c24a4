import assert from "node:assert/strict";
import { test } from "node:test";
import { ofMatch, ofWords } from "../page/marks.js";

test("words are marked wherever they occur, whatever they are made of", () => {
  assert.deepEqual(ofWords("Error, error", "error", false), [[0, 5], [7, 12]]);
  assert.deepEqual(ofWords("Error, error", "error", true), [[7, 12]]);
  assert.deepEqual(ofWords("a.c abc (a+)+$", "(a+)+$", false), [[8, 14]]);
  assert.equal(ofWords("a".repeat(5000), "a", false).length, 1000);
});

test("what the dispatcher has found is marked by characters", () => {
  const match = { packet: 7, head: "\u{1f600} error", ranges: [[2, 7]] };
  assert.deepEqual(ofMatch("so: \u{1f600} error!", match), [[7, 12]]);
  assert.deepEqual(ofMatch("another text", match), []);
  assert.deepEqual(ofMatch("text", undefined), []);
});
