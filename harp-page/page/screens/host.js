// One host: how it is, what it can do, its jobs.

import { fill, h, name } from "../dom.js";
import { JobList } from "../job_list.js";
import { Refetch } from "../refetch.js";
import { address } from "../router.js";
import { rowKeys } from "../rows.js";
import { duration } from "../time.js";
import { contact, load } from "./hosts.js";

/** @param {any} app @param {import("../router.js").Route} route */
export function host(app, route) {
  const id = route.id ?? "";
  const facts = h("div", { class: "sentence" });
  const procedures = h("div", { class: "procedures" });
  const list = new JobList(app, [["host", id]], undefined, "No job of this host.");
  const part = app.may("observe") ? new Refetch(app, {
    place: facts, what: "the host", events: null,
    read: () => app.api.get(`/hosts/${encodeURIComponent(id)}`),
    show: (host) => showFacts(facts, host),
  }) : null;
  readProcedures(app, id, procedures);
  return {
    title: id,
    element: h("div", { class: "screen" },
      h("div", { class: "top" }, h("h1", null, h("span", { class: "quiet" }, "Host "), name(id, "mono")),
        app.may("call") && h("a", { class: "button", href: address(["call"], [["host", id]]) }, "Call")),
      facts, procedures, h("h2", null, "Jobs"), list.element),
    keys: rowKeys(list.rows),
    close: () => { list.close(); part?.close(); },
  };
}

/** @param {Element} place @param {any} host */
function showFacts(place, host) {
  const { identifier, interval } = host.device ?? {};
  const parts = [
    h("span", { class: "mono" }, name(`${host.address}:${host.port}`)), contact(host),
    identifier && h("span", null, "calls itself ", name(identifier, "mono")),
    interval && `a heartbeat every ${duration(interval)}`, load(host),
  ];
  const isThere = (/** @type {any} */ part) => part && !(part instanceof Element && part.textContent === "");
  fill(place, parts.filter(isThere).flatMap((part, at) => (at === 0 ? [part] : [" \u00b7 ", part])));
}

/** Its procedures, where the dispatcher knows any. @param {any} app @param {string} id @param {Element} place */
async function readProcedures(app, id, place) {
  try {
    const known = await app.api.get(`/hosts/${encodeURIComponent(id)}/procedures`);
    if (known.procedures.length === 0) return;
    fill(place, h("h2", null, "Procedures"), h("ul", { class: "table", role: "list" },
      known.procedures.map((/** @type {any} */ procedure) => h("li", null,
        h("a", { class: "mono", href: address(["call"], [["host", id], ["procedure", procedure.name]]) }, name(procedure.name)),
        h("span", { class: "long quiet" }, procedure.description && name(procedure.description))))));
  } catch {
    // A dispatcher that knows no procedures of hosts says so of its jobs.
  }
}
