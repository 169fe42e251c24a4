// Procedures whose jobs workers fetch.

import { fill, h, name } from "../dom.js";
import { pages, Refetch } from "../refetch.js";
import { address } from "../router.js";
import { rowKeys } from "../rows.js";
import { empty } from "../states.js";
import { ago, timeElement } from "../time.js";
import { counted } from "../words.js";

/** @param {any} app */
export function services(app) {
  const place = h("div", null);
  const part = new Refetch(app, {
    place, what: "services", events: [],
    read: () => pages(app.api, "/services", [], "services"),
    show: (/** @type {{entries: any[], isAll: boolean}} */ { entries, isAll }) => {
      if (entries.length === 0) return fill(place, empty("No service is registered."));
      return fill(place,
        h("ul", { class: "table services", role: "list" }, entries.map((service) => h("li", { "data-service": service.id },
          h("a", { class: "main", "data-main": true, href: address(["services", service.id]) }, name(service.name)),
          h("span", { class: service.available ? "" : "warning" }, service.available ? counted(service.workers, "worker") : "not available"),
          h("span", { class: "quiet" }, "checked in ", timeElement(service.checked_in, ago(service.checked_in))),
          h("span", { class: "quiet" }, work(service)),
          h("span", { class: "quiet" }, service.description && name(service.description))))),
        !isAll && h("p", { class: "quiet" }, "There are more services than are shown here."));
    },
  });
  return {
    title: "Services",
    element: h("div", { class: "screen" }, h("div", { class: "top" }, h("h1", null, "Services")), place),
    keys: rowKeys(place),
    close: () => part.close(),
  };
}

/** When a worker has asked for work; one that checks in and never asks is broken. @param {any} service */
export function work(service) {
  return service.asked_for_work === null ? "never asked for work"
    : h("span", null, "asked for work ", timeElement(service.asked_for_work, ago(service.asked_for_work)));
}
