"""Verifies a message by the Standard Webhooks library of PyPI: {"secret", "headers", "body"} on standard input."""

import json
import sys

from standardwebhooks.webhooks import Webhook

message = json.load(sys.stdin)
Webhook(message["secret"]).verify(message["body"], message["headers"])
