// Who are you: a token for a session.

import { Problem } from "../api.js";
import { fill, h } from "../dom.js";

/** @param {any} app @param {string} [why] */
export function login(app, why) {
  const field = h("input", {
    type: "password", id: "token", name: "token", autocomplete: "current-password", required: true,
    spellcheck: "false", "aria-describedby": "token-help token-error", autofocus: true,
  });
  const error = h("p", { class: "bad", id: "token-error", role: "alert" }, why ?? "");
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  const form = h("form", {
    class: "login",
    onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      fill(error);
      field.removeAttribute("aria-invalid");
      try {
        await app.session.begin(field.value.trim());
        field.value = "";
        app.restart();
      } catch (failed) {
        const isWrong = failed instanceof Problem && failed.status === 401;
        fill(error, isWrong ? "This token is not known here." : /** @type {Error} */ (failed).message);
        field.setAttribute("aria-invalid", "true");
        field.select();
      }
      button.disabled = false;
    },
  },
  h("h1", null, "HarpCaller"),
  h("label", { for: "token" }, "Token"),
  field, error, button,
  h("p", { class: "quiet", id: "token-help" }, "Whoever runs the dispatcher makes one with ",
    h("code", null, "harpcallerd new-token NAME"), " and puts the line that it prints into ",
    h("code", null, "tokens_file"), "."));
  return { title: "Log in", element: h("div", { class: "screen narrow" }, form), keys: {} };
}
