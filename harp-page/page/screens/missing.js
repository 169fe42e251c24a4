// An address that means nothing.

import { h } from "../dom.js";

export function missing() {
  return {
    title: "Not found",
    element: h("div", { class: "screen" },
      h("h1", null, "There is no such screen"),
      h("p", null, h("a", { href: "#/jobs" }, "To the jobs"))),
    keys: {},
  };
}
