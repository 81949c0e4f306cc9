// Exports: a tenant's rows as files, the newest first.

import { actions } from "./actions.js";
import { Pace, ask } from "./daemon.js";
import { badge, bodyRows, byId, coming, element, fill, moment, quiet, tenantLink } from "./elements.js";
import { EXPORT_STATES, count, duration, goesOn, plural, rate } from "./words.js";

const ROWS = 50;
const EVERY_MS = 2000;
const HEADS = [["Tenant"], ["Export"], ["State", "state"], ["Progress"], ["Asked for"], ["Files"], ["Kept until"], [""]];

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

function size(bytes) {
  const unit = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const number = bytes / 1024 ** unit;
  return `${number < 10 && unit ? number.toFixed(1) : Math.round(number)}\u00a0${UNITS[unit]}`;
}

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

let pages = [null];
let answer = null;
let ticket = 0;
let state = "";
const pace = new Pace(EVERY_MS);

async function refresh() {
  pace.begin();
  const mine = ++ticket;
  let trouble = null;
  try {
    const found = await ask("exports", { state, limit: ROWS, after: pages.at(-1) });
    // An answer to an earlier question came late.
    if (mine !== ticket) return;
    answer = found;
  } catch (error) {
    if (mine !== ticket) return;
    trouble = error.message;
  }
  pace.end();
  draw(trouble);
}

function draw(trouble) {
  const { items, next } = answer ?? { items: [], next: null };
  fill(byId("exports-rows"), bodyRows(HEADS, items.map(row), state ? "nothing fits" : "no exports yet; offtake export create makes one"));
  byId("exports-shown").textContent = trouble ?? (items.length ? plural(items.length, "export", "exports") : "");
  byId("exports-shown").className = trouble ? "bad" : "quiet";
  byId("exports-next").hidden = !next;
  byId("exports-previous").hidden = pages.length < 2;
}

function turn(to) {
  pages = to;
  refresh();
}

export const exports = {
  begin() {
    byId("exports-next").addEventListener("click", () => turn([...pages, answer.next]));
    byId("exports-previous").addEventListener("click", () => turn(pages.slice(0, -1)));
    const all = element("option", { value: "", textContent: "all" });
    fill(byId("exports-state"), [all, ...Object.entries(EXPORT_STATES).map(([value, [textContent]]) => element("option", { value, textContent }))]);
    byId("exports-state").addEventListener("change", (event) => {
      state = event.target.value;
      turn([null]);
    });
  },
  enter: () => refresh(),
  show: () => pace.due() && refresh(),
  redraw: () => refresh(),
};
