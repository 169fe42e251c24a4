// Text of a terminal as runs of characters with classes. Colours and styles are kept, a
// carriage return writes over its line, everything else that a terminal would obey is dropped.

/**
 * @typedef {object} Run
 * @property {string} text
 * @property {string} classes names of classes with blanks between them; may be empty
 */

/**
 * @typedef {object} Style
 * @property {string} fg
 * @property {string} bg
 * @property {boolean} bold
 * @property {boolean} dim
 * @property {boolean} italic
 * @property {boolean} underline
 * @property {boolean} inverse
 */

/** @returns {Style} */
const plain = () => ({
  fg: "", bg: "", bold: false, dim: false, italic: false, underline: false, inverse: false,
});

// Orders of a terminal, 7 and 8 bits wide: CSI; OSC, DCS, SOS, PM and APC with all that is in
// them (an end that never comes counts as the end of the text); other escapes; then what of
// the control characters moves the cursor, and the rest of them.
const ORDER =
  /(?:\u001b\[|\u009b)([0-?]*)[ -/]*([@-~])?|(?:\u001b[\]P^_X]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u009c|\u001b\\|(?=\u001b)|$)|\u001b[ -/]*[0-~]?|([\r\b\n])|([\u202a-\u202e\u2066-\u2069])|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/**
 * The runs of a text, which begins with plain attributes. Newlines stay in their text.
 *
 * @param {string} text
 * @returns {Run[]}
 */
export function runs(text) {
  const screen = new Screen();
  let style = plain();
  let classes = "";
  let at = 0;
  for (const order of text.matchAll(ORDER)) {
    if (order.index > at) screen.write(text.slice(at, order.index), classes);
    at = order.index + order[0].length;
    const [, parameters, final, motion, turn] = order;
    if (final === "m" && !/[<=>?]/.test(parameters)) {
      style = styled(style, parameters);
      classes = named(style);
    } else if (final === "K") screen.erase(Number(parameters) || 0);
    else if (motion === "\n") screen.newline();
    else if (motion === "\r") screen.move(-Infinity);
    else if (motion === "\b") screen.move(-1);
    else if (turn) screen.write("\ufffd", `${classes} unseen`.trim());
  }
  if (at < text.length) screen.write(text.slice(at), classes);
  return screen.runs();
}

/**
 * The text alone, as it is shown.
 *
 * @param {string} text
 */
export function shown(text) {
  return runs(text).map((run) => run.text).join("");
}

/** One line that can be written over, and the lines before it. */
class Screen {
  /** @type {Run[]} */ #done = [];
  /** @type {Run[]} The present line, while it is only added to. */ #line = [];
  /** @type {{sign: string, classes: string}[] | null} Its characters, once it is written over. */ #cells = null;
  #column = 0;

  /** @param {string} text @param {string} classes */
  write(text, classes) {
    if (this.#cells === null) {
      const last = this.#line.at(-1);
      if (last && last.classes === classes) last.text += text;
      else this.#line.push({ text, classes });
      return;
    }
    for (const sign of text) {
      while (this.#cells.length < this.#column) this.#cells.push({ sign: " ", classes: "" });
      this.#cells[this.#column] = { sign, classes };
      this.#column += 1;
    }
  }

  /** @param {number} by */
  move(by) {
    this.#open();
    this.#column = Math.max(0, this.#column + by);
  }

  /** @param {number} what 0: behind the cursor, 1: before it, 2: all */
  erase(what) {
    // Behind the end of a line that nothing was written over there is nothing.
    if (what === 0 && this.#cells === null) return;
    const cells = this.#open();
    if (what === 0) cells.length = Math.min(cells.length, this.#column);
    else if (what === 2) cells.length = 0;
    else for (let at = 0; at < Math.min(this.#column, cells.length); at += 1) cells[at] = { sign: " ", classes: "" };
  }

  newline() {
    this.#close();
    this.#push("\n", "");
  }

  runs() {
    this.#close();
    return this.#done;
  }

  /** The characters of the present line. */
  #open() {
    if (this.#cells === null) {
      this.#cells = [];
      for (const { text, classes } of this.#line) {
        for (const sign of text) this.#cells.push({ sign, classes });
      }
      this.#line = [];
      this.#column = this.#cells.length;
    }
    return this.#cells;
  }

  #close() {
    for (const { text, classes } of this.#line) this.#push(text, classes);
    for (const { sign, classes } of this.#cells ?? []) this.#push(sign, classes);
    this.#line = [];
    this.#cells = null;
    this.#column = 0;
  }

  /** @param {string} text @param {string} classes */
  #push(text, classes) {
    const last = this.#done.at(-1);
    if (last && last.classes === classes) last.text += text;
    else this.#done.push({ text, classes });
  }
}

/**
 * A style after "select graphic rendition".
 *
 * @param {Style} before
 * @param {string} parameters
 * @returns {Style}
 */
function styled(before, parameters) {
  // Parts with colons are one parameter: 38:2::R:G:B, 4:3.
  const codes = parameters.split(";").flatMap((part) => {
    const [code, ...more] = part.split(":");
    if (more.length === 0) return [Number(code) || 0];
    const numbers = more.map((number) => Number(number) || 0);
    if (code === "4") return [numbers[0] === 0 ? 24 : 4];
    // A colour space may stand before the colour.
    return [Number(code), numbers[0], ...(numbers[0] === 2 ? numbers.slice(-3) : numbers.slice(1))];
  });
  let style = { ...before };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) style = plain();
    else if (code === 1) style.bold = true;
    else if (code === 2) style.dim = true;
    else if (code === 3) style.italic = true;
    else if (code === 4 || code === 21) style.underline = true;
    else if (code === 7) style.inverse = true;
    else if (code === 22) style.bold = style.dim = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code === 27) style.inverse = false;
    else if (code >= 30 && code <= 37) style.fg = String(code - 30);
    else if (code >= 90 && code <= 97) style.fg = String(code - 82);
    else if (code >= 40 && code <= 47) style.bg = String(code - 40);
    else if (code >= 100 && code <= 107) style.bg = String(code - 92);
    else if (code === 39) style.fg = "";
    else if (code === 49) style.bg = "";
    else if (code === 38 || code === 48) {
      const key = code === 38 ? "fg" : "bg";
      if (codes[at + 1] === 5) {
        if (codes[at + 2] <= 255) style[key] = String(codes[at + 2]);
        at += 2;
      } else if (codes[at + 1] === 2) {
        style[key] = String(nearest(codes[at + 2] ?? 0, codes[at + 3] ?? 0, codes[at + 4] ?? 0));
        at += 4;
      }
    }
  }
  return style;
}

/**
 * The nearest of the 256 colours.
 *
 * @param {number} red
 * @param {number} green
 * @param {number} blue
 */
export function nearest(red, green, blue) {
  const levels = [0, 95, 135, 175, 215, 255];
  const level = (/** @type {number} */ value) =>
    levels.reduce((best, there, at) =>
      Math.abs(there - value) < Math.abs(levels[best] - value) ? at : best, 0);
  const cube = [level(red), level(green), level(blue)];
  const grey = Math.min(23, Math.max(0, Math.round(((red + green + blue) / 3 - 8) / 10)));
  const distance = (/** @type {number[]} */ [r, g, b]) =>
    (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
  const ofCube = distance(cube.map((at) => levels[at]));
  const ofGrey = distance([8 + grey * 10, 8 + grey * 10, 8 + grey * 10]);
  return ofGrey < ofCube ? 232 + grey : 16 + cube[0] * 36 + cube[1] * 6 + cube[2];
}

/** @param {Style} style */
function named(style) {
  const [fg, bg] = style.inverse ? [style.bg || "ground", style.fg || "text"] : [style.fg, style.bg];
  const classes = [];
  if (bg) classes.push(`on-${bg}`);
  if (fg && bg) classes.push(`raw-${fg}`);
  else if (fg) classes.push(`fg-${fg}`);
  for (const key of /** @type {const} */ (["bold", "dim", "italic", "underline"])) {
    if (style[key]) classes.push(key);
  }
  return classes.join(" ");
}
