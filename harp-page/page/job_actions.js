// What can be done with a job: cancel, call again, download, copy.

import { tell } from "./announce.js";
import { confirm } from "./dialog.js";
import { h, name } from "./dom.js";
import { address } from "./router.js";
import { explainDeed } from "./states.js";
import { whatCameOfCancel } from "./words.js";

/** How long a host is waited for that is to confirm a cancel, in milliseconds. */
const CONFIRM = 90_000;

/** @typedef {import("./words.js").Job} Job */

/**
 * Asks once, then cancels.
 *
 * @param {any} app
 * @param {Job} job
 */
export async function cancel(app, job) {
  const yes = await confirm({
    title: "Cancel this job?",
    text: [name(job.procedure, "mono"), " on ", name(job.host, "mono"),
      job.state === "queued" ? " waits; it will not be started." : " runs; its host ends it with all its processes, if it can."],
    yes: "Cancel the job",
  });
  if (!yes) return;
  tell(job.state === "queued" ? "Cancelling\u2026" : "Cancelling: waiting for its host\u2026", "busy");
  try {
    tell(whatCameOfCancel(await app.api.post(`/jobs/${job.id}/cancel`, { confirm: true }, { patience: CONFIRM })));
  } catch (error) {
    const { text, detail } = explainDeed(error);
    tell(`${text} ${detail}`, "bad");
  }
}

/**
 * The buttons for a job as it stands.
 *
 * @param {any} app
 * @param {Job} job
 */
export function actions(app, job) {
  const file = (/** @type {string} */ format) => app.api.download(`/jobs/${job.id}/output`, [["download", "true"], ["format", format]]);
  return h("div", { class: "actions" },
    job.state !== "ended" && app.may("cancel")
      && h("button", { type: "button", class: "danger", "data-acts": true, onclick: () => cancel(app, job) }, "Cancel"),
    app.may("call") && h("a", { class: "button", href: address(["call"], [["again", job.id]]) }, "Call again"),
    h("a", { class: "button", href: file("text"), download: `${job.id}.txt` }, "Download"),
    menu("More",
      h("a", { href: file("ndjson"), download: `${job.id}.ndjson` }, "Download as ndjson, with times"),
      copier("Copy the id", () => job.id),
      // With the line that is marked, if one is.
      copier("Copy the link", () => location.href),
      copier("Copy the command: harp follow", () => `harp follow ${job.id}`)));
}

/** @param {string} label @param {...Node} items */
function menu(label, ...items) {
  const element = h("details", { class: "menu" }, h("summary", { class: "button" }, label),
    h("div", { class: "items" }, items));
  element.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("a, button")) element.open = false;
  });
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget instanceof Node && !element.contains(event.relatedTarget)) element.open = false;
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !element.open) return;
    event.stopPropagation();
    element.open = false;
    element.querySelector("summary")?.focus();
  });
  return element;
}

/** @param {string} label @param {() => string} text */
function copier(label, text) {
  return h("button", { type: "button", onclick: () => copy(text(), label) }, label);
}

/** @param {string} text @param {string} label */
async function copy(text, label) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Only pages of trusted origins have a clipboard; this older way works elsewhere.
    const field = h("textarea", { class: "spoken" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  tell(label.replace(/^Copy/, "Copied:"));
}
