// The packets of one job, as far as they are here: pages around what is looked at, and what
// comes live. The number of a packet is its place.

/**
 * @typedef {object} Packet
 * @property {number} packet
 * @property {number} time milliseconds since 1970
 * @property {string} data JSON text
 */

/** Packets of a page. */
const PAGE = 200;

/** Characters of packets that are kept; pages that were not looked at for longest go first. */
const MOST = 16_000_000;

/** Pages that are kept, however small. */
const MOST_PAGES = 120;

/**
 * @typedef {object} Page
 * @property {(Packet | undefined)[]} packets
 * @property {number} size characters
 */

export class Packets {
  /** How many there are. */
  total = 0;
  /** @type {Map<number, Page>} Least lately used first. */ #pages = new Map();
  /** @type {Map<number, AbortController>} */ #asked = new Map();
  #size = 0;

  /**
   * @param {(since: number, limit: number, signal: AbortSignal) => Promise<{packets: Packet[], next: number, total: number}>} fetchPage
   * @param {(error: any | null) => void} onChange something has come, or could not be had
   */
  constructor(fetchPage, onChange) {
    this.fetchPage = fetchPage;
    this.onChange = onChange;
  }

  /** @param {number} number @returns {Packet | undefined} */
  get(number) {
    return this.#pages.get(Math.floor(number / PAGE))?.packets[number % PAGE];
  }

  /** Takes a packet that has come live. @param {Packet} packet */
  add(packet) {
    this.total = Math.max(this.total, packet.packet + 1);
    this.#put(packet);
    this.#trim();
  }

  /**
   * Has the packets from one number up to another fetched, as far as they are missing, and
   * gives up what else was asked for.
   *
   * @param {number} from
   * @param {number} to not included
   */
  need(from, to) {
    const wanted = new Set();
    for (let page = Math.floor(from / PAGE); page * PAGE < Math.min(to, this.total); page += 1) {
      wanted.add(page);
      const there = this.#pages.get(page);
      if (there) {
        this.#pages.delete(page);
        this.#pages.set(page, there);
      }
      if (!this.#asked.has(page) && this.#firstMissing(page) !== null) this.#fetch(page);
    }
    for (const [page, asked] of this.#asked) {
      if (!wanted.has(page)) asked.abort();
    }
  }

  /** Gives up all that was asked for. */
  close() {
    for (const asked of this.#asked.values()) asked.abort();
  }

  /** @param {number} page */
  async #fetch(page) {
    const control = new AbortController();
    this.#asked.set(page, control);
    let error = null;
    try {
      for (let since = this.#firstMissing(page); since !== null; since = this.#firstMissing(page)) {
        const end = Math.min((page + 1) * PAGE, this.total);
        const answer = await this.fetchPage(since, end - since, control.signal);
        if (control.signal.aborted) return;
        this.total = Math.max(this.total, answer.total);
        for (const packet of answer.packets) this.#put(packet);
        if (answer.packets.length === 0) throw new Error("the dispatcher gives no more packets");
        this.onChange(null);
      }
    } catch (failed) {
      error = failed;
    } finally {
      if (this.#asked.get(page) === control) this.#asked.delete(page);
    }
    this.#trim();
    if (error && !control.signal.aborted) this.onChange(error);
  }

  /** @param {number} page */
  #firstMissing(page) {
    const there = this.#pages.get(page)?.packets ?? [];
    const end = Math.min((page + 1) * PAGE, this.total);
    for (let number = page * PAGE; number < end; number += 1) {
      if (there[number % PAGE] === undefined) return number;
    }
    return null;
  }

  /** @param {Packet} packet */
  #put(packet) {
    const number = Math.floor(packet.packet / PAGE);
    let page = this.#pages.get(number);
    if (!page) {
      page = { packets: [], size: 0 };
      this.#pages.set(number, page);
    }
    if (page.packets[packet.packet % PAGE] !== undefined) return;
    page.packets[packet.packet % PAGE] = packet;
    page.size += packet.data.length;
    this.#size += packet.data.length;
  }

  #trim() {
    for (const [number, page] of this.#pages) {
      const isTooMuch = this.#size > MOST || this.#pages.size > MOST_PAGES;
      if (!isTooMuch || this.#pages.size <= 3) return;
      this.#pages.delete(number);
      this.#size -= page.size;
    }
  }
}
