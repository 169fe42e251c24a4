// JSON whose numbers stay what they were. JavaScript has 64-bit floating point numbers alone,
// so 12345678901234567890 would come out as another one.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** A text without any of this has no number that JavaScript would change. */
const RISKY = /\d{15}|\d[.eE]|-0/;
const MARK = "\u0001number:";
const MARKED = /"\\u0001number:([^"]*)"/g;

/**
 * Parses JSON. A number that JavaScript would change becomes a string that only `stringify`
 * understands.
 *
 * @param {string} text
 * @returns {any}
 */
export function parse(text) {
  if (!RISKY.test(text)) return JSON.parse(text);
  let changed = false;
  const safe = text.replace(TOKEN, (token) => {
    if (token[0] === '"' || isKept(token)) return token;
    changed = true;
    return JSON.stringify(MARK + token);
  });
  return JSON.parse(changed ? safe : text);
}

/**
 * The JSON of a value that `parse` has made, on one line.
 *
 * @param {any} value
 * @returns {string}
 */
export function stringify(value) {
  return JSON.stringify(value).replace(MARKED, "$1");
}

/** @param {string} number */
function isKept(number) {
  return String(Number(number)) === number;
}

/**
 * A JSON text laid out over several lines: blanks and newlines are put between its tokens, and
 * nothing else is changed.
 *
 * @param {string} text
 * @returns {string}
 */
export function layOut(text) {
  let out = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") {
      depth += 1;
      const isEmpty = tokens[at + 1] === "}" || tokens[at + 1] === "]";
      out += isEmpty ? token : token + line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      const isEmpty = tokens[at - 1] === "{" || tokens[at - 1] === "[";
      out += isEmpty ? token : line() + token;
    } else if (token === ",") out += `,${line()}`;
    else if (token === ":") out += ": ";
    else out += token;
  });
  return out;
}

/**
 * The text of a value: of a string what is in it, of another value its JSON.
 *
 * @param {string} json
 * @returns {{text: string, isString: boolean}}
 */
export function asText(json) {
  if (json[0] === '"') {
    try {
      return { text: JSON.parse(json), isString: true };
    } catch {
      // It is shown as it is.
    }
  }
  return { text: json, isString: false };
}

/**
 * What is wrong with a text that should be JSON, and where; null if it is JSON.
 *
 * @param {string} text
 * @returns {{message: string, line: number, column: number} | null}
 */
export function fault(text) {
  const at = firstFault(text);
  if (at === null) return null;
  const before = text.slice(0, at.index);
  const line = before.split("\n").length;
  return { message: at.message, line, column: at.index - before.lastIndexOf("\n") };
}

/**
 * Where a JSON text stops being one, read by hand since browsers say it each in their own way.
 *
 * @param {string} text
 * @returns {{index: number, message: string} | null}
 */
function firstFault(text) {
  let at = 0;
  const blank = () => { while (at < text.length && " \t\n\r".includes(text[at])) at += 1; };
  /** @param {string} message @returns {never} */
  const fail = (message) => { throw { index: at, message }; };
  /** @param {RegExp} sticky */
  const take = (sticky) => {
    sticky.lastIndex = at;
    const found = sticky.exec(text);
    if (found) at += found[0].length;
    return found !== null;
  };
  const string = () => {
    if (!take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)) {
      fail(text[at] === '"' ? "this string has no end, or an escape that is none" : 'a string in "double quotes" is missing');
    }
  };
  /** @param {number} depth */
  const value = (depth) => {
    if (depth > 500) fail("too deep");
    blank();
    const first = text[at];
    if (first === '"') string();
    else if (first === "{" || first === "[") {
      const end = first === "{" ? "}" : "]";
      at += 1;
      blank();
      if (text[at] === end) { at += 1; return; }
      for (;;) {
        if (first === "{") {
          blank();
          string();
          blank();
          if (text[at] !== ":") fail('":" is missing behind the key');
          at += 1;
        }
        value(depth + 1);
        blank();
        if (text[at] === end) { at += 1; return; }
        if (text[at] !== ",") fail(`"," or "${end}" is missing`);
        at += 1;
      }
    } else if (!take(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true\b|false\b|null\b/y)) {
      fail(at >= text.length ? "a value is missing" : "this is no JSON value");
    }
  };
  try {
    value(0);
    blank();
    if (at < text.length) fail("something stands behind the value");
    return null;
  } catch (found) {
    if (found instanceof Error) throw found;
    return /** @type {{index: number, message: string}} */ (found);
  }
}
