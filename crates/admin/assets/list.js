// A list that the daemon searches, filters, sorts and cuts into pages: destinations, and webhooks.

import { Pace, ask } from "./daemon.js";
import { bodyRows, byId, element, fill } from "./elements.js";
import { plural } from "./words.js";

const ROWS = 50;
const EVERY_MS = 2500;

export class List {
  // `id`: what the ids of its parts begin with. `view`: its name in the address. `heads` and `row`
  // make the table.
  constructor({ id, view, path, states, heads, row, none }) {
    Object.assign(this, { id, view, path, states, heads, row, none });
    this.state = "";
    this.search = "";
    this.sort = "state";
    this.pages = [null];
    this.answer = null;
    this.pace = new Pace(EVERY_MS);
    this.ticket = 0;
    this.part("next").addEventListener("click", () => this.turn([...this.pages, this.answer.next]));
    this.part("previous").addEventListener("click", () => this.turn(this.pages.slice(0, -1)));
    this.part("states").addEventListener("click", (event) => {
      const state = event.target.closest("button")?.dataset.state;
      if (state === undefined) return;
      const query = new URLSearchParams(Object.entries({ state, search: this.search }).filter(([, value]) => value)).toString();
      location.hash = `#/${this.view}${query ? `?${query}` : ""}`;
    });
    this.part("sort")?.addEventListener("change", (event) => {
      this.sort = event.target.value;
      this.turn([null]);
    });
  }

  part(name) {
    return byId(`${this.id}-${name}`);
  }

  // What is wanted has changed.
  show({ state = "", search = "" }) {
    if (state === this.state && search === this.search && this.answer) return;
    Object.assign(this, { state, search });
    if (this.counts) this.drawStates();
    this.turn([null]);
  }

  turn(pages) {
    this.pages = pages;
    this.refresh();
  }

  // Called with every status; asks again when it is time.
  follow(counts) {
    this.counts = counts;
    this.drawStates();
    if (this.pace.due()) this.refresh();
  }

  async refresh() {
    this.pace.begin();
    const ticket = ++this.ticket;
    const after = this.pages.at(-1);
    try {
      const answer = await ask(this.path, { state: this.state, search: this.search, sort: this.sort, limit: ROWS, after });
      // An answer to an earlier question came late.
      if (ticket !== this.ticket) return;
      this.answer = answer;
      this.trouble = null;
    } catch (error) {
      if (ticket !== this.ticket) return;
      this.trouble = error.message;
    }
    this.pace.end();
    this.draw();
  }

  drawStates() {
    const total = Object.values(this.counts).reduce((sum, number) => sum + number, 0);
    const chip = (state, label, number, tone) => {
      const text = `${label} ${number.toLocaleString()}`;
      return element("button", { type: "button", className: `chip ${tone}`, "aria-pressed": String(this.state === state), textContent: text, data: { state, key: `state ${state}` } });
    };
    const known = Object.entries(this.states).filter(([state]) => this.counts[state] || this.state === state);
    fill(this.part("states"), [chip("", "all", total, ""), ...known.map(([state, [label, tone]]) => chip(state, label, this.counts[state] ?? 0, tone))]);
  }

  draw() {
    const { items, next } = this.answer ?? { items: [], next: null };
    const body = this.part("rows");
    fill(body, bodyRows(this.heads, items.map(this.row), this.search || this.state ? "nothing fits" : this.none));
    const from = (this.pages.length - 1) * ROWS;
    const listed = items.length ? `${(from + 1).toLocaleString()} to ${(from + items.length).toLocaleString()}` : "";
    const total = this.search ? null : this.state ? this.counts?.[this.state] : Object.values(this.counts ?? {}).reduce((sum, number) => sum + number, 0);
    this.part("shown").textContent = this.trouble ?? (next || from ? `${listed}${total ? ` of ${total.toLocaleString()}` : ""}` : items.length ? `${plural(items.length, "row", "rows")}` : "");
    this.part("shown").className = this.trouble ? "bad" : "quiet";
    this.part("next").hidden = !next;
    this.part("previous").hidden = this.pages.length < 2;
  }
}
