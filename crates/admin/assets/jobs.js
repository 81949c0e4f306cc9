// A view of jobs whose results are files: the newest first, page by page, asked for again while it
// is shown.

import { Pace, ask } from "./daemon.js";
import { bodyRows, byId, element, fill } from "./elements.js";
import { plural } from "./words.js";

const ROWS = 50;
const EVERY_MS = 2000;

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  const unit = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const number = bytes / 1024 ** unit;
  return `${number < 10 && unit ? number.toFixed(1) : Math.round(number)}\u00a0${UNITS[unit]}`;
}

// `kind`: the route, and what the ids of the view's elements begin with. `none`: what is said where
// there is no job.
export function jobsView({ kind, heads, states, row, one, none }) {
  let pages = [null];
  let answer = null;
  let ticket = 0;
  let state = "";
  const pace = new Pace(EVERY_MS);
  const part = (name) => byId(`${kind}-${name}`);

  function draw(trouble) {
    const { items, next } = answer ?? { items: [], next: null };
    fill(part("rows"), bodyRows(heads, items.map(row), state ? "nothing fits" : none));
    part("shown").textContent = trouble ?? (items.length ? plural(items.length, one, kind) : "");
    part("shown").className = trouble ? "bad" : "quiet";
    part("next").hidden = !next;
    part("previous").hidden = pages.length < 2;
  }

  async function refresh() {
    pace.begin();
    const mine = ++ticket;
    let trouble = null;
    try {
      const found = await ask(kind, { state, limit: ROWS, after: pages.at(-1) });
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

  function turn(to) {
    pages = to;
    refresh();
  }

  return {
    begin() {
      part("next").addEventListener("click", () => turn([...pages, answer.next]));
      part("previous").addEventListener("click", () => turn(pages.slice(0, -1)));
      const all = element("option", { value: "", textContent: "all" });
      fill(part("state"), [all, ...Object.entries(states).map(([value, [textContent]]) => element("option", { value, textContent }))]);
      part("state").addEventListener("change", (event) => {
        state = event.target.value;
        turn([null]);
      });
    },
    enter: () => refresh(),
    show: () => pace.due() && refresh(),
    redraw: () => refresh(),
  };
}
