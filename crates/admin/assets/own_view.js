"use strict";

// Shows what /tenant/status says of one tenant. The token stands behind `#` in the page's address,
// which the browser sends to no server; only this request shows it. Every text is set as
// textContent, never as HTML.

const ASK_EVERY_MS = 10_000;
const STALE_AFTER_MS = 35_000;

// Each state with its label and its tone.
const STATES = {
  in_sync: ["up to date", "good"],
  lagging: ["changes on their way", "busy"],
  backfilling: ["being copied", "busy"],
  degraded: ["some rows missing", "warn"],
  blocked: ["cannot be written", "bad"],
  paused: ["paused", "quiet"],
  disabled: ["disabled", "bad"],
};

const byId = (id) => document.getElementById(id);
let answeredAt = 0;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function duration(seconds) {
  const units = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = units.find(([size]) => seconds >= size) ?? units.at(-1);
  const count = Math.max(1, Math.floor(seconds / size));
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

function moment(time) {
  const at = new Date(time);
  const made = element("time", { dateTime: time, textContent: at.toLocaleString() });
  return [`${duration((Date.now() - at) / 1000)} ago, `, made];
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, ...told] of pairs) {
    list.append(element("dt", { textContent: name }), element("dd", {}, ...told));
  }
  return list;
}

function badge(state) {
  const [label, tone] = STATES[state] ?? [state, "quiet"];
  return element("span", { className: `badge ${tone}`, textContent: label });
}

function freshness(one) {
  return ["Oldest change that waits", one.behind_seconds > 0 ? `${duration(one.behind_seconds)} old` : "none"];
}

function proof(one) {
  if (!one.verified_at) return ["Proved equal", "not yet"];
  return ["Last proved equal", ...moment(one.verified_at)];
}

function copyOf(mapping) {
  if (mapping.failing) return "cannot be written";
  if (mapping.copied) return "complete";
  return mapping.percent === null ? "being copied" : `being copied, ${Math.floor(mapping.percent)} %`;
}

function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, ...[cell].flat()))));
  return element("table", {}, element("caption", { textContent: caption }), element("thead", {}, head), element("tbody", {}, ...body));
}

function destination(one) {
  const rows = one.mappings.map((mapping) => [
    mapping.name,
    copyOf(mapping),
    mapping.verified_at ? moment(mapping.verified_at) : "not yet",
    mapping.quarantined,
    mapping.differences ?? "not known yet",
  ]);
  return element("article", {},
    element("h3", {}, element("span", { textContent: one.name }), badge(one.state)),
    element("p", { textContent: one.meaning }),
    facts([
      freshness(one),
      ["Last written or checked", ...(one.last_success_at ? moment(one.last_success_at) : ["never"])],
      proof(one),
      ["Rows that it refuses", one.quarantined],
    ]),
    table("Tables", ["Name", "Copy", "Proved equal", "Refused rows", "Differing rows"], rows));
}

function webhook(one) {
  const rows = one.mappings.map((mapping) => [mapping.name, mapping.copied ? "complete" : "being told", mapping.quarantined]);
  return element("article", {},
    element("h3", {}, element("span", { textContent: one.name }), badge(one.state)),
    element("p", { textContent: one.meaning }),
    facts([
      freshness(one),
      ["Last acknowledged", ...(one.last_success_at ? moment(one.last_success_at) : ["never"])],
      ["Events that it refuses", one.quarantined],
    ]),
    table("What it is told of", ["Name", "From the beginning", "Refused events"], rows));
}

function show(view) {
  byId("whose").textContent = view.tenant;
  const summary = byId("summary");
  summary.textContent = view.up_to_date ? "Everything is up to date." : "Not everything is up to date.";
  summary.className = view.up_to_date ? "good" : "warn";
  for (const [id, items, shown] of [["destinations", view.destinations, destination], ["webhooks", view.webhooks, webhook]]) {
    byId(id).replaceChildren(...items.map(shown));
    byId(id).parentElement.hidden = items.length === 0;
  }
  byId("read-at").replaceChildren("As of ", element("time", { dateTime: view.read_at, textContent: new Date(view.read_at).toLocaleString() }), ".");
  document.querySelector("main").hidden = false;
}

function complain(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = text === "";
}

async function ask() {
  const token = location.hash.slice(1);
  if (!/^[\w.-]+$/.test(token)) {
    document.querySelector("main").hidden = true;
    complain("This link is not complete. Ask your provider for it.");
    return;
  }
  try {
    const answer = await fetch("/tenant/status", { headers: { Authorization: `Bearer ${token}` } });
    if (answer.status === 401) {
      document.querySelector("main").hidden = true;
      byId("read-at").replaceChildren();
      byId("whose").textContent = "";
      complain("This link is not valid, or no longer. Ask your provider for a new one.");
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    answeredAt = Date.now();
    complain("");
  } catch {
    const old = answeredAt > 0 && Date.now() - answeredAt > STALE_AFTER_MS;
    if (answeredAt === 0) complain("No answer yet. It is asked again in a few seconds.");
    else if (old) complain(`No answer for ${duration((Date.now() - answeredAt) / 1000)}. What is shown may be out of date.`);
  }
}

window.addEventListener("hashchange", ask);
setInterval(() => { if (!document.hidden) ask(); }, ASK_EVERY_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
