"use strict";

// Shows the events of /api/v1/events, and sends the API what an operator clicks. Text from the
// daemon is only ever set as textContent: names, reasons and errors come from tenants and their
// servers, and as HTML they could run scripts. The token is kept in this variable and nowhere else,
// so a reload forgets it.

const STALE_AFTER_MS = 5000;
const AGAIN_AFTER_MS = 1000;
let token = null;

// Each state with its label and its tone. The summary lists them in this order.
const STATES = {
  blocked: ["blocked", "bad"],
  degraded: ["degraded", "warn"],
  lagging: ["lagging", "busy"],
  backfilling: ["backfilling", "busy"],
  paused: ["paused", "quiet"],
  in_sync: ["in sync", "good"],
};

// What has rows and buttons: its actions, which of its items are known, and how it is shown again.
// webhooks.js adds its own.
const BOARDS = {
  destinations: { actions: () => ACTIONS, items: () => latest.destinations, redraw: () => latest && showDestinations(latest) },
};

const byId = (id) => document.getElementById(id);
const opened = new Set();
// The result of the last action on a destination, by its id.
const outcomes = new Map();
// The quarantined rows of opened destinations, by id.
const refused = new Map();
let answeredAt = 0;
let latest = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Makes `old` equal to `made` and keeps every element that stays. A button that was replaced every
// second could not be clicked.
function become(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName) return old.replaceWith(made);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  return fill(old, [...made.childNodes]);
}

// Rows are matched by their key. Matched by position, a click that began on one row could end on
// another that has moved there meanwhile.
function fill(parent, made) {
  const keyed = new Map([...parent.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  made.forEach((child, i) => {
    const at = parent.childNodes[i] ?? null;
    const key = child.dataset?.key;
    const same = key ? keyed.get(key) : at?.dataset?.key ? null : at;
    if (!same) parent.insertBefore(child, at);
    else {
      if (same !== at) parent.insertBefore(same, at);
      become(same, child);
    }
  });
  while (parent.childNodes.length > made.length) parent.lastChild.remove();
}

// 64-bit numbers arrive as strings; BigInt keeps every digit.
const count = (text) => (text === null || text === undefined ? "–" : BigInt(text).toLocaleString());
// The daemon counts no further than 100,001.
const bounded = (text) => (BigInt(text ?? 0) > 100000n ? "> 100,000" : count(text));
const plural = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

function moment(text) {
  if (!text) return element("span", { className: "quiet", textContent: "never" });
  const seconds = (Date.now() - new Date(text)) / 1000;
  return element("time", { dateTime: text, title: text, textContent: seconds < 5 ? "just now" : `${duration(Math.round(seconds))} ago` });
}

function badge(state, states = STATES) {
  const [label, tone] = states[state] ?? [state, "quiet"];
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
  fill(byId("loops"), [
    tile(status, "sequencer", [
      ["pending changes", bounded(sequencer.pending_changes)],
      ["oldest", duration(sequencer.oldest_pending_seconds)],
      ["last sequence id", count(sequencer.last_sequence_id)],
      ["changes", rate(sequencer.rows_per_second)],
    ]),
    tile(status, "poller", [
      ["destinations owed", poller.owed.toLocaleString()],
      ["webhooks owed", poller.owed_webhooks.toLocaleString()],
      ["in flight", poller.in_flight.toLocaleString()],
      ["expired leases", poller.expired_leases.toLocaleString()],
      ["oldest", duration(poller.oldest_owed_seconds)],
    ]),
    tile(status, "sync", [
      ["rows applied", count(sync.rows_applied_total)],
      ["rows", rate(sync.rows_per_second)],
      ["quarantined rows", bounded(status.quarantined_rows)],
      ["deleted keys kept", count(status.deleted_rows.total)],
    ]),
    ...(Object.values(status.webhooks.states).some((number) => number > 0) ? [tile(status, "webhooks", [
      ["events acknowledged", count(status.webhooks.events_total)],
      ["events", rate(status.webhooks.events_per_second)],
      ["quarantined events", bounded(status.quarantined_events)],
    ])] : [])]);
}

function backfill(of) {
  if (of.state === "done") return element("span", { className: "quiet", textContent: "copied" });
  const line = element("span", {});
  if (of.percent !== null) line.append(element("progress", { max: 100, value: of.percent }), ` ${of.percent.toFixed(0)} %, `);
  line.append(of.state === "pending" ? "copy not started" : `${count(of.rows_done)} rows copied`);
  if (of.eta_seconds !== null) line.append(`, about ${duration(of.eta_seconds)} to go`);
  return line;
}

// When a destination, or a mapping in it, was last proved equal, and how many rows differ now.
function verification(of) {
  const differs = BigInt(of.differences ?? 0) > 0n;
  return element("span", {}, moment(of.verified_at),
    differs ? element("small", { className: "bad differs", textContent: of.differences === "1" ? "1 row differs" : `${count(of.differences)} rows differ` }) : null);
}

function mappingsOf(destination) {
  const rows = destination.mappings.map((m) => element("tr", {},
    element("td", {}, m.name, m.error ? element("small", { className: "bad", textContent: m.error }) : null),
    element("td", { className: "number", textContent: count(m.sequence_id) }),
    element("td", { className: "number", textContent: bounded(m.backlog) }),
    element("td", { className: "number", textContent: count(m.quarantined) }),
    element("td", {}, verification(m), m.audit_error ? element("small", { className: "bad", textContent: m.audit_error }) : null),
    element("td", {}, backfill(m.backfill),
      m.resync_requested_at ? element("small", {}, "a re-copy was requested ", moment(m.resync_requested_at)) : null)));
  const heads = [["Mapping", ""], ["Sequence id", "number"], ["Backlog", "number"], ["Quarantined", "number"], ["Verified", ""], ["Initial copy", ""]];
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([textContent, className]) => element("th", { textContent, className })))),
    element("tbody", {}, ...rows));
}

// An action with `here` sends nothing that changes anything: why.js asks and shows the answer.
const ACTIONS = {
  why: { label: "Why?", here: (tenant) => askWhyOf(tenant) },
  sync: { label: "Sync now", done: () => "a sync is owed" },
  verify: { label: "Verify", begun: "comparing …", done: verified },
  pause: { label: "Pause …", ask: "Nothing is written to the destination until it is resumed. Its changes are kept.", needs: ["reason", "for"],
    done: (answer) => (answer.paused_until ? `paused until ${new Date(answer.paused_until).toLocaleString()}` : "paused until resumed") },
  resume: { label: "Resume", done: (answer) => (answer.was_paused ? "resumed" : "it was not paused") },
  resync: { label: "Resync …", ask: "Every row is copied again, in place. Readers see all rows meanwhile. It is as much work as the first copy.",
    needs: ["mapping"], done: (answer) => `${plural(answer.copies, "mapping", "mappings")} will be re-copied` },
};

function verified(answer) {
  const items = answer.items.map((item) => {
    if (item.error) return `${item.mapping ?? "destination"}: ${item.error}`;
    const { rows, missing, extra, different, unsettled, not_compared, unprinted } = item.report;
    if (item.equal) return `${item.mapping}: equal, ${plural(rows, "row", "rows")}`;
    const keys = item.report.differences.slice(0, 3).map((d) => `${d.kind} ${JSON.stringify(d.key)}`).join("; ");
    const row = unprinted[0];
    const not = row ? `, ${not_compared} cannot be compared (${JSON.stringify(row.key)}, ${row.side}: ${row.error})` : "";
    if (row && missing + extra + different + unsettled === 0) return `${item.mapping}: ${rows} rows are equal${not}`;
    return `${item.mapping}: ${missing} missing, ${extra} extra, ${different} different, ${unsettled} not settled in time (${keys})${not}`;
  });
  return [answer.equal ? "equal" : "NOT EQUAL", ...items].join("\n");
}

function actions(item, id, board = "destinations") {
  const shown = Object.entries(BOARDS[board].actions(item)).filter(([verb]) => (item.paused ? verb !== "pause" : verb !== "resume"));
  const buttons = shown.map(([verb, { label }]) => {
    const button = element("button", { className: "action", type: "button", textContent: label });
    Object.assign(button.dataset, { verb, id });
    return button;
  });
  const outcome = outcomes.get(board + id);
  const tone = outcome?.good === false ? "outcome bad" : "outcome";
  return element("div", { className: "actions" }, ...buttons, element("output", { className: tone, textContent: outcome?.text ?? "" }));
}

// The number of failures in a row, the time of the next attempt, and the last error unless the
// reason contains it.
function failing(destination) {
  const times = plural(destination.consecutive_failures, "failure", "failures");
  const seconds = (new Date(destination.next_attempt_at) - Date.now()) / 1000;
  const next = destination.next_attempt_at ? `, next attempt ${seconds < 1 ? "now" : `in ${duration(Math.round(seconds))}`}` : "";
  const error = destination.last_error ?? "";
  return times + next + (!error || destination.reason?.includes(error) ? "" : `: ${error}`);
}

// The first rows that the destination refused, with their errors. Read again when their number
// changes.
function refusedRows(destination, id) {
  const total = destination.mappings.reduce((sum, m) => sum + BigInt(m.quarantined), 0n);
  if (total === 0n) return null;
  if (refused.get(id)?.total !== total) {
    refused.set(id, { total, items: refused.get(id)?.items ?? [] });
    const which = new URLSearchParams({ tenant: destination.tenant, destination: destination.name, limit: 5 });
    call(`quarantine?${which}`).then((response) => response.json()).then(({ items }) => { refused.get(id).items = items; }, () => refused.delete(id));
  }
  const { items } = refused.get(id);
  const rows = items.map((q) => element("li", {}, `${q.mapping} ${Object.values(q.key).join(", ")}: `,
    element("span", { className: "quiet", textContent: q.error })));
  const rest = total > BigInt(items.length) ? element("li", { className: "quiet", textContent: `of ${total} refused rows; \`offtake quarantine list\` has all` }) : null;
  return element("ul", { className: "refused" }, ...rows, rest);
}

function showDestination(destination) {
  const id = JSON.stringify([destination.tenant, destination.name]);
  const open = opened.has(`destinations${id}`);
  const fold = element("button", { className: "fold", type: "button", textContent: destination.tenant });
  fold.setAttribute("aria-expanded", String(open));
  fold.dataset.id = id;
  const copying = destination.mappings.filter((m) => m.backfill.state !== "done");
  const row = element("tr", {},
    element("td", { className: "name" }, fold),
    element("td", { textContent: destination.name }),
    element("td", {}, badge(destination.state),
      destination.reason ? element("small", { textContent: destination.reason }) : null,
      destination.paused_until ? element("small", { textContent: `until ${new Date(destination.paused_until).toLocaleString()}` }) : null,
      destination.consecutive_failures > 0 ? element("small", { className: "bad", textContent: failing(destination) }) : null,
      ...copying.slice(0, 1).map((m) => element("small", {}, `${m.name}: `, backfill(m.backfill)))),
    element("td", { className: "number", textContent: bounded(destination.lag_rows) }),
    element("td", { className: "number", textContent: destination.lag_seconds ? duration(destination.lag_seconds) : "–" }),
    element("td", {}, moment(destination.last_success_at)),
    element("td", {}, verification(destination)),
    element("td", {}, `${destination.host}:${destination.port}/${destination.database}`,
      element("small", { textContent: `schema ${destination.schema}, as ${destination.user}` })));
  row.dataset.key = id;
  if (!open) return [row];
  const detail = element("tr", { className: "detail" },
    element("td", { colSpan: 8 }, actions(destination, id), mappingsOf(destination), refusedRows(destination, id)));
  detail.dataset.key = `detail ${id}`;
  return [row, detail];
}

function showDestinations(status) {
  const wanted = byId("filter").value.trim().toLowerCase();
  const text = (d) => [d.tenant, d.name, d.state, STATES[d.state]?.[0], d.host, d.database].join(" ").toLowerCase();
  const shown = status.destinations.filter((d) => text(d).includes(wanted));
  const more = status.destinations_not_listed;
  byId("shown").textContent = wanted || more ? `${shown.length} of ${status.destinations.length + more}` : "";
  const none = element("tr", {}, element("td", { className: "empty", colSpan: 8, textContent: "no destinations" }));
  const focused = document.activeElement;
  fill(byId("destinations"), shown.length ? shown.flatMap(showDestination) : [none]);
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

function showMappings(status) {
  const rows = status.mappings.map((m) => element("tr", {},
    element("td", { className: "name", textContent: m.name }),
    element("td", { textContent: m.source_table ?? "–" }),
    element("td", { className: "number", textContent: count(m.max_sequence_id) }),
    element("td", { className: "number", textContent: m.destinations.toLocaleString() }),
    element("td", { className: `number ${m.destinations_behind ? "busy" : ""}`, textContent: m.destinations_behind.toLocaleString() }),
    element("td", { className: "number", textContent: bounded(status.deleted_rows.by_table[m.source_table] ?? "0") })));
  fill(byId("mappings"), rows);
}

function show(status) {
  latest = status;
  document.querySelector("main").hidden = false;
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
  for (const { update } of Object.values(BOARDS)) update?.(status);
}

// Sends a request to the API. Returns the response, or throws an error with the daemon's
// explanation.
async function call(path, options = {}) {
  const response = await fetch(`/api/v1/${path}`, {
    ...options,
    headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers },
  });
  if (response.ok) return response;
  if (response.status === 401 || response.status === 403) askForToken(response.status);
  const problem = await response.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `the daemon answered ${response.status}`), {
    refused: response.status === 401,
    againAfter: (Number(response.headers.get("Retry-After")) || 0) * 1000,
  });
}

function askForToken(status) {
  const reading = status === 401;
  if (reading) document.querySelector("main").hidden = true;
  byId("token-question").textContent = reading
    ? "This daemon asks for a token. The read token shows everything, the admin token also changes things:"
    : "Changing something needs the admin token:";
  byId("token-form").hidden = false;
  if (reading) byId("summary").textContent = token ? "that token is not accepted" : "a token is needed";
  byId("token").focus();
}

// Shows events until the connection ends; then it throws.
async function listen() {
  const response = await call("events", { signal: restarted.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the daemon ended the connection");
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    // When several events came at once, only the last one is shown.
    const [, kind, data] = events.pop()?.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
    if (kind === "status") {
      show(JSON.parse(data));
      answeredAt = Date.now();
      byId("freshness").textContent = `version ${latest.version}, live`;
      document.body.className = "";
    } else if (kind === "problem") {
      stale(JSON.parse(data).detail);
    }
  }
}

function stale(why) {
  const since = answeredAt ? `what is shown is ${duration((Date.now() - answeredAt) / 1000)} old` : "nothing to show yet";
  byId("freshness").textContent = `${why}; ${since}`;
  document.body.className = "stale";
}

let restarted = new AbortController();

function restart() {
  restarted.abort();
  restarted = new AbortController();
}

async function follow() {
  for (;;) {
    let againAfter = AGAIN_AFTER_MS;
    while (document.hidden) await new Promise((shown) => { document.addEventListener("visibilitychange", shown, { once: true }); });
    try {
      await listen();
    } catch (error) {
      if (error.refused) return;
      if (error.name !== "AbortError") stale(error.message ?? "no answer");
      againAfter = Math.max(againAfter, error.againAfter ?? 0);
    }
    await new Promise((wait) => { setTimeout(wait, againAfter); });
  }
}

// A broken connection may stay open without delivering anything; then begin another.
setInterval(() => {
  if (answeredAt && !document.hidden && Date.now() - answeredAt > STALE_AFTER_MS) {
    stale("no answer");
    restart();
  }
}, AGAIN_AFTER_MS);

// A hidden page frees its connection: the daemon serves few listeners at a time.
document.addEventListener("visibilitychange", () => document.hidden && restart());

async function act(verb, id, body, board = "destinations") {
  const [tenant, name] = JSON.parse(id);
  const { actions: of, redraw } = BOARDS[board];
  const { begun, done } = of()[verb];
  const said = (text, good) => {
    outcomes.set(board + id, { text, good });
    redraw();
  };
  said(begun ?? "…", true);
  try {
    const response = await call(`${board}/${encodeURIComponent(tenant)}/${encodeURIComponent(name)}/${verb}`, {
      method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
    });
    const answer = await response.json();
    said(done(answer), answer.equal !== false && answer.acknowledged !== false);
  } catch (error) {
    said(`${verb}: ${error.message}`, false);
  }
}

// Opens the dialog of an action that asks for confirmation or details.
function question(verb, id, board = "destinations") {
  const { label, ask, needs } = BOARDS[board].actions()[verb];
  const [tenant, name] = JSON.parse(id);
  const item = BOARDS[board].items().find((one) => one.tenant === tenant && one.name === name);
  byId("question-title").textContent = `${label.replace(" …", "")} ${tenant}/${name}`;
  byId("question-text").textContent = ask;
  for (const field of ["reason", "for", "since", "mapping"]) {
    byId(`${field}-line`).hidden = !needs.includes(field);
    byId(field).value = "";
  }
  byId("reason").required = needs.includes("reason");
  byId("since").required = needs.includes("since");
  const names = (item?.mappings ?? []).map((m) => element("option", { value: m.name, textContent: m.name }));
  byId("mapping").replaceChildren(element("option", { value: "", textContent: "all mappings" }), ...names);
  byId("question-yes").textContent = label.replace(" …", "");
  Object.assign(byId("question").dataset, { verb, id, board });
  byId("question").showModal();
}

byId("question-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { verb, id, board } = byId("question").dataset;
  const given = BOARDS[board].actions()[verb].needs.map((field) => [field, byId(field).value.trim()]).filter(([, value]) => value);
  byId("question").close();
  act(verb, id, Object.fromEntries(given), board);
});

byId("question-no").addEventListener("click", () => byId("question").close());

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const first = token === null && !latest;
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("token-form").hidden = true;
  if (first || document.querySelector("main").hidden) follow();
});

byId("filter").addEventListener("input", () => latest && showDestinations(latest));

function listenToClicks(board) {
  byId(board).addEventListener("click", (event) => {
    const { id, verb } = event.target.closest("button")?.dataset ?? {};
    if (!id) return;
    if (verb) {
      const { ask, here } = BOARDS[board].actions()[verb];
      if (here) here(JSON.parse(id)[0]);
      else if (ask) question(verb, id, board);
      else act(verb, id, {}, board);
      return;
    }
    if (!opened.delete(board + id)) opened.add(board + id);
    BOARDS[board].redraw();
  });
}

listenToClicks("destinations");
// After the other scripts: they add to what is shown.
document.addEventListener("DOMContentLoaded", follow);
