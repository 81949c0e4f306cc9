// Numbers, times and states as people read them.

// Each state with its label and its tone, in the order of `sort=state`: the worst first.
export const STATES = {
  blocked: ["blocked", "bad"],
  degraded: ["degraded", "warn"],
  backfilling: ["backfilling", "busy"],
  lagging: ["lagging", "busy"],
  paused: ["paused", "quiet"],
  in_sync: ["in sync", "good"],
};

export const EXPORT_STATES = {
  failed: ["failed", "bad"],
  processing: ["processing", "busy"],
  settling: ["settling", "busy"],
  paused: ["paused", "warn"],
  accepted: ["accepted", "quiet"],
  completed: ["completed", "good"],
  cancelled: ["cancelled", "quiet"],
  expired: ["expired", "quiet"],
};

const { settling, ...ofSnapshots } = EXPORT_STATES;
export const SNAPSHOT_STATES = ofSnapshots;

// Whether an export or a snapshot is worked on, or will be.
export const goesOn = (one) => ["accepted", "processing", "paused", "settling"].includes(one.state);

export const WEBHOOK_STATES = { disabled: ["disabled", "bad"], ...STATES };

// What a destination's state means where the daemon gives no reason.
// `done`: what is done with a change there, written or told.
const meaning = (state, done) => ({
  paused: `nothing is ${done} until it is resumed; its changes are kept`,
  blocked: `nothing can be ${done}`,
  backfilling: "its first copy is not complete",
  degraded: "some rows are missing or differ, or something grows there",
  in_sync: `every committed change is ${done}`,
})[state] ?? "";

// How far the daemon's clock is ahead of this machine's, in ms. An age is the daemon's.
let ahead = 0;

export function hearClock(date) {
  const at = Date.parse(date ?? "");
  // A header has whole seconds, so a smaller difference means nothing.
  if (Number.isFinite(at)) ahead = Math.abs(at - Date.now()) > 2000 ? at - Date.now() : 0;
}

export const now = () => Date.now() + ahead;

// 64-bit numbers arrive as strings; BigInt keeps every digit.
export const count = (text) => (text === null || text === undefined ? "–" : BigInt(text).toLocaleString());
// The daemon counts no further than 100,001.
export const bounded = (text) => (BigInt(text ?? 0) > 100000n ? "> 100,000" : count(text));
export const plural = (number, one, many) => `${bounded(String(number))} ${String(number) === "1" ? one : many}`;
// A rate, with a digit behind the point only where it is small.
export const rate = (number) => (number === null || number === undefined ? "–" : (number < 10 ? Math.round(number * 10) / 10 : Math.round(number)).toLocaleString());

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const [number, unit] = seconds < 1 ? [Math.round(seconds * 1000), "ms"]
    : seconds < 120 ? [seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds), "s"]
      : seconds < 7200 ? [Math.round(seconds / 60), "min"]
        : seconds < 172800 ? [Math.round(seconds / 3600), "h"] : [Math.round(seconds / 86400), "days"];
  // No line ends between a number and its unit.
  return `${number}\u00a0${unit}`;
}

export function ago(text) {
  const seconds = (now() - new Date(text)) / 1000;
  return seconds < 5 ? "just now" : `${duration(Math.round(seconds))} ago`;
}

export function fromNow(text) {
  const seconds = (new Date(text) - now()) / 1000;
  return seconds < 1 ? "now" : `in ${duration(Math.round(seconds))}`;
}

// With the day only where it is another than today's.
export function clock(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date(now()).toDateString();
  return today ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

// Whether nothing is attempted until an operator says so.
export const stopped = (item) => item.state === "paused" || item.state === "disabled";

// Why a destination or a webhook is in its state, as a sentence.
export function inWords(item, done = "written") {
  if (item.reason) return item.reason;
  if (item.state === "lagging") {
    const oldest = item.lag_seconds ? `, the oldest for ${duration(item.lag_seconds)}` : "";
    return BigInt(item.lag_rows) > 0n ? `${plural(item.lag_rows, "change waits", "changes wait")} to be ${done}${oldest}` : `a change may concern it that is not ${done} yet`;
  }
  return item.last_error && item.state === "blocked" ? item.last_error : meaning(item.state, done);
}

// The number of failures in a row, and the last error unless the reason contains it.
export function failures(item) {
  if (!item.consecutive_failures) return null;
  const error = item.last_error ?? "";
  const times = plural(item.consecutive_failures, "failure in a row", "failures in a row");
  return !error || item.reason?.includes(error) ? times : `${times}: ${error}`;
}
