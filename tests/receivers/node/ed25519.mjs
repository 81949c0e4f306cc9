// Verifies a v1a signature with the public key that `offtake webhook show` prints.
import { createPublicKey, verify } from "node:crypto";

const PREFIX = Buffer.from("302a300506032b6570032100", "hex"); // what DER says before the key
const TOLERANCE_SECONDS = 300;

export function verified(publicKey, headers, body) {
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64");
  const key = createPublicKey({ key: Buffer.concat([PREFIX, raw]), format: "der", type: "spki" });
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": list } = headers;
  if (Math.abs(Date.now() / 1000 - Number(at)) > TOLERANCE_SECONDS) return false;
  const signed = Buffer.concat([Buffer.from(`${id}.${at}.`), body]);
  return list
    .split(" ")
    .filter((one) => one.startsWith("v1a,"))
    .some((one) => verify(null, signed, key, Buffer.from(one.slice(4), "base64")));
}
