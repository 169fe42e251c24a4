// One stream of events at a time: what is open goes on without a gap after a break, and is
// closed while nobody sees the page.

import { parse } from "./exact_json.js";
import { EventParser } from "./sse.js";

/** After how long of silence a stream counts as broken: heartbeats come every 15 s. */
const SILENCE = 20_000;

/** How long the answer to a request for a stream may take. */
const HEAD = 6_000;

/** How long the page may take up events before it lets the browser draw. */
const TURN = 8;

/**
 * @typedef {object} Wanted
 * @property {string} path
 * @property {() => [string, string][]} query asked each time
 * @property {(name: string, data: any) => void} onEvent
 * @property {() => void} [onTurn] behind each piece of events that came together
 * @property {(problem: import("./api.js").Problem) => void} onRefused the stream is not to be had
 */

export class Live {
  /** @type {AbortController | null} */ #running = null;
  /** @type {Wanted | null} */ #wanted = null;
  /** @type {string | null} */ #lastId = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./connection.js").Connection} connection
   */
  constructor(api, connection) {
    this.api = api;
    this.connection = connection;
    document.addEventListener("visibilitychange", () => this.#look());
    window.addEventListener("online", () => this.#restart());
  }

  /** Opens this stream in place of the present one. @param {Wanted} wanted */
  open(wanted) {
    this.close();
    this.#wanted = wanted;
    this.#lastId = null;
    this.#look();
  }

  /** Closes the stream for good. */
  close() {
    this.#wanted = null;
    this.#running?.abort();
    this.#running = null;
  }

  #look() {
    if (document.visibilityState === "hidden") {
      this.#running?.abort();
      this.#running = null;
    } else if (this.#wanted && !this.#running) {
      this.#running = new AbortController();
      this.#run(this.#wanted, this.#running.signal);
    }
  }

  #restart() {
    this.#running?.abort();
    this.#running = null;
    this.#look();
  }

  /** @param {Wanted} wanted @param {AbortSignal} signal */
  async #run(wanted, signal) {
    for (let failures = 0; !signal.aborted;) {
      let pause = 0;
      try {
        const isOver = await this.#read(wanted, signal, () => { failures = 0; });
        if (isOver) return;
        pause = 500;
      } catch (error) {
        if (signal.aborted) return;
        const { status = 0, retryAfter = 1 } = /** @type {any} */ (error);
        if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
          wanted.onRefused(/** @type {any} */ (error));
          return;
        }
        if (status === 0) this.connection.lost();
        pause = Math.max(status ? retryAfter * 1000 : 0, Math.min(500 * 2 ** failures, 5000));
        failures += 1;
      }
      await new Promise((done) => { setTimeout(done, pause); });
    }
  }

  /**
   * Reads a stream to its end; true if there is no more to come.
   *
   * @param {Wanted} wanted
   * @param {AbortSignal} signal
   * @param {() => void} onOpen
   */
  async #read(wanted, signal, onOpen) {
    const broken = new AbortController();
    const stop = () => broken.abort();
    signal.addEventListener("abort", stop);
    let watch = setTimeout(stop, HEAD);
    try {
      const headers = this.api.headers({ Accept: "text/event-stream" });
      if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
      const answer = await fetch(this.api.url(wanted.path, wanted.query()), {
        headers, signal: broken.signal, credentials: "same-origin", cache: "no-store",
      });
      if (answer.status === 204) return true;
      if (!answer.ok || !answer.body) throw this.api.problem(answer, await answer.text());
      onOpen();
      this.connection.reached();
      return await this.#take(wanted, answer.body, signal, () => {
        clearTimeout(watch);
        watch = setTimeout(stop, SILENCE);
      });
    } finally {
      clearTimeout(watch);
      signal.removeEventListener("abort", stop);
    }
  }

  /**
   * @param {Wanted} wanted
   * @param {ReadableStream<Uint8Array>} body
   * @param {AbortSignal} signal
   * @param {() => void} onAlive
   */
  async #take(wanted, body, signal, onAlive) {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    let begun = performance.now();
    for (;;) {
      onAlive();
      const { value, done } = await reader.read();
      if (done) return false;
      if (signal.aborted) return true;
      this.connection.reached();
      for (const event of parser.take(decoder.decode(value, { stream: true }))) {
        if (event.id !== null) this.#lastId = event.id;
        wanted.onEvent(event.name, parse(event.data));
        if (["end", "gone", "forbidden"].includes(event.name)) {
          wanted.onTurn?.();
          return true;
        }
      }
      wanted.onTurn?.();
      if (performance.now() - begun > TURN) {
        await new Promise((drawn) => { setTimeout(drawn, 0); });
        begun = performance.now();
        if (signal.aborted) return true;
      }
    }
  }
}
