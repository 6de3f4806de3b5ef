// Verifies a message by the Standard Webhooks library of npm: {"secret", "headers", "body"} on standard input.
const { Webhook } = require("standardwebhooks");

const message = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
new Webhook(message.secret).verify(message.body, message.headers);
