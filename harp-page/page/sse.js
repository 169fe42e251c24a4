// Server-sent events, cut out of a stream of text.

/**
 * @typedef {object} Event
 * @property {string} name `message` unless it has one
 * @property {string | null} id
 * @property {string} data
 */

export class EventParser {
  #rest = "";
  /** @type {string | null} */ #id = null;
  #name = "";
  /** @type {string[]} */ #data = [];

  /**
   * Takes a piece of the stream; the events that end in it.
   *
   * @param {string} text
   * @returns {Event[]}
   */
  take(text) {
    const events = [];
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#data.length > 0) {
          events.push({ name: this.#name || "message", id: this.#id, data: this.#data.join("\n") });
        }
        this.#id = null;
        this.#name = "";
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") this.#data.push(value);
      else if (field === "id") this.#id = value;
      else if (field === "event") this.#name = value;
    }
    return events;
  }
}
