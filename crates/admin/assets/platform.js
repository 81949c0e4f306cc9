// The platform: the way of a change, the last quarter of an hour, and the destinations that are
// worst.

import { Chart, perSecond, seconds } from "./charts.js";
import { Pace, ask } from "./daemon.js";
import { badge, bodyRows, byId, element, fill, shape, tenantLink } from "./elements.js";
import { drawWay } from "./way.js";
import { STATES, bounded, count, duration, inWords } from "./words.js";

const KEPT_MS = 15 * 60000;
const WORST_EVERY_MS = 3000;
const WORST = 8;

let samples = [];
let interval = 5;
let askedAt = 0;
const worstPace = new Pace(WORST_EVERY_MS);
let throughput = null;
let latency = null;

const MAPPING_HEADS = [["Mapping", "name"], ["Source table"], ["Newest change", "number"], ["Destinations", "number"], ["Behind", "number"], ["Deleted keys kept", "number"]];
const WORST_HEADS = [["Tenant", "name"], ["Destination"], ["State"], ["Why"], ["Oldest change", "number"]];

const ofLatency = (name) => (sample) => sample.latency?.[name] ?? null;

function drawStates(status) {
  const { destinations } = status.sync;
  const total = Object.values(destinations).reduce((sum, number) => sum + number, 0);
  const known = Object.entries(STATES).filter(([state]) => destinations[state]);
  let x = 0;
  // A part that is too small to be seen is as wide as one that can be.
  const widths = known.map(([state]) => Math.max(destinations[state] / total, 0.01));
  const all = widths.reduce((sum, width) => sum + width, 0);
  const parts = known.map(([state, [, tone]], i) => {
    const part = shape("rect", { class: tone, "data-key": state, x, y: 0, width: (1000 * widths[i]) / all, height: 1 });
    x += (1000 * widths[i]) / all;
    return part;
  });
  fill(byId("states-bar"), parts);
  fill(byId("states-list"), total === 0 ? [element("li", { textContent: "no destinations yet" })] : known.map(([state, [label, tone]]) => element("li", { data: { key: state } },
    element("a", { href: `#/tenants?state=${state}` }, element("span", { className: `swatch ${tone}` }), `${destinations[state].toLocaleString()} ${label}`))));
}

async function drawWorst() {
  if (!worstPace.due()) return;
  worstPace.begin();
  let items = [];
  try {
    ({ items } = await ask("destinations", { sort: "state", limit: WORST }));
  } catch (error) {
    byId("worst-trouble").textContent = error.message;
    return;
  } finally {
    worstPace.end();
  }
  byId("worst-trouble").textContent = "";
  const rows = items.filter((one) => one.state !== "in_sync").map((one) => ({
    key: JSON.stringify([one.tenant, one.name]),
    cells: [tenantLink(one.tenant), one.name, badge(one.state), element("span", { textContent: inWords(one) }), one.lag_seconds ? duration(one.lag_seconds) : "–"],
  }));
  fill(byId("worst"), bodyRows(WORST_HEADS, rows, "every destination is in sync"));
}

function drawMappings(status) {
  const rows = status.mappings.map((m) => ({
    key: m.name,
    cells: [m.name, m.source_table ?? "–", count(m.max_sequence_id), m.destinations.toLocaleString(),
      element("span", { className: m.destinations_behind ? "busy" : "quiet", textContent: m.destinations_behind.toLocaleString() }),
      bounded(status.deleted_rows.by_table[m.source_table] ?? "0")],
  }));
  fill(byId("mappings"), bodyRows(MAPPING_HEADS, rows, "no mappings"));
}

async function drawCharts() {
  if (Date.now() - askedAt < interval * 1000) return;
  askedAt = Date.now();
  try {
    const answer = await ask("history", { after: samples.at(-1)?.at });
    interval = answer.interval_seconds;
    const now = Date.parse(answer.now);
    samples = [...samples, ...answer.items].filter((sample) => now - Date.parse(sample.at) < KEPT_MS);
    throughput.show(samples, now, interval);
    latency.show(samples, now, interval);
  } catch (error) {
    byId("charts-trouble").textContent = error.message;
    return;
  }
  byId("charts-trouble").textContent = "";
}

function show(status) {
  drawWay(status, byId("way"), byId("way-of-webhooks"));
  drawStates(status);
  drawMappings(status);
  drawCharts();
  drawWorst();
}

export const platform = {
  begin() {
    throughput = new Chart({ id: "throughput", written: perSecond, lines: [
      { name: "changes numbered", className: "first", value: (sample) => sample.changes_numbered_per_second },
      { name: "rows written", className: "second", value: (sample) => sample.rows_applied_per_second },
      { name: "events acknowledged", className: "third", value: (sample) => sample.events_acknowledged_per_second },
    ] });
    latency = new Chart({ id: "latency", written: seconds, logarithmic: true, lines: [
      { name: "p50", className: "first", value: ofLatency("p50") },
      { name: "p95", className: "second", value: ofLatency("p95") },
      { name: "p99", className: "third", value: ofLatency("p99") },
    ] });
  },
  enter(_, status) {
    askedAt = 0;
    worstPace.now();
    if (status) show(status);
  },
  show,
  redraw: () => {},
};
