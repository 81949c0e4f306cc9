// What an operator may ask for: buttons, the dialog before what has consequences, and the outcome
// beside the buttons.

import { send } from "./daemon.js";
import { byId, element } from "./elements.js";
import { clock, goesOn, plural } from "./words.js";

const paused = (answer) => (answer.paused_until ? `paused until ${clock(answer.paused_until)}` : "paused until resumed");
const resumed = (answer) => (answer.was_paused ? "resumed" : "it was not paused");
const isPaused = (item) => item.paused;
const isNotPaused = (item) => !item.paused;
const refuses = (item) => item.mappings.some((m) => BigInt(m.quarantined) > 0n);

const DESTINATION_ACTIONS = {
  sync: { label: "Sync now", done: () => "a sync is owed" },
  verify: { label: "Verify", begun: "comparing …", done: verified },
  retry: { label: "Retry refused rows", when: refuses, path: () => "quarantine/retry", body: (tenant, destination) => ({ tenant, destination }),
    done: (answer) => `${plural(answer.retried, "row is", "rows are")} tried again` },
  pause: { label: "Pause …", when: isNotPaused, ask: "Nothing is written to the destination until it is resumed. Its changes are kept.", needs: ["reason", "for"], done: paused },
  resume: { label: "Resume", when: isPaused, done: resumed },
  resync: { label: "Resync …", ask: "Every row is copied again, in place. Readers see all rows meanwhile. It is as much work as the first copy.",
    needs: ["mapping"], done: (answer) => `${plural(answer.copies, "mapping", "mappings")} will be re-copied` },
};

const WEBHOOK_ACTIONS = {
  test: { label: "Test", begun: "sending …", done: (answer) => {
    const where = answer.address ? ` by ${answer.address}` : "";
    const said = answer.status === null ? answer.error : `answered ${answer.status}${where} after ${answer.elapsed_ms} ms`;
    return answer.acknowledged || answer.status === null ? said : `${said}: ${answer.error}${answer.response ? ` – ${answer.response}` : ""}`;
  } },
  retry: { label: "Retry refused events", when: refuses, path: () => "quarantine/retry", body: (tenant, webhook) => ({ tenant, webhook }),
    done: (answer) => `${plural(answer.retried, "event is", "events are")} tried again` },
  enable: { label: "Enable", when: (item) => item.state === "disabled" || item.consecutive_failures > 0, done: () => "enabled: it goes on where it stopped" },
  pause: { label: "Pause …", when: isNotPaused, ask: "Nothing is sent until it is resumed. Its changes are kept.", needs: ["reason", "for"], done: paused },
  resume: { label: "Resume", when: isPaused, done: resumed },
  disable: { label: "Disable …", when: (item) => item.state !== "disabled", ask: "Nothing more is sent until it is enabled.", needs: ["reason"], done: () => "disabled" },
  replay: { label: "Replay …", ask: "Every row that changed since is told again, as it is now, with a new id.", needs: ["since", "mapping"],
    done: (answer) => `${plural(answer.keys, "key is", "keys are")} told again` },
  resync: { label: "Resync …", ask: "The receiver is told that rows it knows may be gone. With backfill, every row follows.", needs: ["mapping"],
    done: (answer) => `a resync of ${answer.mappings.join(", ")} is told` },
};

const fusePath = (name) => `fuses/${name.split("/").map(encodeURIComponent).join("/")}`;
const FUSE_ACTIONS = {
  off: { label: "Switch off …", when: (fuse) => fuse.enabled, ask: "What the fuse is named after stands still until it is on again. Its changes are kept.", needs: ["reason", "for"],
    method: "PATCH", path: fusePath, body: (name, _, given) => ({ enabled: false, ...given }), done: () => "off" },
  on: { label: "Switch on …", when: (fuse) => !fuse.enabled, ask: "What the fuse is named after goes on where it stopped.", needs: [],
    method: "PATCH", path: fusePath, body: () => ({ enabled: true }), done: () => "on" },
};

const DAEMON_ACTIONS = {
  reload: { label: "Reload", path: () => "reload", body: () => ({}), done: () => "the daemon reads its files again; what becomes of it is told above" },
};

const exportPath = (verb) => (id) => `exports/${encodeURIComponent(id)}${verb}`;
const isDone = (one) => one.state === "completed" && one.store !== null;

// A link opens a file without the token, which a browser cannot send with a download.
function download(answer) {
  for (const { name, url } of answer.items) {
    const link = element("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }
  return `${plural(answer.items.length, "file is", "files are")} being fetched`;
}

const EXPORT_ACTIONS = {
  download: { label: "Download", when: isDone, path: exportPath("/links"), body: () => ({}), done: download },
  cancel: { label: "Cancel …", when: (one) => goesOn(one), ask: "The export ends. Its parts stay, so that it can be resumed.", needs: [], path: exportPath("/cancel"), body: () => ({}),
    done: (answer) => (answer.state === "cancelled" ? "cancelled" : "it ends soon") },
  resume: { label: "Resume", when: (one) => one.folder === null && (one.state === "failed" || one.state === "cancelled"), path: exportPath("/resume"), body: () => ({}), done: () => "resumed" },
  remove: { label: "Delete …", when: (one) => one.folder === null && !goesOn(one), ask: "The files are deleted, and what is known of the export.", needs: [],
    method: "DELETE", path: exportPath(""), body: () => ({}), done: () => "deleted" },
};

const snapshotPath = (verb) => (id) => `snapshots/${encodeURIComponent(id)}${verb}`;
const isWhole = (one) => one.state === "completed";

const SNAPSHOT_ACTIONS = {
  download: { label: "Download", when: isWhole, path: snapshotPath("/links"), body: () => ({}), done: download },
  validate: { label: "Check", when: isWhole, begun: "reading …", path: snapshotPath("/validate"), body: () => ({}),
    done: (answer) => `complete and unchanged: ${plural(answer.rows, "row", "rows")}` },
  cancel: { label: "Cancel …", when: goesOn, ask: "The snapshot is made no more.", needs: [], method: "DELETE", path: snapshotPath(""), body: () => ({}), done: () => "it ends soon" },
  remove: { label: "Delete …", when: isWhole, ask: "The file is deleted. The rows of that moment cannot be restored from it any more.", needs: [],
    method: "DELETE", path: snapshotPath(""), body: () => ({}), done: () => "deleted" },
};

const BOARDS = { exports: EXPORT_ACTIONS, snapshots: SNAPSHOT_ACTIONS, destinations: DESTINATION_ACTIONS, webhooks: WEBHOOK_ACTIONS, fuses: FUSE_ACTIONS, daemon: DAEMON_ACTIONS };

// The items with buttons, as last shown, and the result of the last action on each.
const items = new Map();
const outcomes = new Map();
let redraw = () => {};

export function onOutcome(shown) {
  redraw = shown;
}

function verified(answer) {
  const told = answer.items.map((item) => {
    if (item.error) return `${item.mapping ?? "destination"}: ${item.error}`;
    const { rows, missing, extra, different, unsettled, not_compared, unprinted } = item.report;
    if (item.equal) return `${item.mapping}: equal, ${plural(rows, "row", "rows")}`;
    const keys = item.report.differences.slice(0, 3).map((d) => `${d.kind} ${JSON.stringify(d.key)}`).join("; ");
    const row = unprinted[0];
    const not = row ? `, ${not_compared} cannot be compared (${JSON.stringify(row.key)}, ${row.side}: ${row.error})` : "";
    if (row && missing + extra + different + unsettled === 0) return `${item.mapping}: ${rows} rows are equal${not}`;
    return `${item.mapping}: ${missing} missing, ${extra} extra, ${different} different, ${unsettled} not settled in time (${keys})${not}`;
  });
  return [answer.equal ? "equal" : "NOT EQUAL", ...told].join("\n");
}

const keyOf = (board, tenant, name) => JSON.stringify([board, tenant, name]);

// The buttons of an item, and the outcome of the last one. A fuse has a name only.
export function actions(board, item, tenant, name = "") {
  const key = keyOf(board, tenant, name);
  items.set(key, item);
  const shown = Object.entries(BOARDS[board]).filter(([, action]) => !action.when || action.when(item));
  const buttons = shown.map(([verb, { label }]) => element("button", { className: "action", type: "button", textContent: label, data: { verb, of: key } }));
  const outcome = outcomes.get(key);
  return element("div", { className: "actions" }, buttons,
    element("output", { className: outcome?.good === false ? "outcome bad" : "outcome", textContent: outcome?.text ?? "" }));
}

async function act(key, verb, given = {}) {
  const [board, tenant, name] = JSON.parse(key);
  const { begun, done, method = "POST", path, body } = BOARDS[board][verb];
  const said = (text, good) => {
    outcomes.set(key, { text, good });
    redraw();
  };
  said(begun ?? "…", true);
  try {
    const where = path ? path(tenant) : [board, encodeURIComponent(tenant), encodeURIComponent(name), verb].join("/");
    const answer = await send(method, where, body ? body(tenant, name, given) : given);
    said(done(answer), answer.equal !== false && answer.acknowledged !== false);
  } catch (error) {
    said(`${verb}: ${error.message}`, false);
  }
}

// Opens the dialog of an action that asks for confirmation or details.
function question(key, verb) {
  const [board, tenant, name] = JSON.parse(key);
  const { label, ask, needs } = BOARDS[board][verb];
  const plain = label.replace(" …", "");
  byId("question-title").textContent = `${plain}: ${name ? `${tenant}/${name}` : tenant}`;
  byId("question-text").textContent = ask;
  for (const field of ["reason", "for", "since", "mapping"]) {
    byId(`${field}-line`).hidden = !needs.includes(field);
    byId(field).value = "";
  }
  byId("reason").required = needs.includes("reason");
  byId("since").required = needs.includes("since");
  const names = (items.get(key)?.mappings ?? []).map((m) => element("option", { value: m.name, textContent: m.name }));
  byId("mapping").replaceChildren(element("option", { value: "", textContent: "all mappings" }), ...names);
  byId("question-yes").textContent = plain;
  Object.assign(byId("question").dataset, { verb, of: key });
  byId("question").showModal();
}

export function listenToActions() {
  document.addEventListener("click", (event) => {
    const { of, verb } = event.target.closest("button[data-verb]")?.dataset ?? {};
    if (!of) return;
    const [board] = JSON.parse(of);
    if (BOARDS[board][verb].ask) question(of, verb);
    else act(of, verb);
  });
  byId("question-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const { verb, of } = byId("question").dataset;
    const [board] = JSON.parse(of);
    const given = BOARDS[board][verb].needs.map((field) => [field, byId(field).value.trim()]).filter(([, value]) => value);
    byId("question").close();
    act(of, verb, Object.fromEntries(given));
  });
  byId("question-no").addEventListener("click", () => byId("question").close());
}
