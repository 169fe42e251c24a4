// A question with its answers, and other things that stand before the page.

import { h } from "./dom.js";

/**
 * Asks once; true if the answer is yes. Esc and a click beside it mean no.
 *
 * @param {{title: string, text: import("./dom.js").Child[], yes: string, no?: string}} question
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, yes, no = "Go back" }) {
  return new Promise((answered) => {
    const dialog = open(title, [
      h("p", null, text),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("no") }, no),
        h("button", { type: "button", class: "danger", "data-acts": true, autofocus: true, onclick: () => dialog.close("yes") }, yes)),
    ]);
    dialog.addEventListener("close", () => answered(dialog.returnValue === "yes"));
  });
}

/**
 * Opens a dialog, which is gone when it is closed; the focus goes back to where it was.
 *
 * @param {string} title
 * @param {(Node | string)[]} content
 */
export function open(title, content) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, heading, ...content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close("no");
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
