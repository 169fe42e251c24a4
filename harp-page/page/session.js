// Who uses the page. The cookie is one half of the session, the key that is kept here the
// other; the token itself is kept nowhere.

import { load, save } from "./settings.js";

export class Session {
  /** @type {{identity: string | null, method: string, operations: string[]} | null} */
  who = null;
  /** What this dispatcher has beside what every one has. @type {string[]} */
  features = [];

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    api.pageKey = load("page_key");
  }

  /** Finds out who asks; an error says that nobody is known. */
  async find() {
    this.who = null;
    const [who, about] = await Promise.all([this.api.get("/session"), this.api.get("")]);
    this.features = about.features;
    this.who = who;
  }

  /** @param {string} token */
  async begin(token) {
    const session = await this.api.post("/session", { token });
    this.api.pageKey = session.page_key;
    save("page_key", session.page_key);
  }

  async end() {
    try {
      await this.api.delete("/session");
    } finally {
      this.forget();
    }
  }

  forget() {
    this.api.pageKey = null;
    save("page_key", null);
    this.who = null;
  }

  /** @param {string} feature */
  has(feature) {
    return this.features.includes(feature);
  }

  /** @param {string} operation */
  may(operation) {
    return this.who?.operations.includes(operation) ?? false;
  }
}
