// Exports: a tenant's rows as files, the newest first.

import { actions } from "./actions.js";
import { badge, coming, element, moment, quiet, tenantLink } from "./elements.js";
import { jobsView, size } from "./jobs.js";
import { EXPORT_STATES, count, duration, goesOn, plural, rate } from "./words.js";

const HEADS = [["Tenant"], ["Export"], ["State", "state"], ["Progress"], ["Asked for"], ["Files"], ["Kept until"], [""]];

function progress(one) {
  const { percent, rows_done, rows_total, rows_per_second, eta_seconds, mapping } = one.progress;
  if (!goesOn(one)) return quiet(plural(rows_done, "row", "rows"));
  const told = [`${percent} %, ${count(rows_done)} of about ${count(rows_total)} rows`];
  if (rows_per_second) told.push(`${rate(rows_per_second)} a second`);
  if (eta_seconds !== null) told.push(`about ${duration(eta_seconds)} to go`);
  return element("span", { className: "backfill" }, element("progress", { max: 100, value: percent, "aria-label": "written" }), told.join(", "),
    mapping ? element("small", { textContent: mapping }) : null);
}

function files(one) {
  if (one.folder) return quiet("in a folder that a command wrote");
  if (!one.files) return quiet("–");
  return one.files.map((file) => element("small", { textContent: `${file.name}, ${size(file.size)}` }));
}

const row = (one) => ({
  key: one.id,
  cells: [
    tenantLink(one.tenant),
    [element("code", { textContent: one.id }), element("small", { textContent: `${one.format}, ${one.compression}` })],
    [badge(one.state, EXPORT_STATES), one.reason ? element("small", { textContent: one.reason }) : null,
      one.consistency === "none" ? element("small", { className: "bad", textContent: "parts are of several moments" }) : null],
    progress(one),
    moment(one.created_at),
    files(one),
    one.state === "expired" ? quiet("deleted") : coming(one.expires_at),
    actions("exports", one, one.id),
  ],
});

export const exports = jobsView({
  kind: "exports", heads: HEADS, states: EXPORT_STATES, row, one: "export", none: "no exports yet; offtake export create makes one",
});
