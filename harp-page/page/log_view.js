// The output of a job, of any length: rows around what is seen, placed by the row at the top
// and how much of it is above the edge. What comes or opens elsewhere moves nothing.

import { h } from "./dom.js";
import { closed, emptyRow, row } from "./log_row.js";
import { barOf, isScaled, length, rowOf } from "./scale.js";

/** Rows in the document at most, and beyond each edge of what is seen. */
const MOST = 400;
const BEYOND = 12;

/** When the scroll bar is put right behind a movement, in milliseconds of rest. */
const REST = 150;

export class LogView {
  /** The row at the top, and how many pixels of it are above the edge. */
  #top = { row: 0, above: 0 };
  #follows = false;
  /** @type {Map<number, HTMLElement>} Rows in the document, by number. */ #rows = new Map();
  /** @type {Map<number, import("./log_row.js").Opened>} */ #opened = new Map();
  #average = 20;
  #bar = 0;
  #isDragging = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #resting;
  #frame = 0;
  /** @type {import("./log_row.js").Marker | null} */ #search = null;
  /** @type {number | null} A row that is marked. */ #marked = null;

  /**
   * @param {import("./packets.js").Packets} packets
   * @param {(number: number) => string} link the address of a row
   * @param {{onFollow: (follows: boolean) => void}} listener is told when following begins or ends
   */
  constructor(packets, link, listener) {
    this.packets = packets;
    this.link = link;
    this.listener = listener;
    this.sheet = h("div", { class: "sheet" });
    this.window = h("div", { class: "window" }, this.sheet);
    this.length = h("div", { class: "length" }, this.window);
    this.element = h("div", {
      class: "log", role: "log", tabindex: 0, "aria-live": "off", "aria-label": "Output",
      onscroll: () => this.#scrolled(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
      onpointerdown: (/** @type {PointerEvent} */ event) => {
        this.#isDragging = event.offsetX >= this.element.clientWidth && event.target === this.element;
      },
    }, this.length);
    this.element.addEventListener("wheel", (event) => this.#wheeled(event), { passive: false });
    this.released = () => { this.#isDragging = false; };
    window.addEventListener("pointerup", this.released);
    this.observer = new ResizeObserver(() => this.refresh());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
    window.removeEventListener("pointerup", this.released);
    clearTimeout(this.#resting);
    cancelAnimationFrame(this.#frame);
  }

  get follows() {
    return this.#follows;
  }

  /** @param {boolean} follows */
  set follows(follows) {
    if (follows === this.#follows) return;
    this.#follows = follows;
    this.listener.onFollow(follows);
    this.refresh();
  }

  /** Draws with the next frame what has come or changed. */
  refresh() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Draws all rows anew, since they look otherwise. @param {import("./log_row.js").Marker | null} [search] */
  restyle(search = this.#search) {
    this.#search = search;
    this.sheet.replaceChildren();
    this.#rows.clear();
    this.refresh();
  }

  /**
   * Goes to a packet, which is marked.
   *
   * @param {number} number
   */
  show(number) {
    this.follows = false;
    this.#marked = number;
    for (const there of this.sheet.querySelectorAll(".aim")) there.classList.remove("aim");
    if (this.#isSeen(number)) {
      this.#rows.get(number)?.classList.add("aim");
      return;
    }
    const third = this.element.clientHeight / 3;
    this.#top = { row: Math.min(number, Math.max(0, this.packets.total - 1)), above: -third };
    this.refresh();
  }

  /** True if a row is within what is seen. @param {number} number */
  #isSeen(number) {
    const row = this.#rows.get(number)?.getBoundingClientRect();
    const log = this.element.getBoundingClientRect();
    return row !== undefined && row.top >= log.top && row.bottom <= log.bottom;
  }

  toBegin() {
    this.follows = false;
    this.#top = { row: 0, above: 0 };
    this.refresh();
  }

  /** @param {boolean} follow goes on with what comes */
  toEnd(follow) {
    if (follow) this.follows = true;
    this.#top = { row: Math.max(0, this.packets.total - 1), above: 1e9 };
    this.refresh();
  }

  get #sight() {
    return { total: this.packets.total, average: this.#average, view: this.#view };
  }

  /** Height of what is seen, in pixels; never more than anybody could see. */
  get #view() {
    return Math.min(this.element.clientHeight, 2 * window.innerHeight);
  }

  #draw() {
    this.#frame = 0;
    const view = this.#view;
    if (view === 0 || !this.element.isConnected) return;
    const total = this.packets.total;
    if (this.#follows) this.#top = { row: Math.max(0, total - 1), above: 1e9 };
    if (total === 0) {
      this.sheet.replaceChildren();
      this.#rows.clear();
      return;
    }
    // Heights are known once rows are in the document; with them the place is put right, and
    // there may be other rows to be seen.
    let first = 0;
    for (let round = 0; round < 6; round += 1) {
      const fit = Math.ceil(view / this.#average) + 1;
      const above = this.#top.above < 0 || this.#top.row >= total - fit ? fit : 0;
      first = Math.max(0, this.#top.row - above - BEYOND);
      const end = Math.min(total, first + MOST, this.#top.row + fit + BEYOND);
      this.#place(first, end);
      if (this.#settle(first, end, view)) break;
    }
    this.#follow(view);
  }

  /** Has the rows of these numbers in the document, and no others. @param {number} first @param {number} end */
  #place(first, end) {
    this.packets.need(first, end);
    for (const [number, element] of this.#rows) {
      const isStale = element.dataset.missing !== undefined && this.packets.get(number);
      if (number < first || number >= end || isStale) {
        element.remove();
        this.#rows.delete(number);
      }
    }
    let before = null;
    for (let number = end - 1; number >= first; number -= 1) {
      let element = this.#rows.get(number);
      if (!element) {
        element = this.#make(number);
        this.#rows.set(number, element);
        this.sheet.insertBefore(element, before);
      }
      before = element;
    }
  }

  /** @param {number} number */
  #make(number) {
    const packet = this.packets.get(number);
    if (!packet) return emptyRow(number);
    const element = row(packet, {
      link: this.link(number),
      opened: this.#opened.get(number) ?? closed(),
      search: this.#search,
      onOpen: (opened) => {
        this.#opened.set(number, opened);
        this.#rows.get(number)?.remove();
        this.#rows.delete(number);
        this.follows = false;
        this.refresh();
      },
    });
    if (number === this.#marked) element.classList.add("aim");
    return element;
  }

  /**
   * Puts the place right by the heights of the rows; false if other rows are to be seen then.
   *
   * @param {number} first
   * @param {number} end
   * @param {number} view
   */
  #settle(first, end, view) {
    const heights = [];
    let sum = 0;
    for (let number = first; number < end; number += 1) {
      const height = this.#rows.get(number)?.getBoundingClientRect().height ?? this.#average;
      heights.push(height);
      sum += height;
    }
    this.#average = Math.max(12, sum / heights.length);
    // Pixels from the first row in the document down to the edge.
    let edge = this.#top.above;
    for (let number = first; number < this.#top.row; number += 1) edge += heights[number - first];
    if (end === this.packets.total) edge = Math.min(edge, sum - view);
    if (first === 0) edge = Math.max(edge, 0);
    let at = 0;
    let top = 0;
    while (at < heights.length - 1 && top + heights[at] <= edge) {
      top += heights[at];
      at += 1;
    }
    this.#top = { row: first + at, above: edge - top };
    const isWhole = (edge >= 0 || first === 0) && (edge + view <= sum || end === this.packets.total);
    if (isWhole) this.sheet.style.transform = `translateY(${-edge}px)`;
    return isWhole;
  }

  /** Has the scroll bar stand where the rows do. @param {number} view */
  #follow(view) {
    this.length.style.height = `${length(this.#sight)}px`;
    this.window.style.height = `${view}px`;
    if (!this.#isDragging && this.#resting === undefined) this.#putBar();
  }

  #putBar() {
    const average = this.#rows.get(this.#top.row)?.getBoundingClientRect().height || this.#average;
    const at = this.#top.row + this.#top.above / average;
    const most = this.element.scrollHeight - this.element.clientHeight;
    this.element.scrollTop = this.#isAtEnd() ? most : barOf(at, this.#sight);
    this.#bar = this.element.scrollTop;
  }

  #isAtEnd() {
    const last = this.#rows.get(this.packets.total - 1);
    return last === undefined ? this.packets.total === 0
      : last.getBoundingClientRect().bottom <= this.element.getBoundingClientRect().bottom + 2;
  }

  #scrolled() {
    const bar = this.element.scrollTop;
    const by = bar - this.#bar;
    if (Math.abs(by) < 1) return;
    this.#bar = bar;
    const most = this.element.scrollHeight - this.element.clientHeight;
    if (bar <= 0) this.#top = { row: 0, above: 0 };
    else if (bar >= most - 1) this.#top = { row: Math.max(0, this.packets.total - 1), above: 1e9 };
    else if (this.#isDragging || Math.abs(by) > this.element.clientHeight * 1.5) {
      const row = rowOf(bar, this.#sight);
      this.#top = { row: Math.floor(row), above: (row % 1) * this.#average };
    } else this.#top.above += by;
    this.#moved();
  }

  /** Moves by so many pixels of rows. @param {number} by */
  #moveBy(by) {
    this.#top.above += by;
    this.#moved();
  }

  #moved() {
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
      this.#putBar();
    }, REST);
    if (this.#follows) {
      this.#follows = false;
      this.#draw();
      if (this.#isAtEnd()) this.#follows = true;
      else this.listener.onFollow(false);
    } else this.refresh();
  }

  /** A long output moves by its rows, not by the scroll bar's pixels. @param {WheelEvent} event */
  #wheeled(event) {
    if (event.ctrlKey || event.deltaY === 0 || !isScaled(this.#sight)) return;
    event.preventDefault();
    const unit = [1, this.#average, this.element.clientHeight][event.deltaMode] ?? 1;
    this.#moveBy(event.deltaY * unit);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = this.element.clientHeight - 2 * this.#average;
    /** @type {Record<string, number>} */
    const ways = {
      ArrowDown: 40, ArrowUp: -40, PageDown: page, PageUp: -page, " ": event.shiftKey ? -page : page,
    };
    const by = ways[event.key];
    if (by === undefined || event.target !== this.element) return;
    event.preventDefault();
    this.#moveBy(by);
  }
}
