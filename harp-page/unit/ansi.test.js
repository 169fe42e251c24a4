import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest, runs, shown } from "../page/ansi.js";

const ESC = "\u001b";

test("colours and styles are classes", () => {
  assert.deepEqual(runs(`a${ESC}[1;31mb${ESC}[0mc`), [
    { text: "a", classes: "" }, { text: "b", classes: "fg-1 bold" }, { text: "c", classes: "" },
  ]);
  const classes = (sgr) => runs(`${ESC}[${sgr}mx`)[0].classes;
  assert.equal(classes("38;5;208"), "fg-208");
  assert.equal(classes("38;2;255;0;0"), "fg-196");
  assert.equal(classes("38:2::255:0:0"), "fg-196");
  assert.equal(classes("97;44"), "on-4 raw-15");
  assert.equal(classes("7"), "on-text raw-ground");
  assert.equal(classes("7;32"), "on-2 raw-ground");
  assert.equal(classes("4:3"), "underline");
  assert.equal(classes("1;2;3;4;22;23;24"), "");
  assert.equal(classes("31;39;41;49"), "");
  assert.equal(classes("38;5;999"), "");
});

test("everything else that a terminal would obey is dropped", () => {
  for (const [text, plain] of [
    [`${ESC}[2Ja${ESC}[10;10Hb`, "ab"],
    [`${ESC}]0;title\u0007a`, "a"],
    [`${ESC}]8;;http://x${ESC}\\link${ESC}]8;;${ESC}\\`, "link"],
    ["\u009b31mred\u009b0m", "red"],
    ["\u009dtitle\u009ca\u0090secret\u009cb", "ab"],
    [`${ESC}Pq#0;2${ESC}\\a`, "a"],
    [`${ESC}]never ends`, ""],
    [`${ESC}]broken${ESC}[1mgoes on`, "goes on"],
    [`${ESC}(Ba${ESC}=b${ESC}`, "ab"],
    [`${ESC}[`, ""],
    ["bell\u0007 null\u0000 del\u007f", "bell null del"],
    ["tab\tstays\nand newlines", "tab\tstays\nand newlines"],
  ]) assert.equal(shown(text), plain, JSON.stringify(text));
});

test("a carriage return shows what a terminal would show", () => {
  assert.equal(shown("10%\r50%\r100%"), "100%");
  assert.equal(shown("abcdef\rXY"), "XYcdef");
  assert.equal(shown(`abcdef\r${ESC}[KXY`), "XY");
  assert.equal(shown("abc\b\bX"), "aXc");
  assert.equal(shown("one\r\ntwo\r\n"), "one\ntwo\n");
  assert.equal(shown("done\r"), "done");
  assert.deepEqual(runs(`${ESC}[31mred\r${ESC}[32mg`), [
    { text: "g", classes: "fg-2" }, { text: "ed", classes: "fg-1" },
  ]);
});

test("signs that turn others round are seen", () => {
  assert.deepEqual(runs("a\u202eb"), [
    { text: "a", classes: "" }, { text: "\ufffd", classes: "unseen" }, { text: "b", classes: "" },
  ]);
});

test("a long text is read in time that grows with it", () => {
  const begun = Date.now();
  runs(`${ESC}]`.repeat(100_000));
  runs(`${ESC}[31mx`.repeat(100_000));
  runs("\u0090".repeat(100_000));
  assert.ok(Date.now() - begun < 5000);
});

test("24-bit colours are the nearest of 256", () => {
  assert.equal(nearest(0, 0, 0), 16);
  assert.equal(nearest(255, 255, 255), 231);
  assert.equal(nearest(128, 128, 128), 244);
  assert.equal(nearest(95, 135, 175), 67);
});
