// Times and durations, as people read them.

const two = (/** @type {number} */ number) => String(number).padStart(2, "0");

/** Whether times are shown as UTC; else as local time. */
export const clock = { utc: false, now: () => Date.now() };

/**
 * Day and time with its offset, such as `2026-11-27 15:04:05 +01:00`.
 *
 * @param {number} ms
 */
export function full(ms) {
  const { date, time, offset } = parts(ms);
  return `${date} ${time} ${offset}`;
}

/**
 * The time with milliseconds, for lines of output.
 *
 * @param {number} ms
 */
export function ofLine(ms) {
  return `${parts(ms).time}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;
}

/** @param {number} ms */
function parts(ms) {
  const minutes = clock.utc ? 0 : -new Date(ms).getTimezoneOffset();
  const iso = new Date(ms + minutes * 60_000).toISOString();
  const sign = minutes < 0 ? "-" : "+";
  const hours = Math.floor(Math.abs(minutes) / 60);
  const offset = clock.utc ? "UTC" : `${sign}${two(hours)}:${two(Math.abs(minutes) % 60)}`;
  return { date: iso.slice(0, 10), time: iso.slice(11, 19), offset };
}

/**
 * How long something takes, in the two largest units: `4.2 s`, `3 min 5 s`, `2 d 4 h`.
 *
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 0.0005) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  /** @type {[number, string][]} */
  const units = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([length]) => whole >= length);
  const [length, unit] = units[first];
  const [smaller, small] = units[first + 1] ?? [1, ""];
  const rest = Math.floor((whole % length) / smaller);
  const more = small && rest > 0 ? ` ${rest} ${small}` : "";
  return `${Math.floor(whole / length)} ${unit}${more}`;
}

/**
 * How long ago something was, in one unit: `now`, `12 s ago`, `3 h ago`.
 *
 * @param {number} ms
 */
export function ago(ms) {
  const seconds = Math.round((clock.now() - ms) / 1000);
  if (seconds < 1) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/**
 * A `<time>` element.
 *
 * @param {number} ms
 * @param {string} [text] what is shown in place of the whole time
 */
export function timeElement(ms, text) {
  const element = document.createElement("time");
  element.dateTime = new Date(ms).toISOString();
  element.title = full(ms);
  element.textContent = text ?? full(ms);
  return element;
}
