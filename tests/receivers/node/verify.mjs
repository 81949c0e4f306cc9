// For the tests: says of each request on standard input (a line of JSON each) what the libraries
// make of it, as a line of JSON.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";
import { verified } from "./ed25519.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, public_key, headers, body } = JSON.parse(line);
  const bytes = Buffer.from(body, "base64");
  const said = {};
  if (secret) {
    try {
      said.parsed = new Webhook(secret).verify(bytes, headers);
      said.v1 = "verified";
    } catch (error) {
      said.v1 = error.message;
    }
  }
  if (public_key) said.v1a = verified(public_key, headers, bytes) ? "verified" : "refused";
  console.log(JSON.stringify(said));
}
