// The page: which view is shown, what every view has above it, and the status that all are told.

import { listenToActions, onOutcome } from "./actions.js";
import { ask, follow, useToken } from "./daemon.js";
import { byId, element, fill, tenantLink } from "./elements.js";
import { exports } from "./exports.js";
import { platform } from "./platform.js";
import { snapshots } from "./snapshots.js";
import { system } from "./system.js";
import { oneTenant } from "./tenant.js";
import { tenants } from "./tenants.js";
import { webhooks } from "./webhooks.js";
import { STATES } from "./words.js";

const TYPED_MS = 200;
const FOUND = 8;
const VIEWS = { tenants, webhooks, exports, snapshots, platform, system, tenant: oneTenant };
let view = null;
let latest = null;

// An address that somebody has cut off may end within an escape.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// The address behind # names the view: `#/tenants?state=blocked`, `#/tenant/acme`.
function asked() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, tenant] = path.split("/");
  const parameters = Object.fromEntries(new URLSearchParams(query ?? ""));
  if (name === "tenant" && tenant) return { name, parameters: { tenant: decoded(tenant) } };
  return { name: VIEWS[name] && name !== "tenant" ? name : "tenants", parameters };
}

function route(event) {
  const { name, parameters } = asked();
  const before = view;
  view = name;
  for (const one of Object.keys(VIEWS)) byId(`view-${one}`).hidden = one !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === (name === "tenant" ? "tenants" : name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (name === "tenants" || name === "webhooks") setSearch(parameters.search ?? "");
  VIEWS[name].enter(parameters, latest);
  if (latest) VIEWS[name].show(latest);
  // Whoever follows a link with the keyboard goes on from the new view's heading.
  if (event && before !== name) byId(`view-${name}`).querySelector("h2").focus({ preventScroll: true });
  if (event && before !== name) window.scrollTo(0, 0);
}

function show(status) {
  latest = status;
  const first = byId("main").hidden;
  byId("main").hidden = false;
  const states = Object.entries(STATES).filter(([state]) => status.sync.destinations[state]);
  const links = states.map(([state, [label, tone]]) => element("a", { className: tone, href: `#/tenants?state=${state}`, textContent: `${status.sync.destinations[state].toLocaleString()} ${label}`, data: { key: state } }));
  fill(byId("summary"), links.length ? links : ["no destinations yet"]);
  const total = Object.values(status.webhooks.states).reduce((sum, number) => sum + number, 0);
  byId("webhooks-tab").hidden = total === 0;
  const error = status.config?.error;
  byId("configuration-error").hidden = !error;
  byId("configuration-error").textContent = error ? `The configuration on disk is not in use: ${error}` : "";
  if (first) route();
  else VIEWS[view].show(status);
}

function setSearch(text) {
  if (byId("search") !== document.activeElement) byId("search").value = text;
}

let typing = null;

// Typing searches in the list that is open, or in the destinations.
function search() {
  const text = byId("search").value.trim();
  const { name, parameters } = asked();
  const list = name === "webhooks" ? "webhooks" : "tenants";
  const query = new URLSearchParams({ ...(name === list && parameters.state ? { state: parameters.state } : {}), ...(text ? { search: text } : {}) }).toString();
  const hash = `#/${list}${query ? `?${query}` : ""}`;
  if (location.hash === hash) return;
  if (name === list) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  route();
  if (list === "tenants") findWebhooks(text);
}

// A tenant may have webhooks only.
async function findWebhooks(text) {
  const box = byId("found-webhooks");
  box.hidden = true;
  if (!text || byId("webhooks-tab").hidden) return;
  const { items } = await ask("webhooks", { search: text, limit: FOUND }).catch(() => ({ items: [] }));
  if (!items.length || byId("search").value.trim() !== text) return;
  box.hidden = false;
  fill(byId("found-webhooks-list"), items.map((one) => element("li", {}, tenantLink(one.tenant), ` webhook ${one.name}`)));
}

byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, TYPED_MS);
});

// Enter opens the only tenant that is found.
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  search();
  const found = new Set([...document.querySelectorAll("#destinations-rows a")].map((link) => link.hash));
  if (found.size === 1) location.hash = [...found][0];
});

document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !typed && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
  }
});

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(show);
});

for (const one of Object.values(VIEWS)) one.begin();
listenToActions();
onOutcome(() => view && VIEWS[view].redraw());
window.addEventListener("hashchange", route);
follow(show);
