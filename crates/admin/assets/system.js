// The daemons, their loops, the fuses and the configuration.

import { actions } from "./actions.js";
import { ask } from "./daemon.js";
import { bodyRows, byId, element, facts, fill, moment, quiet } from "./elements.js";
import { clock, duration, fromNow } from "./words.js";

const SETTINGS_EVERY_MS = 5000;
const FUSES_SHOWN = 100;
const DAEMON_HEADS = [["Daemon", "name"], ["State"], ["Version"], ["Listens"], ["Running since"], ["Last seen"]];
const FUSE_HEADS = [["Fuse", "name"], ["State"], ["Reason"], ["On again"], [""]];
const LOOP_HEADS = [["Loop", "name"], ["State"], ["Last round"]];

let latest = null;
let settings = null;
let settingsAt = 0;

const lamp = (label, tone) => element("span", { className: `badge ${tone}`, textContent: label });

function drawLoops(status) {
  const rows = status.loops.map((one) => ({
    key: one.name,
    cells: [one.name, [one.ready ? lamp("running", "good") : lamp("late", "bad"), one.reason ? element("small", { className: "bad", textContent: one.reason }) : null],
      `${duration(one.last_tick_seconds_ago)} ago`],
  }));
  fill(byId("loops"), bodyRows(LOOP_HEADS, rows, "no loop runs yet"));
}

function drawDaemons(status) {
  const rows = status.daemons.map((one) => ({
    key: one.process,
    cells: [[one.host || "a machine without a name", element("small", { textContent: `process ${one.process.split("-")[0]}${one.this ? ", this one" : ""}` })],
      one.running ? lamp("running", "good") : lamp("silent", "bad"), one.version, one.listen, moment(one.started_at), moment(one.seen_at)],
  }));
  fill(byId("daemons"), bodyRows(DAEMON_HEADS, rows, "no daemon has told the source that it runs"));
}

// Those that are off first.
function drawFuses(status) {
  const sorted = [...status.fuses].sort((a, b) => Number(a.enabled) - Number(b.enabled));
  const rows = sorted.slice(0, FUSES_SHOWN).map((fuse) => ({
    key: fuse.name,
    cells: [fuse.name, fuse.enabled ? lamp("on", "good") : lamp("off", "warn"), fuse.reason ?? quiet("–"),
      fuse.enabled ? quiet("–") : fuse.until ? element("span", { title: clock(fuse.until), textContent: fromNow(fuse.until) }) : "when it is switched on",
      actions("fuses", fuse, fuse.name)],
  }));
  fill(byId("fuses"), bodyRows(FUSE_HEADS, rows, "no fuses"));
  const more = sorted.length - FUSES_SHOWN;
  byId("fuses-more").textContent = more > 0 ? `${more.toLocaleString()} more are on; \`offtake fuse list\` has all` : "";
}

function drawDaemon(status) {
  const error = status.config?.error;
  fill(byId("daemon"), [facts([
    ["version", status.version],
    ["configuration read", status.config ? moment(status.config.loaded_at) : "–"],
    ["files on disk", error ? element("span", { className: "bad", textContent: `not in use: ${error}` }) : "in use"],
    ["epoch of the source", status.epoch ?? "–"],
  ]), actions("daemon", {}, "configuration")]);
}

// A setting's value: texts as they are; of a list each entry in a line of its own.
function valueOf(value) {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return quiet("not set");
  if (Array.isArray(value)) return value.map((one) => element("code", { className: "entry", textContent: typeof one === "object" ? JSON.stringify(one) : String(one) }));
  return element("code", { textContent: String(value) });
}

function settingRows(section, value) {
  if (!value || typeof value !== "object" || Array.isArray(value)) return [[section, valueOf(value)]];
  return Object.entries(value).flatMap(([name, inner]) => {
    const path = `${section}.${name}`;
    const nested = inner && typeof inner === "object" && !Array.isArray(inner);
    return nested ? settingRows(path, inner) : [[path, valueOf(inner)]];
  });
}

const SETTING_HEADS = [["Setting", "name"], ["Value"]];

function drawSettings() {
  const rows = Object.entries(settings).flatMap(([section, value]) => settingRows(section, value)).map(([name, value]) => ({ key: name, cells: [name, value] }));
  fill(byId("settings"), bodyRows(SETTING_HEADS, rows, "no settings"));
}

async function askForSettings() {
  if (Date.now() - settingsAt < SETTINGS_EVERY_MS) return;
  settingsAt = Date.now();
  try {
    ({ settings } = await ask("config"));
    byId("settings-trouble").textContent = "";
    drawSettings();
  } catch (error) {
    byId("settings-trouble").textContent = error.message;
  }
}

function show(status) {
  latest = status;
  drawDaemon(status);
  drawDaemons(status);
  drawLoops(status);
  drawFuses(status);
  askForSettings();
}

export const system = {
  begin: () => {},
  enter(_, status) {
    settingsAt = 0;
    if (status) show(status);
  },
  show,
  redraw: () => latest && show(latest),
};
