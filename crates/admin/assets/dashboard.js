"use strict";

// Asks /api/v1/status once a second and shows it. Text from the daemon only ever becomes textContent: names, reasons and
// errors come from tenants and their servers.

const ASK_EVERY_MS = 1000;
const STALE_AFTER_MS = 5000;
const TOKEN = "offtake token";

const STATES = {
  in_sync: ["in sync", "good"],
  lagging: ["lagging", "busy"],
  backfilling: ["backfilling", "busy"],
  degraded: ["degraded", "warn"],
  needs_rebuild: ["needs rebuild", "warn"],
  blocked: ["blocked", "bad"],
  paused: ["paused", "quiet"],
};

const byId = (id) => document.getElementById(id);
const opened = new Set();
let answeredAt = 0;
let latest = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// 64-bit numbers arrive as strings; BigInt keeps every digit.
const count = (text) => (text === null || text === undefined ? "–" : BigInt(text).toLocaleString());
// The daemon stops counting there.
const bounded = (text) => (BigInt(text ?? 0) > 100000n ? "> 100,000" : count(text));
const plural = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

function moment(text) {
  if (!text) return element("span", { className: "quiet", textContent: "never" });
  const at = new Date(text);
  return element("time", { dateTime: text, title: text, textContent: `${duration(Math.max(0, (Date.now() - at) / 1000))} ago` });
}

function badge(state) {
  const [label, tone] = STATES[state] ?? [state, "quiet"];
  return element("span", { className: `badge ${tone}`, textContent: label });
}

function facts(pairs) {
  return element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

function tile(status, name, pairs) {
  const loop = status.loops.find((l) => l.name === name);
  const fuse = status.fuses.find((f) => f.name === name);
  let [label, tone, reason] = loop ? ["running", "good", null] : ["not in this process", "quiet", null];
  if (loop && !loop.ready) [label, tone, reason] = ["late", "bad", loop.reason];
  if (fuse && !fuse.enabled) [label, tone, reason] = ["fuse off", "warn", fuse.reason];
  return element("li", {},
    element("h3", {}, element("span", { textContent: name }), element("span", { className: `badge ${tone}`, textContent: label })),
    reason ? element("p", { className: "reason", textContent: reason }) : null,
    facts(pairs));
}

function showLoops(status) {
  const rate = (rows) => (rows === null ? "–" : `${Math.round(rows).toLocaleString()} /s`);
  const { sequencer, poller, sync } = status;
  byId("loops").replaceChildren(
    tile(status, "sequencer", [
      ["pending changes", bounded(sequencer.pending_changes)],
      ["oldest", duration(sequencer.oldest_pending_seconds)],
      ["last sequence id", count(sequencer.last_sequence_id)],
      ["changes", rate(sequencer.rows_per_second)],
    ]),
    tile(status, "poller", [
      ["destinations owed", poller.owed.toLocaleString()],
      ["in flight", poller.in_flight.toLocaleString()],
      ["expired leases", poller.expired_leases.toLocaleString()],
      ["oldest", duration(poller.oldest_owed_seconds)],
    ]),
    tile(status, "sync", [
      ["rows applied", count(sync.rows_applied_total)],
      ["rows", rate(sync.rows_per_second)],
      ["quarantined rows", bounded(status.quarantined_rows)],
      ["deleted keys kept", count(status.deleted_rows.total)],
    ]));
}

function backfill(of) {
  if (of.state === "done") return element("span", { className: "quiet", textContent: "copied" });
  const line = element("span", {});
  if (of.percent !== null) line.append(element("progress", { max: 100, value: of.percent }), ` ${of.percent.toFixed(0)} %, `);
  line.append(of.state === "pending" ? "copy not begun" : `${count(of.rows_done)} rows copied`);
  if (of.eta_seconds !== null) line.append(`, about ${duration(of.eta_seconds)} to go`);
  return line;
}

function mappingsOf(destination) {
  const rows = destination.mappings.map((m) => element("tr", {},
    element("td", {}, m.name, m.error ? element("small", { className: "bad", textContent: m.error }) : null),
    element("td", { className: "number", textContent: count(m.sequence_id) }),
    element("td", { className: "number", textContent: bounded(m.backlog) }),
    element("td", { className: "number", textContent: count(m.quarantined) }),
    element("td", {}, backfill(m.backfill))));
  const heads = [["Mapping", ""], ["Sequence id", "number"], ["Backlog", "number"], ["Quarantined", "number"], ["Initial copy", ""]];
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([textContent, className]) => element("th", { textContent, className })))),
    element("tbody", {}, ...rows));
}

function showDestination(destination) {
  const id = JSON.stringify([destination.tenant, destination.name]);
  const open = opened.has(id);
  const fold = element("button", { className: "fold", type: "button", textContent: destination.tenant });
  fold.setAttribute("aria-expanded", String(open));
  fold.dataset.id = id;
  const copying = destination.mappings.filter((m) => m.backfill.state !== "done");
  const failing = destination.last_error && destination.consecutive_failures > 0;
  const row = element("tr", {},
    element("td", { className: "name" }, fold),
    element("td", { textContent: destination.name }),
    element("td", {}, badge(destination.state),
      destination.reason ? element("small", { textContent: destination.reason }) : null,
      failing ? element("small", { className: "bad", textContent:
        `${plural(destination.consecutive_failures, "failure", "failures")}: ${destination.last_error}` }) : null,
      ...copying.slice(0, 1).map((m) => element("small", {}, `${m.name}: `, backfill(m.backfill)))),
    element("td", { className: "number", textContent: bounded(destination.lag_rows) }),
    element("td", { className: "number", textContent: destination.lag_seconds ? duration(destination.lag_seconds) : "–" }),
    element("td", {}, moment(destination.last_success_at)),
    element("td", {}, `${destination.host}:${destination.port}/${destination.database}`,
      element("small", { textContent: `schema ${destination.schema}, as ${destination.user}` })));
  if (!open) return [row];
  return [row, element("tr", { className: "detail" }, element("td", { colSpan: 7 }, mappingsOf(destination)))];
}

function showDestinations(status) {
  const wanted = byId("filter").value.trim().toLowerCase();
  const text = (d) => [d.tenant, d.name, d.state, STATES[d.state]?.[0], d.host, d.database].join(" ").toLowerCase();
  const shown = status.destinations.filter((d) => text(d).includes(wanted));
  const more = status.destinations_not_listed;
  byId("shown").textContent = wanted || more ? `${shown.length} of ${status.destinations.length + more}` : "";
  const none = element("tr", {}, element("td", { className: "empty", colSpan: 7, textContent: "no destinations" }));
  const focused = document.activeElement?.dataset?.id;
  byId("destinations").replaceChildren(...(shown.length ? shown.flatMap(showDestination) : [none]));
  if (focused) [...document.querySelectorAll("button.fold")].find((b) => b.dataset.id === focused)?.focus();
}

function showMappings(status) {
  const rows = status.mappings.map((m) => element("tr", {},
    element("td", { className: "name", textContent: m.name }),
    element("td", { textContent: m.source_table ?? "–" }),
    element("td", { className: "number", textContent: count(m.max_sequence_id) }),
    element("td", { className: "number", textContent: m.destinations.toLocaleString() }),
    element("td", { className: `number ${m.destinations_behind ? "busy" : ""}`, textContent: m.destinations_behind.toLocaleString() }),
    element("td", { className: "number", textContent: bounded(status.deleted_rows.by_table[m.source_table] ?? "0") })));
  byId("mappings").replaceChildren(...rows);
}

function show(status) {
  latest = status;
  document.querySelector("main").hidden = false;
  byId("token-form").hidden = true;
  const states = Object.entries(STATES).map(([state, [label, tone]]) => [status.sync.destinations[state] ?? 0, label, tone]);
  const spans = states.filter(([number]) => number > 0).flatMap(([number, label, tone]) =>
    [element("span", { className: tone, textContent: `${number.toLocaleString()} ${label}` }), ", "]);
  byId("summary").replaceChildren(...(spans.length ? spans.slice(0, -1) : ["no destinations yet"]));
  const error = status.config?.error;
  byId("configuration-error").hidden = !error;
  byId("configuration-error").textContent = error ? `The configuration on disk is not in use: ${error}` : "";
  showLoops(status);
  showDestinations(status);
  showMappings(status);
}

async function ask() {
  const token = sessionStorage.getItem(TOKEN);
  const response = await fetch("/api/v1/status", {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    signal: AbortSignal.timeout(STALE_AFTER_MS * 2),
  });
  if (response.status === 401) {
    sessionStorage.removeItem(TOKEN);
    document.querySelector("main").hidden = true;
    byId("token-form").hidden = false;
    byId("summary").textContent = token ? "that token is not accepted" : "a token is needed";
    return false;
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail);
  show(body);
  answeredAt = Date.now();
  byId("freshness").textContent = `version ${body.version}`;
  byId("freshness").className = "";
  return true;
}

async function turn() {
  let again = true;
  try {
    if (!document.hidden) again = await ask();
  } catch (error) {
    const since = answeredAt ? `what is shown is ${duration((Date.now() - answeredAt) / 1000)} old` : "nothing to show yet";
    byId("freshness").textContent = `${error.message ?? "no answer"}; ${since}`;
    byId("freshness").className = "stale";
  }
  if (again) setTimeout(turn, ASK_EVERY_MS);
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId("token").value.trim());
  byId("token").value = "";
  turn();
});

byId("filter").addEventListener("input", () => latest && showDestinations(latest));

byId("destinations").addEventListener("click", (event) => {
  const id = event.target.closest("button.fold")?.dataset.id;
  if (!id) return;
  if (!opened.delete(id)) opened.add(id);
  showDestinations(latest);
});

turn();
