// The webhooks of all tenants, the worst first, and what a search finds.

import { behind, element, moment, nextAttempt, tenantLink } from "./elements.js";
import { List } from "./list.js";
import { stateOf } from "./tenants.js";
import { WEBHOOK_STATES, count } from "./words.js";

const HEADS = [["Tenant", "name"], ["Webhook"], ["State", "state"], ["Behind", "number"], ["Delivered", "number"], ["Last success"], ["Next attempt"], ["Where", "where"]];

const row = (webhook) => ({
  key: JSON.stringify([webhook.tenant, webhook.name]),
  cells: [
    tenantLink(webhook.tenant),
    webhook.name,
    stateOf(webhook, WEBHOOK_STATES, "told"),
    behind(webhook),
    count(webhook.delivered),
    moment(webhook.last_success_at),
    nextAttempt(webhook),
    [webhook.host ? `${webhook.host}:${webhook.port}` : "–", signatures(webhook)],
  ],
});

// Each secret by its kind and its fingerprint.
export const signatures = (webhook) => element("small", { textContent: (webhook.signatures ?? []).map((s) => `signed by ${s.kind} ${s.fingerprint}`).join(", ") });

let list = null;

export const webhooks = {
  begin() {
    list = new List({ id: "webhooks", view: "webhooks", path: "webhooks", states: WEBHOOK_STATES, heads: HEADS, row, none: "no webhooks" });
  },
  enter: (asked) => list.show(asked),
  show: (status) => list.follow(status.webhooks.states),
  redraw: () => list.refresh(),
};
