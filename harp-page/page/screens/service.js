// One service: its workers, schemas and jobs.

import { fill, h, name } from "../dom.js";
import { JobList } from "../job_list.js";
import { value } from "../job_outcome.js";
import { rowKeys } from "../rows.js";
import { failed, loading } from "../states.js";
import { ago, timeElement } from "../time.js";
import { counted } from "../words.js";
import { stringify } from "../exact_json.js";
import { work } from "./services.js";

/** @param {any} app @param {import("../router.js").Route} route */
export function service(app, route) {
  const id = route.id ?? "";
  const title = h("h1", null, h("span", { class: "quiet" }, "Service "), name(id, "mono"));
  const facts = h("div", { class: "sentence" });
  const list = new JobList(app, [["service", id]], undefined, "No job of this service.");
  read(app, id, title, facts);
  return {
    title: "Service",
    element: h("div", { class: "screen" }, h("div", { class: "top" }, title), facts, h("h2", null, "Jobs"), list.element),
    keys: rowKeys(list.rows),
    close: () => list.close(),
  };
}

/** @param {any} app @param {string} id @param {Element} title @param {Element} place */
async function read(app, id, title, place) {
  fill(place, loading("the service"));
  try {
    const found = await app.api.get(`/services/${encodeURIComponent(id)}`);
    fill(title, h("span", { class: "quiet" }, "Service "), name(found.name));
    const schema = (/** @type {string} */ label, /** @type {any} */ one) =>
      one !== null && h("details", null, h("summary", null, label), value(stringify(one)));
    fill(place,
      h("p", null, found.description && name(found.description)),
      h("p", { class: found.available ? "" : "warning" },
        found.available ? `${counted(found.workers, "worker")}, ` : "Not available, ",
        "checked in ", timeElement(found.checked_in, ago(found.checked_in)), ", ", work(found),
        `; a worker that is not heard of for ${2 * found.timeout} s loses its job.`),
      h("p", { class: "quiet" }, "Id ", h("code", null, found.id), found.client && h("span", null, ", registered by ", name(found.client))),
      schema("Schema of arguments", found.arguments_schema), schema("Schema of results", found.result_schema));
  } catch (error) {
    fill(place, failed(error, () => read(app, id, title, place)));
  }
}
