// What a destination or a webhook waits for, and the story of one key, as `GET why` tells them.

import { element, facts, moment } from "./elements.js";
import { bounded, clock, count, plural } from "./words.js";

const when = (text) => moment(text, "–");

// Causes are told to terminals too, with times of the source's clock.
const readable = (text) => text.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, (at) => clock(`${at.slice(0, 10)}T${at.slice(11, 19)}Z`));

// A line ends between the words of a command, and not after a hyphen.
const inWords = (command) => command.split(" ").flatMap((word, i) => [i ? " " : null, element("span", { className: "word", textContent: word })]);

// A remedy with its commands set apart: what follows `run: ` or `by: `, and what stands between
// backticks.
function remedy(text) {
  const [words, command] = text.split(/(?<=\b(?:run|by): )(?=offtake )/s, 2);
  const parts = words.split("`").map((part, i) => (i % 2 ? element("code", { textContent: part }) : part));
  return element("p", {}, "What to do: ", parts, command ? element("code", {}, inWords(text.slice(words.length))) : null);
}

// The cause in words, and what to do about it. Some causes end with the command that the remedy
// has. `text`: better words for it.
export function waitsFor(waits, tone = "bad", text = waits.text) {
  const fine = waits.cause === "nothing";
  const cause = readable(waits.remedy ? text.replace(/; run: .*$/s, "") : text);
  return element("div", { className: "waits" }, element("p", { className: fine ? "good" : tone, textContent: cause }), waits.remedy ? remedy(waits.remedy) : null);
}

// What is owed, since when, and whether a process has it.
export function owed(request) {
  if (!request) return "nothing";
  const claim = request.claimed_by ? `, process ${request.claimed_by} has it` : "";
  return element("span", {}, `up to change ${count(request.wanted_sequence_id)}, since `, when(request.owed_since), claim);
}

export function storyOf(subject) {
  const story = subject.key;
  const change = (of) => element("span", {}, `${count(of.sequence_id)}, captured `, when(of.captured_at), ", numbered ", when(of.numbered_at), of.deleted ? ", deleted" : "");
  return element("section", { className: "card story" },
    element("h3", { textContent: `${subject.kind} ${subject.name}: ${story.mapping} ${Object.values(story.key).join(", ")}` }),
    waitsFor(story.waits_for),
    facts([
      ["captured, not numbered", when(story.pending_captured_at)],
      ["newest change", story.change ? change(story.change) : `none among the newest ${bounded(story.changes_looked_at)}`],
      story.whole_table ? ["whole table", change(story.whole_table)] : null,
      ["cursor", count(story.cursor)],
      ["applied", story.applied ? "yes" : "no"],
      ["refused", story.refused ? `${story.refused.error} (${plural(story.refused.attempts, "attempt", "attempts")})` : "no"],
    ]));
}
