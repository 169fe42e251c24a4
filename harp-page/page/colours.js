// The 256 colours of terminals as rules of a style sheet. On a ground of the page a colour is
// made lighter or darker until it can be read there.

/** @typedef {[number, number, number]} Colour red, green and blue, 0 to 255 */

/** The first 16, which every terminal has its own of. @type {Colour[]} */
const FIRST = [
  [0, 0, 0], [194, 54, 33], [37, 143, 36], [150, 120, 0], [48, 96, 200], [170, 60, 170],
  [0, 140, 150], [190, 190, 190], [110, 110, 110], [240, 80, 60], [60, 200, 60],
  [215, 180, 30], [90, 140, 255], [225, 100, 225], [40, 195, 205], [255, 255, 255],
];

/** What output stands on: as in ground.css. @type {{light: Colour, dark: Colour}} */
export const GROUND = { light: [255, 255, 255], dark: [16, 19, 22] };

/** The least contrast of text (WCAG 2.2, 1.4.3), and some more against rounding. */
const LEAST = 4.6;

/**
 * A colour by its number.
 *
 * @param {number} number
 * @returns {Colour}
 */
export function colour(number) {
  if (number < 16) return FIRST[number];
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return [grey, grey, grey];
  }
  const cube = number - 16;
  const level = (/** @type {number} */ at) => (at === 0 ? 0 : 55 + at * 40);
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

/** @param {Colour} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/**
 * The contrast of two colours, 1 to 21.
 *
 * @param {Colour} one
 * @param {Colour} other
 */
export function contrast(one, other) {
  const [less, more] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

/**
 * A colour that can be read on a ground, as near to the wanted one as that allows.
 *
 * @param {Colour} wanted
 * @param {Colour} ground
 * @returns {Colour}
 */
export function legible(wanted, ground) {
  const end = luminance(ground) > 0.2 ? 0 : 255;
  for (let step = 0; step <= 20; step += 1) {
    const mixed = /** @type {Colour} */ (wanted.map((part) => Math.round(part + ((end - part) * step) / 20)));
    if (contrast(mixed, ground) >= LEAST) return mixed;
  }
  return [end, end, end];
}

/** The rules of all colours, for both themes. */
export function rules() {
  const css = (/** @type {Colour} */ [red, green, blue]) => `rgb(${red} ${green} ${blue})`;
  const lines = [];
  for (const theme of /** @type {const} */ (["light", "dark"])) {
    for (let number = 0; number < 256; number += 1) {
      const fit = legible(colour(number), GROUND[theme]);
      lines.push(`[data-theme="${theme}"] .fg-${number}{color:${css(fit)}}`);
    }
  }
  for (let number = 0; number < 256; number += 1) {
    const own = colour(number);
    const text = contrast(own, [0, 0, 0]) >= LEAST ? "#000" : "#fff";
    lines.push(`.on-${number}{background:${css(own)};color:${text}}`);
  }
  // A colour that was chosen together with its ground stays what it is.
  for (let number = 0; number < 256; number += 1) {
    lines.push(`.raw-${number}{color:${css(colour(number))}}`);
  }
  return lines.join("\n");
}

/** Has the document know the colours. */
export function install() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules());
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
