// Elements of the page, and how what is shown becomes what is told. Text from the daemon is only
// ever set as text: names, reasons and errors come from tenants and their servers, and as HTML they
// could run scripts.

import { STATES, ago, bounded, count, duration, fromNow, plural, stopped } from "./words.js";

export const byId = (id) => document.getElementById(id);
const given = (child) => child !== null && child !== undefined && child !== false;

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter(given));
  return made;
}

// Shapes have attributes only; a style attribute would need a weaker content policy.
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat().filter(given));
  return made;
}

// Makes `old` equal to `made` and keeps every element that stays. A button that was replaced every
// second could not be clicked, and would lose the focus.
function become(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName) return old.replaceWith(made);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  return fill(old, [...made.childNodes]);
}

// Rows are matched by their key. Matched by position, a click that began on one row could end on
// another that has moved there meanwhile.
export function fill(parent, children) {
  const made = children.flat().filter(given).map((child) => (typeof child === "string" ? document.createTextNode(child) : child));
  const focused = document.activeElement;
  const keyed = new Map([...parent.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  made.forEach((child, i) => {
    const at = parent.childNodes[i] ?? null;
    const key = child.dataset?.key;
    const same = key ? keyed.get(key) : at?.dataset?.key ? null : at;
    if (!same) parent.insertBefore(child, at);
    else {
      if (same !== at) parent.insertBefore(same, at);
      become(same, child);
    }
  });
  while (parent.childNodes.length > made.length) parent.lastChild.remove();
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

export function badge(state, states = STATES) {
  const [label, tone] = states[state] ?? [state, "quiet"];
  return element("span", { className: `badge ${tone}`, textContent: label });
}

export const quiet = (textContent) => element("span", { className: "quiet", textContent });

export function moment(text, none = "never") {
  if (!text) return quiet(none);
  return element("time", { dateTime: text, title: new Date(text).toLocaleString(), textContent: ago(text) });
}

export function coming(text, none = "–") {
  if (!text) return quiet(none);
  return element("time", { dateTime: text, title: new Date(text).toLocaleString(), textContent: fromNow(text) });
}

// Names and values; a pair may be null.
export function facts(pairs) {
  return element("dl", {}, pairs.filter(given).map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", {}, value))));
}

// A table whose rows become blocks on a narrow screen, where each cell says what it is. `heads`:
// text and class of each column. A row is a list of cells' contents, with a `key` where it may
// move.
export function table(label, heads, rows, none) {
  const head = element("thead", {}, element("tr", {}, heads.map(([textContent, className = ""]) => element("th", { textContent, className, scope: "col" }))));
  return element("table", { "aria-label": label }, head, element("tbody", {}, bodyRows(heads, rows, none)));
}

export function bodyRows(heads, rows, none) {
  if (!rows.length) return [element("tr", {}, element("td", { className: "empty", colSpan: heads.length, textContent: none }))];
  return rows.map(({ key, cells }) => {
    const row = element("tr", {}, cells.map((cell, i) => element("td", { className: heads[i][1] ?? "", data: { label: heads[i][0] } }, cell)));
    if (key) row.dataset.key = key;
    return row;
  });
}

export const tenantLink = (tenant) => element("a", { href: `#/tenant/${encodeURIComponent(tenant)}`, textContent: tenant });

// How far a first copy, or a re-copy, is.
export function backfill(of) {
  if (of.state === "done") return quiet("copied");
  const told = of.state === "pending" ? "not begun" : `${count(of.rows_done)} ${of.rows_total ? `of about ${count(of.rows_total)} rows` : "rows"}`;
  const bar = of.percent === null ? null : element("progress", { max: 100, value: of.percent, "aria-label": "copied" });
  const share = of.percent === null ? "" : `${of.percent.toFixed(0)} %, `;
  const rest = of.eta_seconds === null ? "" : `, about ${duration(of.eta_seconds)} to go`;
  return element("span", { className: "backfill" }, bar, `${share}${told}${rest}`);
}

// When a destination, or a mapping in it, was last proved equal, and how many rows differ now.
export function proof(of) {
  const differs = BigInt(of.differences ?? 0) > 0n;
  return element("span", {}, moment(of.verified_at, "not yet"),
    differs ? element("small", { className: "bad differs", textContent: plural(of.differences, "row differs", "rows differ") }) : null);
}

export const waiting = (of) => (BigInt(of) > 0n ? bounded(of) : quiet("0"));

// Host, port and database; a line ends between them first.
export const where = (item) => item.host
  ? [`${item.host}:${item.port}`, element("wbr"), `/${item.database}`]
  : [item.database];

// When it is tried again.
export const nextAttempt = (item, none) => coming(stopped(item) ? null : item.next_attempt_at, stopped(item) ? "–" : none);

// How many changes are not there yet, and for how long the oldest of them.
export const behind = (item) => [waiting(item.lag_rows), item.lag_seconds ? element("small", { textContent: ` for ${duration(item.lag_seconds)}` }) : null];
