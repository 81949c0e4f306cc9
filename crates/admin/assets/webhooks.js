"use strict";

// The webhooks of the dashboard, the worst first. They are asked for beside the events, and only
// where the status says that there are any. What they are made of is in dashboard.js.

const WEBHOOK_STATES = { disabled: ["disabled", "bad"], ...STATES };
const WEBHOOKS_SHOWN = 200;
const WEBHOOKS_EVERY_MS = 3000;
let webhooks = { items: [], next: null };
let webhooksAt = 0;

const WEBHOOK_ACTIONS = {
  test: { label: "Test", begun: "sending …", done: (answer) => {
    const where = answer.address ? ` by ${answer.address}` : "";
    const said = answer.status === null ? answer.error : `answered ${answer.status}${where} after ${answer.elapsed_ms} ms`;
    return answer.acknowledged || answer.status === null ? said : `${said}: ${answer.error}${answer.response ? ` – ${answer.response}` : ""}`;
  } },
  enable: { label: "Enable", done: () => "enabled: it goes on where it stopped" },
  disable: { label: "Disable …", ask: "Nothing more is sent until it is enabled.", needs: ["reason"], done: () => "disabled" },
  pause: { label: "Pause …", ask: "Nothing is sent until it is resumed. Its changes are kept.", needs: ["reason", "for"],
    done: (answer) => (answer.paused_until ? `paused until ${new Date(answer.paused_until).toLocaleString()}` : "paused until resumed") },
  resume: { label: "Resume", done: (answer) => (answer.was_paused ? "resumed" : "it was not paused") },
  replay: { label: "Replay …", ask: "Every row that changed since is told again, as it is now, with a new id.", needs: ["since", "mapping"],
    done: (answer) => `${plural(Number(answer.keys), "key is", "keys are")} told again` },
  resync: { label: "Resync …", ask: "The receiver is told that rows it knows may be gone. With backfill, every row follows.", needs: ["mapping"],
    done: (answer) => `a resync of ${answer.mappings.join(", ")} is told` },
};

// Enabling concerns those that are disabled or fail, disabling the others.
function webhookActions(webhook) {
  const stopped = webhook && (webhook.state === "disabled" || webhook.consecutive_failures > 0);
  const shown = ([verb]) => !webhook || (verb === "enable" ? stopped : verb !== "disable" || webhook.state !== "disabled");
  return Object.fromEntries(Object.entries(WEBHOOK_ACTIONS).filter(shown));
}

BOARDS.webhooks = { actions: webhookActions, items: () => webhooks.items, redraw: showWebhooks, update: askForWebhooks };

function askForWebhooks(status) {
  const total = Object.values(status.webhooks.states).reduce((sum, number) => sum + number, 0);
  byId("webhooks-section").hidden = total === 0;
  byId("webhooks-shown").textContent = total > WEBHOOKS_SHOWN ? `the worst ${WEBHOOKS_SHOWN} of ${total.toLocaleString()}` : "";
  if (total === 0 || Date.now() - webhooksAt < WEBHOOKS_EVERY_MS) return;
  webhooksAt = Date.now();
  call(`webhooks?sort=state&limit=${WEBHOOKS_SHOWN}`).then((response) => response.json()).then((page) => {
    webhooks = page;
    showWebhooks();
  }, (error) => { byId("webhooks-shown").textContent = error.message; });
}

function tellings(webhook) {
  const rows = webhook.mappings.map((m) => element("tr", {},
    element("td", {}, m.name, m.error ? element("small", { className: "bad", textContent: m.error }) : null),
    element("td", { className: "number", textContent: count(m.sequence_id) }),
    element("td", { className: "number", textContent: bounded(m.backlog) }),
    element("td", { className: "number", textContent: count(m.quarantined) }),
    element("td", { textContent: m.resync_reason ? `resync owed (${m.resync_reason})` : m.backfill === "done" ? "–" : `${count(m.rows_done)} rows told` })));
  const heads = [["Mapping", ""], ["Sequence id", "number"], ["Backlog", "number"], ["Quarantined", "number"], ["Resync", ""]];
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([textContent, className]) => element("th", { textContent, className })))),
    element("tbody", {}, ...rows));
}

function showWebhook(webhook) {
  const id = JSON.stringify([webhook.tenant, webhook.name]);
  const open = opened.has(`webhooks${id}`);
  const fold = element("button", { className: "fold", type: "button", textContent: webhook.tenant });
  fold.setAttribute("aria-expanded", String(open));
  fold.dataset.id = id;
  const row = element("tr", {},
    element("td", { className: "name" }, fold),
    element("td", { textContent: webhook.name }),
    element("td", {}, badge(webhook.state, WEBHOOK_STATES),
      webhook.reason ? element("small", { textContent: webhook.reason }) : null,
      webhook.paused_until ? element("small", { textContent: `until ${new Date(webhook.paused_until).toLocaleString()}` }) : null,
      webhook.consecutive_failures > 0 ? element("small", { className: "bad", textContent: failing(webhook) }) : null),
    element("td", { className: "number", textContent: bounded(webhook.lag_rows) }),
    element("td", { className: "number", textContent: webhook.lag_seconds ? duration(webhook.lag_seconds) : "–" }),
    element("td", { className: "number", textContent: count(webhook.delivered) }),
    element("td", {}, moment(webhook.last_success_at)),
    element("td", {}, webhook.host ? `${webhook.host}:${webhook.port}` : "–",
      element("small", { textContent: (webhook.signatures ?? []).map((s) => `${s.kind} ${s.fingerprint}`).join(", ") })));
  row.dataset.key = id;
  if (!open) return [row];
  const detail = element("tr", { className: "detail" }, element("td", { colSpan: 8 }, actions(webhook, id, "webhooks"), tellings(webhook)));
  detail.dataset.key = `detail ${id}`;
  return [row, detail];
}

function showWebhooks() {
  const focused = document.activeElement;
  fill(byId("webhooks"), webhooks.items.flatMap(showWebhook));
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

listenToClicks("webhooks");
