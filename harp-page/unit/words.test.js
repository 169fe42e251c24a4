import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, clock, duration, full, ofLine } from "../page/time.js";
import { howItEnded, howLong, number, queueName, standing, whatCameOfCancel, whyItWaits, whyNotReached } from "../page/words.js";

clock.utc = true;

const job = {
  state: "queued", outcome: null, queue: { name: { deploy: "web" }, concurrency: 2 }, ahead: 3, waiting_for: "queue",
  start_by: null, submitted: 0, started: null, ended: null, place_kept: false, host_state: null,
};

test("why a job waits is one sentence", () => {
  assert.equal(whyItWaits(job), "3 jobs of its queue must end first; the queue has 2 places.");
  assert.equal(whyItWaits({ ...job, ahead: 0, start_by: 60 }),
    "It is the next of its queue, which has 2 places. It gives up at 1970-01-01 00:01:00 UTC.");
  assert.match(whyItWaits({ ...job, waiting_for: "store" }), /job store/);
  assert.match(whyItWaits({ ...job, waiting_for: "worker" }), /worker/);
  assert.match(whyItWaits({ ...job, waiting_for: "operator" }), /resume/);
  assert.match(whyItWaits({ ...job, state: "running", waiting_for: "host" }), /waits at its host/);
  assert.equal(whyItWaits({ ...job, queue: null }), "It starts in a moment.");
  assert.equal(whyItWaits({ ...job, state: "running" }), null);
  assert.match(whyItWaits({ ...job, state: "running", host_state: { unreachable_since: 0 } }), /cannot be reached/);
  assert.match(whyItWaits({ ...job, state: "ended", place_kept: true }), /place/);
  assert.equal(whyItWaits({ ...job, state: "ended" }), null);
});

test("how it ended and how long it took", () => {
  const ended = { ...job, state: "ended", outcome: "exception", started: 1000, ended: 5200 };
  assert.equal(howItEnded(ended), "The procedure raised an exception.");
  assert.equal(howItEnded(job), null);
  assert.equal(standing(ended), "exception");
  assert.equal(howLong(ended, 0), "took 4.2 s");
  assert.equal(howLong(job, 90_000), "waits for 1 min 30 s");
  assert.equal(howLong({ ...ended, started: null }, 0), "never started, waited 5.2 s");
});

test("what came of a cancel is told by its proof", () => {
  assert.match(whatCameOfCancel({ cancelled: true, remote: "confirmed" }), /, confirmed: nothing/);
  assert.match(whatCameOfCancel({ cancelled: true, remote: "unconfirmed" }), /unconfirmed/);
  assert.match(whatCameOfCancel({ cancelled: false }), /nothing was cancelled/);
});

test("numbers, queues, times", () => {
  assert.equal(number(1234567), "1\u202f234\u202f567");
  assert.equal(number(999), "999");
  assert.equal(queueName({ deploy: "web" }), "deploy=web");
  assert.equal(queueName({ a: 1, b: 2 }), '{"a":1,"b":2}');
  assert.equal(full(0), "1970-01-01 00:00:00 UTC");
  assert.equal(ofLine(12_034), "00:00:12.034");
  for (const [ms, text] of [[0, "0 s"], [12, "12 ms"], [4200, "4.2 s"], [59_600, "1 min"], [3_725_000, "1 h 2 min"], [200_000_000, "2 d 7 h"]]) {
    assert.equal(duration(ms), text);
  }
  clock.now = () => 100_000;
  assert.equal(ago(40_000), "1 min ago");
  assert.equal(ago(99_900), "now");
});

test("why a host was not reached is said in words, or by its code", () => {
  assert.equal(whyNotReached({ type: "network_error", code: "econnrefused" }), "refused the connection");
  assert.equal(whyNotReached({ type: "auth_error", code: null }), "did not take the user and password");
  assert.equal(whyNotReached({ type: "os_error", code: "emfile" }), "failed with emfile");
  assert.equal(whyNotReached({ type: "constructor", code: null }), "failed with constructor");
});
