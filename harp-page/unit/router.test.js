import assert from "node:assert/strict";
import { test } from "node:test";
import { address, parse, value } from "../page/router.js";

test("addresses lead to screens", () => {
  const screen = (hash) => parse(hash).screen;
  assert.equal(screen(""), "jobs");
  assert.equal(screen("#/jobs?state=queued"), "jobs");
  assert.equal(screen("#/jobs/0-1"), "job");
  assert.equal(screen("#/call"), "call");
  for (const other of ["#/nothing", "#/call/x", "#/constructor/x"]) assert.equal(screen(other), "missing", other);
});

test("an address has its name back, whatever that is", () => {
  for (const name of ['{"a/b":"\u00e4 ?&#%"}', "web01", "a b", "100%"]) {
    const hash = address(["queues", name], [["packet", "1&2"]]);
    const route = parse(hash);
    assert.deepEqual([route.screen, route.id, value(route, "packet")], ["queue", name, "1&2"]);
  }
  assert.equal(parse("#/hosts/%zz").id, "%zz");
});
