// All queues that have a job.

import { fill, h, name } from "../dom.js";
import { stringify } from "../exact_json.js";
import { pages, Refetch } from "../refetch.js";
import { address } from "../router.js";
import { rowKeys } from "../rows.js";
import { empty } from "../states.js";
import { ago, timeElement } from "../time.js";
import { counted, number, queueName } from "../words.js";

/** @param {any} app */
export function queues(app) {
  const place = h("div", null);
  const part = new Refetch(app, {
    place, what: "queues", events: [],
    read: () => pages(app.api, "/queues", [], "queues"),
    show: ({ entries, isAll }) => show(place, entries, isAll),
  });
  return {
    title: "Queues",
    element: h("div", { class: "screen" }, h("div", { class: "top" }, h("h1", null, "Queues")), place),
    keys: rowKeys(place),
    close: () => part.close(),
  };
}

/** @param {Element} place @param {any[]} all @param {boolean} isAll */
function show(place, all, isAll) {
  if (all.length === 0) return fill(place, empty("No queue has a job.", h("p", { class: "quiet" }, "A queue is there while jobs name it.")));
  return fill(place,
    h("ul", { class: "table queues", role: "list" }, all.map((queue) => h("li", { "data-queue": stringify(queue.name) },
      h("a", { class: "main mono", "data-main": true, href: address(["queues", stringify(queue.name)]) }, name(queueName(queue.name))),
      h("span", null, h("meter", {
        min: 0, max: queue.concurrency, value: Math.min(queue.running, queue.concurrency),
        "aria-label": "Places in use",
      }), ` ${number(queue.running)} of ${number(queue.concurrency)} run`),
      h("span", null, `${number(queue.queued)} queued`),
      h("span", { class: "quiet" }, queue.kept > 0 && `${counted(queue.kept, "place")} kept`),
      h("span", { class: "quiet" }, "oldest ", timeElement(queue.oldest, ago(queue.oldest)))))),
    !isAll && h("p", { class: "quiet" }, "There are more queues than are shown here."));
}
