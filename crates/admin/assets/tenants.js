// The destinations of all tenants, the worst first, and what a search finds.

import { backfill, badge, behind, element, moment, nextAttempt, proof, tenantLink, where } from "./elements.js";
import { List } from "./list.js";
import { STATES, clock, failures, inWords } from "./words.js";

const HEADS = [["Tenant", "name"], ["Destination"], ["State", "state"], ["Behind", "number"], ["Last success"], ["Next attempt"], ["Proved equal"], ["Where", "where"]];

export function stateOf(item, states, done) {
  const failed = failures(item);
  const copying = item.mappings?.find((m) => m.backfill?.state === "running");
  return [badge(item.state, states),
    item.state === "in_sync" ? null : element("small", { textContent: inWords(item, done) }),
    item.paused_until ? element("small", { textContent: `until ${clock(item.paused_until)}` }) : null,
    failed ? element("small", { className: "bad", textContent: failed }) : null,
    copying ? element("small", {}, `${copying.name}: `, backfill(copying.backfill)) : null];
}

const row = (destination) => ({
  key: JSON.stringify([destination.tenant, destination.name]),
  cells: [
    tenantLink(destination.tenant),
    destination.name,
    stateOf(destination, STATES),
    behind(destination),
    moment(destination.last_success_at),
    nextAttempt(destination),
    proof(destination),
    where(destination),
  ],
});

let list = null;

export const tenants = {
  begin() {
    list = new List({ id: "destinations", view: "tenants", path: "destinations", states: STATES, heads: HEADS, row, none: "no destinations" });
  },
  enter: (asked) => list.show(asked),
  show: (status) => list.follow(status.sync.destinations),
  redraw: () => list.refresh(),
};
