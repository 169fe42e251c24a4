// What stands around every screen: the name, the ways, the choices, who is logged in.

import { fill, h, name } from "./dom.js";
import { help } from "./help.js";

/** Label, address, screens that it stands for, operation, feature. @type {[string, string, string[], string, string?][]} */
const WAYS = [
  ["Jobs", "#/jobs", ["jobs", "job"], ""],
  ["Queues", "#/queues", ["queues", "queue"], "observe"],
  ["Hosts", "#/hosts", ["hosts", "host"], "observe"],
  ["Services", "#/services", ["services", "service"], "", "services"],
  ["Call", "#/call", ["call"], "call"],
];

export class Frame {
  /** @param {any} app */
  constructor(app) {
    this.app = app;
    this.ways = h("nav", { class: "ways", "aria-label": "Screens" });
    this.who = h("span", { class: "who quiet" });
    this.help = h("button", { type: "button", title: "Options and keys (?)", onclick: () => help(app) }, "Options");
    this.logout = h("button", { type: "button", hidden: true, onclick: () => this.#logOut() }, "Log out");
    this.element = h("header", { class: "frame" },
      h("a", { class: "brand", href: "#/jobs" }, "HarpCaller"),
      this.ways,
      h("div", { class: "choices" }, h("span", { class: "dot", "aria-hidden": "true" }), this.who, this.help, this.logout));
  }

  /** @param {string} [screen] */
  show(screen) {
    const { who } = this.app.session;
    const ways = WAYS.filter(([, , , operation, feature]) =>
      who && (operation === "" || this.app.may(operation)) && (!feature || this.app.session.has(feature)));
    fill(this.ways, ways.map(([label, href, screens]) =>
      h("a", { href, "aria-current": screen !== undefined && screens.includes(screen) && "page" }, label)));
    fill(this.who, who && (who.identity ? name(who.identity) : "anonymous"));
    this.logout.hidden = who?.method !== "session";
  }

  async #logOut() {
    await this.app.session.end().catch(() => {});
    location.reload();
  }
}
