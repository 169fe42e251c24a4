// A job as a row of a list.

import { h, name, visible } from "./dom.js";
import { address } from "./router.js";
import { ago, timeElement } from "./time.js";
import { howLong, queueName, sign, standing } from "./words.js";
import { stringify } from "./exact_json.js";

/** @typedef {import("./words.js").Job} Job */

/**
 * The sign and the word for where a job stands.
 *
 * @param {Job} job
 */
export function badge(job) {
  const word = standing(job);
  return h("span", { class: `badge ${word}` },
    h("span", { class: "sign", "aria-hidden": "true" }, sign(word)), word);
}

/** @param {{name: any}} queue */
export function queueLink(queue) {
  return h("a", { href: address(["queues", stringify(queue.name)]) }, name(queueName(queue.name)));
}

/** @param {string} host */
export function hostLink(host) {
  return h("a", { href: address(["hosts", host]) }, name(host));
}

/** @param {Job} job */
export function jobRow(job) {
  const row = h("li", { class: "job" });
  update(row, job);
  return row;
}

/**
 * Shows a job in its row, whose focus stays.
 *
 * @param {HTMLElement} row
 * @param {Job} job
 */
export function update(row, job) {
  row.dataset.job = job.id;
  row.dataset.state = job.state;
  row.dataset.outcome = job.outcome ?? "";
  const focused = row.contains(document.activeElement)
    ? [...row.querySelectorAll("a")].indexOf(/** @type {any} */ (document.activeElement)) : -1;
  const head = cutHead(job.arguments_head ?? "");
  const info = job.info_head ?? "null";
  row.replaceChildren(
    badge(job),
    // What does not fit is cut off: all of it is shown for a pointer, and by the job itself.
    h("a", { class: "main", href: address(["jobs", job.id]), "data-main": true, title: visible(job.procedure) }, name(job.procedure)),
    h("span", { class: "host", title: visible(job.host) }, hostLink(job.host)),
    h("span", { class: "heads" },
      head && h("span", { class: "mono" }, name(head)),
      info !== "null" && h("span", { class: "mono quiet" }, " ", name(cutHead(info)))),
    h("span", { class: "where" },
      job.error_type && h("span", { class: "why" }, name(job.error_type)),
      job.state === "running" && job.host_state && h("span", { class: "why" }, "host not reached"),
      job.queue && queueLink(job.queue),
      job.ahead !== null && job.state === "queued" && h("span", { class: "quiet" }, ` ${job.ahead} ahead`)),
    h("span", { class: "who quiet" }, job.client && name(job.client)),
    h("span", { class: "when quiet" }, timeElement(job.submitted, since(job)), howLong(job, Date.now())),
  );
  if (focused >= 0) row.querySelectorAll("a")[focused]?.focus();
}

/** Has the times of a row go on. @param {HTMLElement} row @param {Job} job */
export function tick(row, job) {
  const when = row.querySelector(".when");
  if (!when) return;
  const time = when.querySelector("time");
  if (time) time.textContent = since(job);
  const last = when.lastChild;
  if (last instanceof Text) last.data = howLong(job, Date.now());
}

/** How long ago a job was submitted that has ended; for another it is told how long it runs or waits. @param {Job} job */
function since(job) {
  return job.state === "ended" ? `${ago(job.submitted)}, ` : "";
}

/** A head as it is shown; arguments that there are none of are left out. @param {string} head */
function cutHead(head) {
  if (head === "[]" || head === "{}") return "";
  return head.length >= 120 ? `${head}\u2026` : head;
}
