// All hosts of the registry.

import { tell } from "../announce.js";
import { fill, h, name } from "../dom.js";
import { pages, Refetch } from "../refetch.js";
import { address, value } from "../router.js";
import { rowKeys } from "../rows.js";
import { empty, explainDeed } from "../states.js";
import { ago, duration, timeElement } from "../time.js";
import { counted, number, whyNotReached } from "../words.js";

/** @param {any} app @param {import("../router.js").Route} route */
export function hosts(app, route) {
  const place = h("div", null);
  let asked = value(route, "q") ?? "";
  const field = h("input", { type: "search", placeholder: "Name or address", "aria-label": "Search hosts", value: asked, autocomplete: "off", spellcheck: "false" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      asked = field.value;
      history.replaceState(null, "", address(["hosts"], asked ? [["q", asked]] : []));
      part.now();
    }, 250);
  });
  const part = new Refetch(app, {
    place, what: "hosts", events: null,
    read: () => pages(app.api, "/hosts", asked ? [["q", asked]] : [], "hosts"),
    show: ({ entries, isAll }) => show(place, entries, isAll, asked),
  });
  const refresh = h("button", { type: "button", "data-acts": true, title: "Run the script of the hosts registry now", onclick: () => refreshHosts(app, refresh, part) }, "Refresh");
  return {
    title: "Hosts",
    element: h("div", { class: "screen" },
      h("div", { class: "top" }, h("h1", null, "Hosts"),
        h("form", { role: "search", class: "search", onsubmit: (/** @type {Event} */ event) => event.preventDefault() }, field),
        app.may("admin") && refresh),
      place),
    keys: { ...rowKeys(place), "/": () => field.focus() },
    close: () => part.close(),
  };
}

/** @param {Element} place @param {any[]} all @param {boolean} isAll @param {string} asked */
function show(place, all, isAll, asked) {
  if (all.length === 0) {
    return fill(place, asked ? empty("No host fits.") : empty("The hosts registry has no host.",
      h("p", { class: "quiet" }, "It is what ", h("code", null, "host_db_script"), " prints.")));
  }
  return fill(place,
    h("p", { class: "quiet help" }, isAll ? counted(all.length, "host") : `The first ${number(all.length)} hosts; search to see others.`),
    h("ul", { class: "table hosts", role: "list" }, all.map((host) => h("li", { "data-host": host.name },
      h("a", { class: "main mono", "data-main": true, href: address(["hosts", host.name]) }, name(host.name)),
      h("span", { class: "mono quiet" }, name(`${host.address}:${host.port}`)),
      h("span", null, load(host)),
      h("span", { class: "long" }, contact(host))))));
}

/** What runs and waits, as far as it is known. @param {any} host */
export function load(host) {
  const parts = [];
  if (host.running > 0) parts.push(`${number(host.running)} running`);
  if (host.queued > 0) parts.push(`${number(host.queued)} queued`);
  return parts.join(", ");
}

/** When the host was heard of, and what went wrong since. @param {any} host */
export function contact(host) {
  if (host.device) return standing(host);
  const { last_contact: last, last_failure: failure } = host;
  const isBroken = failure && (last === null || failure.time > last);
  return h("span", null,
    isBroken && h("span", { class: "bad", title: failure.code ?? failure.type }, `${whyNotReached(failure)} `, timeElement(failure.time, ago(failure.time)), last === null ? "" : ", "),
    last !== null && h("span", { class: "quiet" }, "heard ", timeElement(last, ago(last))),
    last === null && !isBroken && host.running !== null && h("span", { class: "quiet" }, "not called yet"));
}

/** How a device stands, which tells that by itself. @param {any} host */
function standing(host) {
  const { age, version, why } = host.device;
  const isUp = host.state === "reachable";
  const facts = [
    age !== null && `heartbeat ${duration(age)} ago`,
    version !== null && `version ${version}`,
  ].filter((fact) => fact !== false);
  return h("span", { "data-standing": host.state },
    h("span", { class: isUp ? "good" : "bad" }, isUp ? "\u2713 reachable" : "\u2717 unreachable"),
    facts.length > 0 && h("span", { class: "quiet" }, ", ", name(facts.join(", "))),
    !isUp && why !== null && h("span", { class: "bad" }, ": ", name(why)));
}

/** @param {any} app @param {HTMLButtonElement} button @param {Refetch} part */
async function refreshHosts(app, button, part) {
  button.disabled = true;
  tell("The script of the hosts registry runs\u2026", "busy");
  try {
    const answer = await app.api.post("/hosts/refresh", {}, { patience: 120_000 });
    tell(answer.ok ? `The registry has ${counted(answer.hosts, "host")}.` : `The registry was not read: ${answer.message}`, answer.ok ? "good" : "bad");
    part.now();
  } catch (error) {
    const { text, detail } = explainDeed(error);
    tell(`${text} ${detail}`, "bad");
  }
  button.disabled = app.connection.state === "stale";
}
