// Snapshots: a tenant's rows of one moment, the newest first.

import { actions } from "./actions.js";
import { badge, element, moment, quiet, tenantLink } from "./elements.js";
import { jobsView, size } from "./jobs.js";
import { SNAPSHOT_STATES, goesOn, plural } from "./words.js";

const HEADS = [["Tenant"], ["Snapshot"], ["State", "state"], ["Rows"], ["Of the moment"], [""]];
const KINDS = { rows: "rows of mappings", source: "the application's own rows" };

function rows({ archive }) {
  if (!archive) return quiet("–");
  return [`${plural(archive.rows, "row", "rows")}, ${size(archive.size)}`,
    archive.narrowed ? element("small", { textContent: "some tables are left out" }) : null];
}

const row = (one) => ({
  key: one.id,
  cells: [
    tenantLink(one.tenant),
    [element("code", { textContent: one.id }), element("small", { textContent: `${KINDS[one.kind] ?? one.kind}${one.scheduled ? ", by snapshots.every" : ""}` })],
    [badge(one.state, SNAPSHOT_STATES), one.reason ? element("small", { textContent: one.reason }) : null],
    goesOn(one) ? element("progress", { "aria-label": "being made" }) : rows(one),
    moment(one.archive?.created_at, "–"),
    actions("snapshots", one, one.id),
  ],
});

export const snapshots = jobsView({
  kind: "snapshots", heads: HEADS, states: SNAPSHOT_STATES, row, one: "snapshot", none: "no snapshots yet; offtake snapshot create makes one",
});
