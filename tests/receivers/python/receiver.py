"""Verifies Offtake's webhooks and keeps the newest state of each row.

WEBHOOK_SECRET="whsec_…" python3 receiver.py [port]
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = set()  # ids of events; keep them in your database, for a few days
rows = {}  # mapping and key -> mapping, key, epoch, as_of, data, doubtful
lock = Lock()


def tell(event, id):
    if id in seen:
        return
    mapping, kind = event["mapping"], event["type"].rpartition(".")[2]
    told = [row for row in rows.values() if row["mapping"] == mapping]
    if kind == "resync":
        for row in told:
            row["doubtful"] = True
    elif kind == "backfilled":
        for row in told:
            if row.get("doubtful"):
                row["data"] = None
    else:
        name = json.dumps([mapping, event["key"]], sort_keys=True)
        known = rows.get(name)
        # Numbers of one epoch compare. A smaller one is a late request: the row here is newer.
        same = known is not None and known["epoch"] == event["epoch"]
        if not (same and int(known["as_of"]) > int(event["as_of"])):
            # A deleted row stays, without its data: its as_of still stops a late request.
            rows[name] = {f: event[f] for f in ("mapping", "key", "epoch", "as_of", "data")}
    seen.add(id)


def receive(headers, body):
    try:
        event = webhook.verify(body, headers)  # the bytes as they came, never JSON printed again
    except WebhookVerificationError as error:
        return 401, {"error": str(error)}  # not 400, which would blame the event
    with lock:
        if event["type"] == "offtake.batch":
            for one in event["data"]:
                tell(one, one["id"])
        elif event["type"] != "offtake.test":
            tell(event, headers["webhook-id"])
    return 200, {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the connection stays open for the next request
    disable_nagle_algorithm = True

    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        self.answer(*receive(headers, body))

    def do_GET(self):
        with lock:
            self.answer(200, list(rows.values()))

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
