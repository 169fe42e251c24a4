// One service: its workers, schemas and jobs.

import { fill, h, name } from "../dom.js";
import { stringify } from "../exact_json.js";
import { JobList } from "../job_list.js";
import { value } from "../job_outcome.js";
import { Refetch } from "../refetch.js";
import { rowKeys } from "../rows.js";
import { ago, timeElement } from "../time.js";
import { counted } from "../words.js";
import { work } from "./services.js";

/** @param {any} app @param {import("../router.js").Route} route */
export function service(app, route) {
  const id = route.id ?? "";
  const title = h("h1", null, h("span", { class: "quiet" }, "Service "), name(id, "mono"));
  const facts = h("div", { class: "sentence" });
  const schemas = h("div", null);
  const list = new JobList(app, [["service", id]], undefined, "No job of this service.");
  let drawn = "";
  const part = new Refetch(app, {
    place: facts, what: "the service", events: null,
    read: () => app.api.get(`/services/${encodeURIComponent(id)}`),
    show: (found) => {
      fill(title, h("span", { class: "quiet" }, "Service "), name(found.name));
      showFacts(facts, found);
      // What somebody has opened stays open.
      const both = stringify([found.arguments_schema, found.result_schema]);
      if (both !== drawn) showSchemas(schemas, found);
      drawn = both;
    },
  });
  return {
    title: "Service",
    element: h("div", { class: "screen" }, h("div", { class: "top" }, title), facts, schemas, h("h2", null, "Jobs"), list.element),
    keys: rowKeys(list.rows),
    close: () => { list.close(); part.close(); },
  };
}

/** @param {Element} place @param {any} found */
function showFacts(place, found) {
  fill(place,
    found.description && h("p", null, name(found.description)),
    h("p", { class: found.available ? "" : "warning" },
      found.available ? `${counted(found.workers, "worker")}, ` : "Not available, ",
      "checked in ", timeElement(found.checked_in, ago(found.checked_in)), ", ", work(found),
      `; a worker that is not heard of for ${2 * found.timeout} s loses its job.`),
    h("p", { class: "quiet" }, "Id ", h("code", null, found.id), found.client && h("span", null, ", registered by ", name(found.client))));
}

/** @param {Element} place @param {any} found */
function showSchemas(place, found) {
  const schema = (/** @type {string} */ label, /** @type {any} */ one) =>
    one !== null && h("details", null, h("summary", null, label), value(stringify(one)));
  fill(place, schema("Schema of arguments", found.arguments_schema), schema("Schema of results", found.result_schema));
}
