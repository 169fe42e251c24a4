import assert from "node:assert/strict";
import { test } from "node:test";
import { colour, contrast, GROUND, legible, rules } from "../page/colours.js";

test("every colour can be read on the ground of either theme", () => {
  for (const ground of Object.values(GROUND)) {
    for (let number = 0; number < 256; number += 1) {
      assert.ok(contrast(legible(colour(number), ground), ground) >= 4.5, `${number} on ${ground}`);
    }
  }
});

test("a colour that can be read is left as it is", () => {
  assert.deepEqual(legible([200, 0, 0], GROUND.light), [200, 0, 0]);
  assert.ok(contrast([255, 255, 255], [0, 0, 0]) > 20.9);
});

test("there are rules for all of them", () => {
  assert.equal(rules().split("\n").length, 256 * 4);
});
