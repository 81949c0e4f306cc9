// Verifies Offtake's webhooks and keeps the newest state of each row.
// WEBHOOK_SECRET="whsec_…" node receiver.mjs [port]
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // ids of events; keep them in your database, for a few days
const rows = new Map(); // mapping and key -> { mapping, key, epoch, as_of, data, doubtful }

function tell(event, id) {
  if (seen.has(id)) return;
  const { type, mapping, epoch, data } = event;
  const kind = type.slice(type.lastIndexOf(".") + 1);
  if (kind === "resync") for (const row of of(mapping)) row.doubtful = true;
  if (kind === "backfilled") for (const row of of(mapping)) if (row.doubtful) row.data = null;
  if (kind === "upserted" || kind === "deleted") {
    const name = JSON.stringify([mapping, event.key]);
    const known = rows.get(name);
    // Numbers of one epoch compare. A smaller one is a late request: the row here is newer.
    const late = known?.epoch === epoch && BigInt(known.as_of) > BigInt(event.as_of);
    // A deleted row stays, without its data: its as_of still stops a late request.
    if (!late) rows.set(name, { mapping, key: event.key, epoch, as_of: event.as_of, data });
  }
  seen.add(id);
}

const of = (mapping) => [...rows.values()].filter((row) => row.mapping === mapping);

function receive(headers, body) {
  let event;
  try {
    event = webhook.verify(body, headers); // the bytes as they came, never JSON printed again
  } catch (error) {
    return [401, { error: error.message }]; // not 400, which would blame the event
  }
  if (event.type === "offtake.batch") for (const one of event.data) tell(one, one.id);
  else if (event.type !== "offtake.test") tell(event, headers["webhook-id"]);
  return [200, {}];
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [status, answer] =
    request.method === "POST"
      ? receive(request.headers, Buffer.concat(chunks))
      : [200, [...rows.values()]];
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
});
server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () =>
  console.log(`listening on http://127.0.0.1:${server.address().port}/`),
);
