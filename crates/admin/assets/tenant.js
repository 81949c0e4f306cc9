// One tenant, for whoever is asked "why is customer X not up to date?": what each destination and
// webhook waits for, how far each mapping is, what is refused, and what can be done.

import { actions } from "./actions.js";
import { Pace, ask } from "./daemon.js";
import { backfill, badge, byId, coming, element, facts, fill, moment, nextAttempt, proof, quiet, table, waiting, where } from "./elements.js";
import { signatures } from "./webhooks.js";
import { STATES, WEBHOOK_STATES, clock, count, duration, failures, inWords, plural } from "./words.js";
import { owed, storyOf, waitsFor } from "./waits.js";

const EVERY_MS = 2000;
const REFUSED_SHOWN = 10;

let tenant = null;
let told = null;
const pace = new Pace(EVERY_MS);
let story = null;

const MAPPING_HEADS = [["Mapping", "name"], ["Cursor", "number"], ["Newest change", "number"], ["Backlog", "number"], ["Copy"], ["Refused rows", "number"], ["Proved equal"]];

function mappingsOf(destination) {
  const rows = destination.mappings.map((m) => ({
    key: m.name,
    cells: [
      [m.name, m.error ? element("small", { className: "bad", textContent: m.error }) : null, m.retry_at ? element("small", {}, "tried again ", coming(m.retry_at)) : null],
      count(m.sequence_id),
      count(m.latest_sequence_id),
      waiting(m.backlog),
      [backfill(m.backfill), m.resync_requested_at ? element("small", {}, "a re-copy was requested ", moment(m.resync_requested_at)) : null],
      waiting(m.quarantined),
      [proof(m), m.audit_error ? element("small", { className: "bad", textContent: m.audit_error }) : null],
    ],
  }));
  return table(`Mappings of ${destination.name}`, MAPPING_HEADS, rows, "no mappings");
}

const TOLD_HEADS = [["Mapping", "name"], ["Cursor", "number"], ["Newest change", "number"], ["Backlog", "number"], ["Resync"], ["Refused events", "number"]];

function tellingsOf(webhook) {
  const resync = (m) => (m.resync_reason ? `a resync is owed (${m.resync_reason})` : m.backfill === "done" ? quiet("–") : `${count(m.rows_done)} rows told`);
  const rows = webhook.mappings.map((m) => ({
    key: m.name,
    cells: [
      [m.name, m.error ? element("small", { className: "bad", textContent: m.error }) : null, m.retry_at ? element("small", {}, "tried again ", coming(m.retry_at)) : null],
      count(m.sequence_id), count(m.latest_sequence_id), waiting(m.backlog), resync(m), waiting(m.quarantined),
    ],
  }));
  return table(`Mappings of ${webhook.name}`, TOLD_HEADS, rows, "no mappings");
}

// The first rows or events that are refused, with their errors.
function refusedBy(kind, item) {
  const total = item.mappings.reduce((sum, m) => sum + BigInt(m.quarantined), 0n);
  if (total === 0n) return null;
  const of = told.refused.filter((q) => q[kind] === item.name);
  const rows = of.map((q) => element("li", {}, `${q.mapping} ${Object.values(q.key).join(", ")}: `, quiet(q.error), quiet(`, ${plural(q.attempts, "attempt", "attempts")}, `),
    q.retry_at ? element("span", {}, "next ", coming(q.retry_at)) : "no attempt is left"));
  const rest = total > BigInt(of.length) ? element("li", { className: "quiet", textContent: `${plural(total - BigInt(of.length), "more is", "more are")} refused; \`offtake quarantine list\` has all` }) : null;
  return element("div", {}, element("h4", { textContent: kind === "webhook" ? "Refused events" : "Refused rows" }), element("ul", { className: "refused" }, rows, rest));
}

const pausedFor = (item) => `paused${item.paused_until ? ` until ${clock(item.paused_until)}` : ""}${item.reason ? `: ${item.reason}` : ""}`;

// What both kinds have in common. `board`: of its actions.
function card(board, kind, item, states, more, rows) {
  const why = told.why.items.find((one) => one.kind === kind && one.name === item.name);
  const section = element("section", { className: "card", "aria-label": `${kind} ${item.name}`, data: { key: `${kind} ${item.name}` } },
    element("h3", {}, element("span", { textContent: `${kind} ${item.name}` }), badge(item.state, states)),
    why && why.waits_for.cause !== "nothing" ? waitsFor(why.waits_for, item.state === "in_sync" ? "busy" : states[item.state][1], item.paused ? pausedFor(item) : undefined)
      : element("p", { className: "reason", textContent: inWords(item, kind === "webhook" ? "told" : "written") }),
    facts([
      ["behind", `${plural(item.lag_rows, "change", "changes")}${item.lag_seconds ? ` for ${duration(item.lag_seconds)}` : ""}`],
      ["last success", moment(item.last_success_at)],
      ["next attempt", nextAttempt(item, "nothing is owed")],
      item.consecutive_failures ? ["failing", element("span", { className: "bad", textContent: failures(item) })] : null,
      ["owed", owed(why?.request)],
      ...more,
    ]),
    rows,
    refusedBy(kind, item),
    actions(board, item, tenant, item.name));
  return section;
}

const destinationCard = (destination) => card("destinations", "destination", destination, STATES, [
  ["proved equal", proof(destination)],
  ["where", [...where(destination), destination.host ? `, schema ${destination.schema}, as ${destination.user}` : `, ${destination.kind}`, destination.shared ? ", shared" : ""]],
], mappingsOf(destination));

const webhookCard = (webhook) => card("webhooks", "webhook", webhook, WEBHOOK_STATES, [
  ["delivered", plural(webhook.delivered, "event", "events")],
  webhook.last_status ? ["last answer", String(webhook.last_status)] : null,
  ["where", [webhook.host ? `${webhook.host}:${webhook.port} ` : "–", signatures(webhook)]],
], tellingsOf(webhook));

async function refresh() {
  pace.begin();
  const of = tenant;
  try {
    const [destinations, webhooks, why, quarantine] = await Promise.all([
      ask("destinations", { tenant: of }), ask("webhooks", { tenant: of }), ask("why", { tenant: of }), ask("quarantine", { tenant: of, limit: REFUSED_SHOWN }),
    ]);
    if (of !== tenant) return;
    told = { destinations: destinations.items, webhooks: webhooks.items, why, refused: quarantine.items };
    byId("tenant-trouble").textContent = "";
  } catch (error) {
    if (of !== tenant) return;
    byId("tenant-trouble").textContent = error.message;
    if (error.status === 404) told = null;
  }
  pace.end();
  draw();
}

function draw() {
  const verdict = byId("tenant-verdict");
  verdict.textContent = told ? (told.why.up_to_date ? "up to date" : "not up to date") : "";
  verdict.className = told?.why.up_to_date ? "badge good" : "badge bad";
  verdict.hidden = !told;
  byId("story-form").hidden = !told;
  fill(byId("tenant-items"), told ? [...told.destinations.map(destinationCard), ...told.webhooks.map(webhookCard)] : []);
  if (!told) return;
  const names = [...new Set([...told.destinations, ...told.webhooks].flatMap((one) => one.mappings.map((m) => m.name)))];
  fill(byId("story-mapping"), names.map((name) => element("option", { value: name, textContent: name, data: { key: name } })));
}

async function askForStory() {
  const [mapping, key] = [byId("story-mapping").value, byId("story-key").value.trim()];
  byId("story-answer").textContent = "asking …";
  byId("story-answer").className = "quiet";
  try {
    story = await ask("why", { tenant, mapping, key });
    byId("story-answer").textContent = story.up_to_date ? "up to date" : "not up to date";
    byId("story-answer").className = story.up_to_date ? "good" : "bad";
  } catch (error) {
    story = null;
    byId("story-answer").textContent = error.message;
    byId("story-answer").className = "bad";
  }
  fill(byId("story-items"), (story?.items ?? []).filter((one) => one.key).map(storyOf));
}

export const oneTenant = {
  begin() {
    byId("story-form").addEventListener("submit", (event) => {
      event.preventDefault();
      askForStory();
    });
  },
  enter({ tenant: wanted }) {
    if (wanted !== tenant) {
      [tenant, told, story] = [wanted, null, null];
      byId("tenant-trouble").textContent = "asking …";
      byId("story-answer").textContent = "";
      byId("story-key").value = "";
      byId("story-items").replaceChildren();
      byId("tenant-name").textContent = tenant;
      draw();
    }
    refresh();
  },
  show: () => pace.due() && refresh(),
  redraw() {
    if (told) draw();
    refresh();
  },
};
