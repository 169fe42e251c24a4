// The jobs of one queue, in the order in which they run.

import { Text } from "../api.js";
import { tell } from "../announce.js";
import { confirm } from "../dialog.js";
import { fill, h, name } from "../dom.js";
import { parse } from "../exact_json.js";
import { jobRow } from "../job_row.js";
import { pages, Refetch } from "../refetch.js";
import { rowKeys } from "../rows.js";
import { empty, explainDeed } from "../states.js";
import { counted, queueName } from "../words.js";

/** @param {any} app @param {import("../router.js").Route} route */
export function queue(app, route) {
  const json = route.id ?? "{}";
  const place = h("div", null);
  const cancelAll = h("button", { type: "button", class: "danger", "data-acts": true, onclick: () => cancelQueue(app, json) }, "Cancel all");
  const facts = h("p", { class: "sentence" });
  const part = new Refetch(app, {
    place, what: "its jobs", events: [["queue", json]],
    read: () => pages(app.api, "/queues/jobs", [["name", json]], "jobs", 1000),
    show: (/** @type {{entries: import("../words.js").Job[], isAll: boolean}} */ { entries, isAll }) => {
      const queued = entries.filter((job) => job.state === "queued").length;
      const running = entries.filter((job) => job.state === "running").length;
      const concurrency = entries.find((job) => job.queue !== null)?.queue?.concurrency;
      fill(facts, concurrency ? `${running} of ${counted(concurrency, "place")} in use, ${queued} queued${isAll ? "" : " and more"}.` : "");
      cancelAll.hidden = entries.length === 0 || !app.may("cancel");
      if (entries.length === 0) return fill(place, empty("No job is in this queue."));
      return fill(place, h("ul", { class: "jobs", role: "list" }, entries.map((job) => jobRow(job))),
        !isAll && h("p", { class: "quiet" }, "There are more jobs than are shown here."));
    },
  });
  return {
    title: "Queue",
    element: h("div", { class: "screen" },
      h("div", { class: "top" }, h("h1", null, h("span", { class: "quiet" }, "Queue "), name(shortName(json), "mono")), cancelAll),
      facts, place),
    keys: rowKeys(place),
    close: () => part.close(),
  };
}

/** @param {string} json */
function shortName(json) {
  try {
    return queueName(parse(json));
  } catch {
    return json;
  }
}

/** @param {any} app @param {string} json */
async function cancelQueue(app, json) {
  const yes = await confirm({
    title: "Cancel all jobs of this queue?",
    text: ["Those of ", name(shortName(json), "mono"), " that wait are not started, those that run are ended."],
    yes: "Cancel all",
  });
  if (!yes) return;
  try {
    const answer = await app.api.post("/queues/cancel", new Text(`{"name":${json}}`));
    const kept = answer.forbidden > 0 ? ` ${counted(answer.forbidden, "job")} stay: you may not cancel them.` : "";
    tell(`${counted(answer.cancelled, "job")} cancelled.${kept}`);
  } catch (error) {
    const { text, detail } = explainDeed(error);
    tell(`${text} ${detail}`, "bad");
  }
}
