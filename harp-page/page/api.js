// The API of the dispatcher: requests, and what can go wrong with them.

import { parse } from "./exact_json.js";

/** An answer that is a problem (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} told
   */
  constructor(status, told) {
    super(told.detail ?? told.title ?? `the server answered ${status}`);
    this.status = status;
    this.type = String(told.type ?? "").split(":").at(-1) ?? "";
    this.title = told.title ?? `Status ${status}`;
    this.told = told;
    /** @type {number} Seconds after which it may be tried again. */
    this.retryAfter = 1;
  }
}

/** No answer came: the server is gone, or slower than anybody waits. */
export class Unreachable extends Error {
  constructor() {
    super("the dispatcher does not answer");
  }
}

/** How long an answer may take, in milliseconds; a request that waits has more. */
const PATIENCE = 20_000;

export class Api {
  /** The page's half of the session. @type {string | null} */
  pageKey = null;

  /** @param {{reached: () => void, lost: () => void}} connection is told what becomes of requests */
  constructor(connection) {
    this.connection = connection;
    /** Called when the session is over. */
    this.onStranger = () => {};
  }

  /**
   * The address of a path of the API, relative to the page.
   *
   * @param {string} path
   * @param {Iterable<[string, string]>} [query]
   */
  url(path, query = []) {
    const search = new URLSearchParams([...query]).toString();
    return `api/v1${path}${search ? `?${search}` : ""}`;
  }

  /**
   * The address of a download, which browsers ask for without headers.
   *
   * @param {string} path
   * @param {[string, string][]} query
   */
  download(path, query) {
    const key = this.pageKey;
    return this.url(path, key ? [...query, ["page_key", key]] : query);
  }

  /** @param {Record<string, string>} [more] */
  headers(more = {}) {
    return this.pageKey ? { "Harp-Page-Key": this.pageKey, ...more } : more;
  }

  /**
   * The JSON of an answer.
   *
   * @param {string} path
   * @param {Iterable<[string, string]>} [query]
   * @param {{signal?: AbortSignal, patience?: number}} [options]
   *   `patience`: how long the answer may take, in milliseconds
   * @returns {Promise<any>}
   */
  async get(path, query = [], { signal, patience } = {}) {
    return this.#ask(this.url(path, query), { headers: this.headers(), signal }, patience);
  }

  /**
   * @param {string} path
   * @param {any} body a value, or a JSON text in `Text`
   * @param {{headers?: Record<string, string>, signal?: AbortSignal, patience?: number}} [options]
   *   `patience` as of `get`
   * @returns {Promise<any>}
   */
  async post(path, body, { headers = {}, signal, patience } = {}) {
    return this.#ask(this.url(path), {
      method: "POST",
      headers: this.headers({ "Content-Type": "application/json", ...headers }),
      body: body instanceof Text ? body.json : JSON.stringify(body),
      signal,
    }, patience);
  }

  /** @param {string} path */
  async delete(path) {
    return this.#ask(this.url(path), { method: "DELETE", headers: this.headers() });
  }

  /**
   * @param {string} url
   * @param {RequestInit & {signal?: AbortSignal}} request
   * @param {number} [patience]
   */
  async #ask(url, request, patience = PATIENCE) {
    const late = new AbortController();
    const giveUp = () => late.abort();
    request.signal?.addEventListener("abort", giveUp);
    const timer = setTimeout(giveUp, patience);
    let answer;
    let text;
    try {
      answer = await fetch(url, { ...request, signal: late.signal, credentials: "same-origin", cache: "no-store" });
      text = await answer.text();
    } catch (error) {
      if (request.signal?.aborted) throw error;
      this.connection.lost();
      throw new Unreachable();
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", giveUp);
    }
    if (isGateway(answer)) {
      this.connection.lost();
      throw new Unreachable();
    }
    this.connection.reached();
    if (!answer.ok) throw this.problem(answer, text);
    return text === "" ? null : parse(text);
  }

  /**
   * What a refused request is.
   *
   * @param {Response} answer
   * @param {string} text
   */
  problem(answer, text) {
    let told = {};
    try {
      told = parse(text);
    } catch {
      // Something between here and the dispatcher has answered.
    }
    const problem = new Problem(answer.status, told);
    problem.retryAfter = Number(answer.headers.get("Retry-After")) || 1;
    if (problem.status === 401) this.onStranger();
    return problem;
  }
}

/** A JSON text that is sent as it is. */
export class Text {
  /** @param {string} json */
  constructor(json) {
    this.json = json;
  }
}

/** A proxy whose server is gone answers in its place, and not with a problem. @param {Response} answer */
function isGateway(answer) {
  const isProblem = (answer.headers.get("Content-Type") ?? "").includes("problem+json");
  return [502, 503, 504].includes(answer.status) && !isProblem;
}
