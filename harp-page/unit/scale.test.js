import assert from "node:assert/strict";
import { test } from "node:test";
import { barOf, isScaled, length, LONGEST, rowOf } from "../page/scale.js";

test("a short output is as long as its rows", () => {
  const sight = { total: 1000, average: 20, view: 500 };
  assert.equal(length(sight), 20_000);
  assert.equal(isScaled(sight), false);
  assert.equal(barOf(10, sight), 200);
  assert.equal(rowOf(200, sight), 10);
});

test("every row of a long output has its place on the bar", () => {
  const sight = { total: 1_000_000, average: 20, view: 500 };
  assert.equal(length(sight), LONGEST);
  assert.ok(isScaled(sight));
  assert.equal(barOf(999_999, sight), LONGEST - 500);
  assert.equal(rowOf(0, sight), 0);
  assert.equal(rowOf(LONGEST, sight), 1_000_000 - 25);
  for (const row of [0, 1, 499_999, 999_900]) {
    assert.ok(Math.abs(rowOf(barOf(row, sight), sight) - row) < 1, String(row));
  }
});

test("what fits has nothing to scroll", () => {
  const sight = { total: 3, average: 20, view: 500 };
  assert.equal(length(sight), 500);
  assert.equal(barOf(2, sight), 0);
  assert.equal(rowOf(0, sight), 0);
});
