import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "../page/sse.js";

const STREAM = 'retry: 2000\n\nevent: job\nid: -1\ndata: {"a":1}\n\n: comment\nid: 0\ndata: "x"\n\r\nevent:end\r\nid: end\r\ndata:1\r\ndata: 2\r\n\r\n';
const EVENTS = [
  { name: "job", id: "-1", data: '{"a":1}' },
  { name: "message", id: "0", data: '"x"' },
  { name: "end", id: "end", data: "1\n2" },
];

test("a stream is the same events wherever it is cut", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < STREAM.length; at += size) events.push(...parser.take(STREAM.slice(at, at + size)));
    assert.deepEqual(events, EVENTS, `pieces of ${size}`);
  }
});

test("an event that is not whole is none", () => {
  assert.deepEqual(new EventParser().take("id: 1\ndata: x\n"), []);
});
