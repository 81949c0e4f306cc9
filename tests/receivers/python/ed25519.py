"""Verifies a v1a signature with the public key that `offtake webhook show` prints."""

import base64
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_SECONDS = 300


def verified(public_key, headers, body):
    raw = base64.b64decode(public_key.removeprefix("whpk_"))
    key = Ed25519PublicKey.from_public_bytes(raw)
    id, at, signatures = (
        headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
    )
    if abs(time.time() - int(at)) > TOLERANCE_SECONDS:
        return False
    for version, _, signature in (one.partition(",") for one in signatures.split(" ")):
        if version != "v1a":
            continue
        try:
            key.verify(base64.b64decode(signature), f"{id}.{at}.".encode() + body)
            return True
        except InvalidSignature:
            pass
    return False
