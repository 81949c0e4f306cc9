"""For the tests: says of each request on standard input (a line of JSON each) what the libraries
make of it, as a line of JSON."""

import base64
import json
import sys

from ed25519 import verified
from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    request = json.loads(line)
    headers, body = request["headers"], base64.b64decode(request["body"])
    said = {}
    if request.get("secret"):
        try:
            said["parsed"] = Webhook(request["secret"]).verify(body, headers)
            said["v1"] = "verified"
        except WebhookVerificationError as error:
            said["v1"] = str(error)
    if request.get("public_key"):
        said["v1a"] = "verified" if verified(request["public_key"], headers, body) else "refused"
    print(json.dumps(said), flush=True)
