// Verifies a message by Node's own Ed25519 with a JSON Web Key Set: {"keys", "headers", "body"} on standard input.
const { createPublicKey, verify } = require("node:crypto");

const { keys, headers, body } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const content = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
const taken = keys.keys.some((jwk) => {
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return signatures.some((one) => verify(null, content, key, Buffer.from(one.slice(4), "base64")));
});
if (!taken) throw new Error("No matching signature found");
