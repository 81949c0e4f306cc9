// Talks to the daemon. The token is kept in this variable and nowhere else, so a reload forgets it.

import { byId, fill } from "./elements.js";
import { duration, hearClock } from "./words.js";

const STALE_AFTER_MS = 5000;
const AGAIN_AFTER_MS = 1000;
let token = null;
let answeredAt = 0;
let askedAt = 0;
let visibleSince = 0;
let version = null;

// Sends a request to the API. Returns the response, or throws an error with the daemon's
// explanation.
export async function call(path, options = {}) {
  const response = await fetch(`/api/v1/${path}`, {
    ...options,
    headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers },
  });
  hearClock(response.headers.get("Date"));
  if (response.ok) return response;
  if (response.status === 401 || response.status === 403) askForToken(response.status);
  const problem = await response.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `the daemon answered ${response.status}`), {
    status: response.status,
    againAfter: (Number(response.headers.get("Retry-After")) || 0) * 1000,
  });
}

export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return (await call(query ? `${path}?${query}` : path)).json();
}

export async function send(method, path, body) {
  return (await call(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();
}

// Says when something is to be asked again: not before `every` ms, and where answers take long, not
// before five times as long, so that a page costs the source little however much there is to tell.
export class Pace {
  constructor(every) {
    Object.assign(this, { every, begun: 0, next: 0 });
  }

  due() {
    return Date.now() >= this.next;
  }

  begin() {
    this.begun = Date.now();
    this.next = Infinity;
  }

  end() {
    this.next = Date.now() + Math.max(this.every, 5 * (Date.now() - this.begun));
  }

  now() {
    this.next = 0;
  }
}

function askForToken(status) {
  const reading = status === 401;
  if (reading) byId("main").hidden = true;
  byId("token-question").textContent = reading
    ? "This daemon asks for a token. The read token shows everything, the admin token also changes things:"
    : "Changing something needs the admin token:";
  byId("token-form").hidden = false;
  if (reading) byId("freshness").textContent = token ? "that token is not accepted" : "a token is needed";
  byId("token").focus();
}

// Shows events until the connection ends; then it throws.
async function listen(show) {
  askedAt = Date.now();
  const response = await call("events?destinations=false", { signal: restarted.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the daemon ended the connection");
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    // When several events came at once, only the last one is shown.
    const [, kind, data] = events.pop()?.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
    if (kind === "status") {
      const status = JSON.parse(data);
      answeredAt = Date.now();
      version = status.version;
      live();
      show(status);
    } else if (kind === "problem") {
      stale(JSON.parse(data).detail);
    }
  }
}

function live() {
  document.body.className = "";
  byId("stale").hidden = true;
  byId("freshness").textContent = `live, version ${version}`;
}

// What was shown stays readable; a mark above it says how old it is.
function stale(why) {
  const age = answeredAt ? `What is shown is ${duration(Math.round((Date.now() - answeredAt) / 1000))} old.` : "There is nothing to show yet.";
  document.body.className = "stale";
  byId("freshness").textContent = "not live";
  byId("stale").hidden = false;
  fill(byId("stale-why"), [`Not live: ${why}.`]);
  fill(byId("stale-age"), [age]);
}

let restarted = new AbortController();

function restart() {
  restarted.abort();
  restarted = new AbortController();
}

let following = false;

export async function follow(show) {
  if (following) return;
  following = true;
  for (;;) {
    let againAfter = AGAIN_AFTER_MS;
    while (document.hidden) await new Promise((shown) => { document.addEventListener("visibilitychange", shown, { once: true }); });
    try {
      await listen(show);
    } catch (error) {
      if (error.status === 401) break;
      // A browser's own words for a connection that it does not get are of no use to an operator.
      if (error.name !== "AbortError") stale(error.status ? error.message : "the daemon does not answer");
      againAfter = Math.max(againAfter, error.againAfter ?? 0);
    }
    await new Promise((wait) => { setTimeout(wait, againAfter); });
  }
  following = false;
}

export function useToken(show) {
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("token-form").hidden = true;
  follow(show);
}

// A broken connection may stay open without delivering anything; then begin another. One that was
// begun lately may still answer.
setInterval(() => {
  if (!answeredAt || document.hidden || Date.now() - Math.max(answeredAt, visibleSince) < STALE_AFTER_MS) return;
  stale("the daemon does not answer");
  if (Date.now() - askedAt > STALE_AFTER_MS) restart();
}, AGAIN_AFTER_MS);

// A hidden page frees its connection: the daemon serves few listeners at a time. One that is shown
// again asks at once, and is not stale before there was time to answer.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) restart();
  else visibleSince = Date.now();
});
