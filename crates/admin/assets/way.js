// The way of a change as a picture: where changes are, what waits before each loop, and which loop
// stands still.

import { element, fill } from "./elements.js";
import { STATES, WEBHOOK_STATES, bounded, duration, plural, rate } from "./words.js";

// Beyond this age something waits that should not: a loop looks several times a second.
const LATE_SECONDS = 30;
const FULL = 100000;

// Something that waits. The bar is logarithmic: a hundred is half of ten thousand. `mayWait`: what is
// owed to a paused destination waits for it, and nothing is wrong.
function waits({ id, title, number, seconds, more = [], stopped, mayWait = false }) {
  const amount = Number(BigInt(number));
  const late = !mayWait && seconds !== null && seconds > LATE_SECONDS && amount > 0;
  const tone = amount === 0 ? "idle" : stopped || late ? "warn" : "busy";
  const share = amount ? Math.min(100, Math.round((100 * Math.log10(amount + 1)) / Math.log10(FULL))) : 0;
  return element("li", { className: `waits-before ${tone}`, id, data: { key: id } },
    element("span", { className: "what", textContent: title }),
    element("strong", { textContent: bounded(String(number)) }),
    element("progress", { max: 100, value: share, "aria-hidden": "true" }),
    element("small", { textContent: amount ? (seconds === null ? "" : `the oldest for ${duration(seconds)}`) : "nothing waits" }),
    more.map((textContent) => element("small", { textContent })));
}

// A loop of this daemon, or of another one.
function loop(status, name, does, per) {
  const here = status.loops.find((one) => one.name === name);
  const fuse = status.fuses.find((one) => one.name === name);
  let [label, tone, reason] = here ? ["running", "good", null] : ["not in this process", "quiet", null];
  if (here && !here.ready) [label, tone, reason] = ["late", "bad", here.reason];
  if (fuse && !fuse.enabled) [label, tone, reason] = ["fuse off", "warn", fuse.reason];
  return element("li", { className: `loop ${tone}`, id: name, data: { key: name } },
    element("span", { className: "what", textContent: name }),
    element("span", { className: `badge ${tone}`, textContent: label }),
    element("small", { textContent: reason ?? does }),
    per === null ? null : element("small", { className: "rate", textContent: per }));
}

function place(id, title, lines) {
  return element("li", { className: "place", id, data: { key: id } },
    element("span", { className: "what", textContent: title }), lines.map((textContent) => element("small", { textContent })));
}

// How many are in each state; those in sync first, which most are.
const reached = (counts, states) => Object.entries(states).reverse().filter(([state]) => counts[state]).map(([state, [label]]) => `${counts[state].toLocaleString()} ${label}`);
const off = (status, name) => status.fuses.some((fuse) => fuse.name === name && !fuse.enabled);
const total = (states) => Object.values(states).reduce((sum, number) => sum + number, 0);

export function drawWay(status, main, branch) {
  const { sequencer, poller, sync, webhooks } = status;
  const owedMore = [];
  if (poller.in_flight) owedMore.push(`${plural(poller.in_flight, "is", "are")} being worked on`);
  if (poller.due) owedMore.push(`${plural(poller.due, "is due", "are due")}`);
  if (poller.failing) owedMore.push(`${plural(poller.failing, "failed before", "failed before")}`);
  if (poller.expired_leases) owedMore.push(`${plural(poller.expired_leases, "lease", "leases")} expired`);
  fill(main, [
    place("application", "application", ["commits", "triggers note which rows"]),
    waits({ id: "captured", title: "captured", number: sequencer.pending_changes, seconds: sequencer.oldest_pending_seconds, stopped: off(status, "sequencer") }),
    loop(status, "sequencer", "numbers changes", `${rate(sequencer.rows_per_second)} changes/s`),
    waits({ id: "numbered", title: "numbered", number: poller.pending_changes, seconds: poller.oldest_pending_seconds, stopped: off(status, "poller") }),
    loop(status, "poller", "finds who is owed them", null),
    waits({ id: "owed", title: "destinations owed", number: String(poller.owed), seconds: poller.oldest_owed_seconds, more: owedMore, stopped: off(status, "sync"), mayWait: true }),
    loop(status, "sync", "reads and writes rows", `${rate(sync.rows_per_second)} rows/s by this daemon`),
    place("destinations-reached", "destinations", [...reached(sync.destinations, STATES), `${plural(status.quarantined_rows, "row", "rows")} refused`]),
  ]);
  const all = total(webhooks.states);
  branch.hidden = all === 0;
  if (all === 0) return;
  fill(branch, [
    waits({ id: "owed-webhooks", title: "webhooks owed", number: String(poller.owed_webhooks), seconds: null, stopped: off(status, "webhooks") }),
    loop(status, "webhooks", "sends events", `${rate(webhooks.events_per_second)} events/s by this daemon`),
    place("webhooks-reached", "receivers", [...reached(webhooks.states, WEBHOOK_STATES), `${plural(status.quarantined_events, "event", "events")} refused`]),
  ]);
}
