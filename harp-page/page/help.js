// What a person can choose, and the keys.

import { open } from "./dialog.js";
import { h } from "./dom.js";
import { HELP } from "./keys.js";
import { applyTheme, choices, choose } from "./settings.js";
import { clock } from "./time.js";

/** @param {any} app */
export function help(app) {
  const { who } = app.session;
  const single = h("input", { type: "checkbox", onchange: () => choose("keys", single.checked) });
  single.checked = choices.keys;
  const utc = h("input", { type: "checkbox", onchange: () => chooseUtc(app, utc.checked) });
  utc.checked = choices.utc;
  const theme = h("select", { id: "theme", autofocus: true, onchange: () => chooseTheme(theme.value) },
    h("option", { value: "system" }, "As the system"), h("option", { value: "light" }, "Light"), h("option", { value: "dark" }, "Dark"));
  theme.value = choices.theme;
  const dialog = open("Options and keys", [
    h("div", { class: "options" },
      h("label", { for: "theme" }, "Colours"), theme,
      h("label", { class: "choice" }, utc, "Times in UTC"),
      h("label", { class: "choice" }, single, "Keys without Ctrl or Alt")),
    h("dl", { class: "keys" }, HELP.map(([keys, what]) => h("div", null,
      h("dt", null, keys.split(/ {2}/).map((key) => h("kbd", null, key))), h("dd", null, what)))),
    h("p", { class: "quiet" }, who
      ? `You are ${who.method === "anonymous" ? "anonymous" : `${who.identity} (${who.method})`}; you may: ${who.operations.join(", ") || "nothing"}.`
      : "You are not logged in."),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  ]);
}

/** @param {string} theme */
function chooseTheme(theme) {
  choose("theme", /** @type {any} */ (theme));
  applyTheme();
}

/** @param {any} app @param {boolean} utc */
function chooseUtc(app, utc) {
  choose("utc", utc);
  clock.utc = utc;
  app.redraw();
}
