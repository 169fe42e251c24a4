import assert from "node:assert/strict";
import { test } from "node:test";
import { Packets } from "../page/packets.js";

const packet = (number) => ({ packet: number, time: 0, data: `"${number}"` });

/** Packets of a job with so many, of which an answer has seven at most. */
function source(total) {
  const asked = [];
  const packets = new Packets(async (since, limit) => {
    asked.push(since);
    await Promise.resolve();
    const end = Math.min(total, since + Math.min(limit, 7));
    return { packets: Array.from({ length: end - since }, (_, at) => packet(since + at)), next: end, total };
  }, () => {});
  packets.total = total;
  return { packets, asked };
}

const rest = () => new Promise((done) => { setTimeout(done, 5); });

test("what is looked at is fetched whole, and once", async () => {
  const { packets, asked } = source(1000);
  packets.need(150, 250);
  packets.need(150, 250);
  await rest();
  for (let number = 0; number < 400; number += 1) assert.equal(packets.get(number)?.packet, number);
  assert.equal(packets.get(400), undefined);
  assert.equal(new Set(asked).size, asked.length);
});

test("what comes live and what is fetched meet without a hole", async () => {
  const { packets } = source(30);
  packets.add(packet(20));
  for (let number = 21; number < 40; number += 1) packets.add(packet(number));
  assert.equal(packets.total, 40);
  packets.need(0, 40);
  await rest();
  for (let number = 0; number < 40; number += 1) assert.equal(packets.get(number)?.packet, number);
});

test("a fault is told, and the next look tries again", async () => {
  let isBroken = true;
  const told = [];
  const packets = new Packets(async () => {
    if (isBroken) throw new Error("gone");
    return { packets: [packet(0)], next: 1, total: 1 };
  }, (error) => told.push(error?.message ?? null));
  packets.total = 1;
  packets.need(0, 1);
  await rest();
  isBroken = false;
  packets.need(0, 1);
  await rest();
  assert.deepEqual(told, ["gone", null]);
});

test("no more is kept than a bounded part", async () => {
  const { packets } = source(1_000_000);
  for (let page = 0; page < 300; page += 1) {
    packets.need(page * 200, page * 200 + 1);
    await rest();
  }
  let kept = 0;
  for (let number = 0; number < 60_000; number += 1) kept += packets.get(number) ? 1 : 0;
  assert.ok(kept <= 120 * 200 && kept > 0, String(kept));
});
