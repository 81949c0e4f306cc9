"use strict";

// What a tenant's destinations and webhooks wait for, and the story of one key. Asked when an
// operator asks, not with the events. What it is made of is in dashboard.js.

// As facts() of dashboard.js, with values that may have elements in them.
const details = (pairs) => element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", {}, value)]));
const when = (text) => (text ? moment(text) : "–");

function waitsFor(waits) {
  const fine = waits.cause === "nothing";
  return [
    element("p", { className: fine ? "good" : "bad", textContent: waits.text }),
    waits.remedy ? element("p", {}, "what to do: ", element("code", { textContent: waits.remedy })) : null,
  ];
}

function storyOf(story) {
  const change = (of) => element("span", {}, `${count(of.sequence_id)}, captured `, when(of.captured_at), ", numbered ", when(of.numbered_at), of.deleted ? ", deleted" : "");
  return element("div", { className: "story" },
    element("h4", { textContent: `${story.mapping} ${Object.values(story.key).join(", ")}` }),
    ...waitsFor(story.waits_for),
    details([
      ["captured, not numbered", when(story.pending_captured_at)],
      ["newest change", story.change ? change(story.change) : `none among the newest ${count(story.changes_looked_at)}`],
      ...(story.whole_table ? [["whole table", change(story.whole_table)]] : []),
      ["cursor", count(story.cursor)],
      ["applied", story.applied ? "yes" : "no"],
      ["refused", story.refused ? `${story.refused.error} (${plural(story.refused.attempts, "attempt", "attempts")})` : "no"],
    ]));
}

function subjectOf(item) {
  const request = item.request;
  const claim = request?.claimed_by ? `, process ${request.claimed_by} has it` : "";
  return element("li", {},
    element("h3", {}, element("span", { textContent: `${item.kind} ${item.name}` }), badge(item.state, WEBHOOK_STATES)),
    ...waitsFor(item.waits_for),
    details([
      ["last success", when(item.last_success_at)],
      ["owed", request ? element("span", {}, `up to ${count(request.wanted_sequence_id)} since `, when(request.owed_since), claim) : "nothing"],
      ...item.mappings.map((m) => [m.name, `cursor ${count(m.sequence_id)} of ${count(m.latest_sequence_id)}, ${bounded(m.backlog)} behind${m.copied ? "" : ", not copied completely"}`]),
      ...item.quarantined.map((q) => [`refused ${Object.values(q.key).join(", ")}`, q.error]),
    ]),
    item.key ? storyOf(item.key) : null);
}

function showWhy(answer) {
  byId("why-answer").textContent = answer.up_to_date ? "up to date" : "not up to date";
  byId("why-answer").className = answer.up_to_date ? "good" : "bad";
  fill(byId("why-items"), answer.items.map(subjectOf));
}

async function askWhy() {
  const asked = ["tenant", "mapping", "key"].map((field) => [field, byId(`why-${field}`).value.trim()]).filter(([, value]) => value);
  byId("why-answer").className = "quiet";
  byId("why-answer").textContent = "asking …";
  byId("why-items").replaceChildren();
  try {
    showWhy(await (await call(`why?${new URLSearchParams(asked)}`)).json());
  } catch (error) {
    byId("why-answer").className = "bad";
    byId("why-answer").textContent = error.message;
  }
}

// For a button beside a destination.
function askWhyOf(tenant) {
  byId("why-tenant").value = tenant;
  byId("why-mapping").value = "";
  byId("why-key").value = "";
  byId("why-title").scrollIntoView();
  askWhy();
}

byId("why-form").addEventListener("submit", (event) => {
  event.preventDefault();
  askWhy();
});
