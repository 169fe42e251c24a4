// The page as a whole: its frame, who uses it, and which screen is shown.

import { places } from "./announce.js";
import { Api } from "./api.js";
import { install } from "./colours.js";
import { Connection } from "./connection.js";
import { h } from "./dom.js";
import { Frame } from "./frame.js";
import { help } from "./help.js";
import { Keys } from "./keys.js";
import { Live } from "./live.js";
import { parse } from "./router.js";
import { call } from "./screens/call.js";
import { host } from "./screens/host.js";
import { hosts } from "./screens/hosts.js";
import { job } from "./screens/job.js";
import { jobs } from "./screens/jobs.js";
import { login } from "./screens/login.js";
import { missing } from "./screens/missing.js";
import { queue } from "./screens/queue.js";
import { queues } from "./screens/queues.js";
import { service } from "./screens/service.js";
import { services } from "./screens/services.js";
import { Session } from "./session.js";
import { applyTheme, choices } from "./settings.js";
import { failed, loading } from "./states.js";
import { clock } from "./time.js";

/** @type {Record<string, (app: any, route: import("./router.js").Route) => Screen>} */
const SCREENS = { jobs, job, queues, queue, hosts, host, services, service, call, missing };

/** How long the dispatcher may take to say that it is there, in milliseconds. */
const PROBE = 6000;

/**
 * @typedef {object} Screen
 * @property {string} title
 * @property {HTMLElement} element
 * @property {import("./keys.js").Bindings} keys
 * @property {() => void} [close]
 * @property {(route: import("./router.js").Route) => void} [update] for another query of the screen
 */

class App {
  /** @type {Screen | null} */ #screen = null;
  /** @type {import("./router.js").Route | null} */ #route = null;
  /** How many screens of the page there are to go back to. */
  #depth = 0;

  constructor() {
    this.connection = new Connection();
    this.api = new Api(this.connection);
    this.session = new Session(this.api);
    this.live = new Live(this.api, this.connection);
    this.keys = new Keys();
    this.frame = new Frame(this);
    this.main = h("main", { id: "main", tabindex: -1 });
    document.body.replaceChildren(
      h("a", { class: "skip", href: "#main", onclick: (/** @type {Event} */ event) => { event.preventDefault(); this.main.focus(); } }, "To the content"),
      this.frame.element, this.connection.banner, this.main, ...places,
    );
    this.api.onStranger = () => this.#stranger();
    this.keys.general = {
      "?": () => help(this),
      c: () => this.may("call") && this.go("#/call"),
      "g j": () => this.go("#/jobs"),
      "g q": () => this.go("#/queues"),
      "g h": () => this.go("#/hosts"),
      "g s": () => this.session.has("services") && this.go("#/services"),
      Escape: () => this.#back(),
    };
    this.connection.watch(() => this.api.get("/session", [], { patience: PROBE }));
    window.addEventListener("hashchange", () => this.#goOn());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  }

  /** @param {string} operation */
  may(operation) {
    return this.session.may(operation);
  }

  /** @param {string} hash */
  go(hash) {
    if (location.hash === hash) this.#show(parse(hash));
    else location.hash = hash;
  }

  /** To the screen before, never out of the page. */
  #back() {
    if (this.#depth > 0) {
      this.#depth -= 2;
      history.back();
    } else if (this.#route?.screen !== "jobs") this.go("#/jobs");
  }

  refreshKeys() {
    this.keys.ofScreen = this.#screen?.keys ?? {};
  }

  /** Shows the present screen anew, as after a choice that all of it depends on. */
  redraw() {
    if (this.#route) this.#show(this.#route);
  }

  /** Finds out who asks, then shows what the address says. */
  async restart() {
    this.main.replaceChildren(loading("the page"));
    try {
      await this.session.find();
    } catch (error) {
      if (/** @type {any} */ (error).status !== 401) this.main.replaceChildren(failed(error, () => this.restart()));
      return;
    }
    this.frame.show();
    this.#show(parse(location.hash));
  }

  #stranger() {
    if (this.#route?.screen === "login") return;
    const wasKnown = this.session.who !== null;
    this.session.forget();
    this.#leave();
    this.#route = { screen: "login", id: null, query: [] };
    this.#put(login(this, wasKnown ? "The session is over: log in again." : undefined), "login");
  }

  #goOn() {
    this.#depth += 1;
    const route = parse(location.hash);
    const isSame = route.screen === this.#route?.screen && route.id === this.#route.id;
    if (isSame && this.#screen?.update) {
      this.#route = route;
      this.#screen.update(route);
    } else if (this.#route?.screen !== "login") this.#show(route);
  }

  /** @param {import("./router.js").Route} route */
  #show(route) {
    const isFirst = this.#route === null || this.#route.screen === "login";
    this.#leave();
    this.#route = route;
    this.#put(SCREENS[route.screen](this, route), route.screen);
    window.scrollTo(0, 0);
    if (!isFirst) this.main.focus({ preventScroll: true });
  }

  #leave() {
    this.live.close();
    this.#screen?.close?.();
    this.#screen = null;
  }

  /** @param {Screen} screen @param {string} name */
  #put(screen, name) {
    this.#screen = screen;
    document.title = `${screen.title} \u2013 HarpCaller`;
    document.body.dataset.screen = name;
    this.main.replaceChildren(screen.element);
    this.frame.show(name);
    this.refreshKeys();
    this.connection.apply(this.main);
    /** @type {HTMLElement | null} */ (screen.element.querySelector("[autofocus]"))?.focus();
  }
}

clock.utc = choices.utc;
applyTheme();
install();
const app = new App();
app.restart();
