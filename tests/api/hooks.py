"""What a schema cannot say of the values that schemathesis makes up, and how Sapo's buckets are kept from overflowing."""

import base64
import itertools
import json
import os
import re
import subprocess
import urllib.request

import schemathesis
from hypothesis import strategies as st

BASE = os.environ["API_BASE"]
letters = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)

# A receiver that is there, and one that is not.
schemathesis.openapi.format(
    "uri",
    st.tuples(st.sampled_from([f"{BASE}/inspect", "http://receiver.test", "https://receiver.test"]), letters).map("/".join),
)
schemathesis.openapi.format("redirect-uri", letters.map("https://receiver.test/{}".format))
# A certificate and a key that belong together.
PEM = subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=client", "-keyout", "-"],
    check=True, capture_output=True, text=True,
).stdout.strip()
KEY_END = "-----END PRIVATE KEY-----\n"
PRIVATE_KEY, CERTIFICATE = PEM.split(KEY_END)
schemathesis.openapi.format("private-key", st.just(PRIVATE_KEY + KEY_END))
schemathesis.openapi.format("certificate", st.just(CERTIFICATE))
# To clients a cursor is opaque.
schemathesis.openapi.format(
    "cursor", letters.map(lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))
)
schemathesis.openapi.format("sapo-time", st.datetimes().map(lambda at: f"{at:%Y-%m-%d %H:%M}".rjust(16, "0")))


class Keys:
    """Sapo's bucket holds 40 calls of a key: another key before it is full, so that nobody waits."""

    def __init__(self):
        self.key, self.calls = os.environ["API_SAPO_KEY"], 0

    def next(self):
        self.calls += 1
        if self.calls > 35:
            headers = {"Authorization": f"Bearer {os.environ['API_OPERATOR_KEY']}"}
            body = json.dumps({"scopes": ["manage"]}).encode()
            request = urllib.request.Request(f"{BASE}/v1/tenants/sapo/keys", body, headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.key, self.calls = json.load(answer)["key"], 1
        return self.key


KEYS = Keys()
NUMBERS = itertools.count()


@schemathesis.hook
def filter_case(context, case):
    # A mistake in one event of an array is that event's alone: the request may well be accepted.
    one_of_several = case.operation.path == "/v1/events" and isinstance(case.body, list) and len(case.body) > 0
    return not (one_of_several and case.meta and case.meta.generation.mode.is_negative)


def as_client(case):
    """A client that is known asks, and a person with a key answers."""
    name = "TIKI" if case.operation.path.startswith("/sc/") else "CENTRY"
    key = os.environ[f"API_{name}_CLIENT"]
    _, user, secret = key.split("_")
    asked = case.query if case.method == "GET" else case.body
    if not isinstance(asked, dict):
        return
    asked["client_id"] = user
    if case.operation.path.endswith("/token"):
        asked["client_secret"] = secret
    else:
        asked |= {"redirect_uri": "https://receiver.test/back"} | ({"api_key": key} if "api_key" in asked else {})


@schemathesis.hook
def before_call(context, case, kwargs):
    if (case.headers or {}).get("X-Sapo-Access-Token") == os.environ["API_SAPO_KEY"]:
        case.headers["X-Sapo-Access-Token"] = KEYS.next()
    is_good = case.meta and case.meta.generation.mode.is_positive
    if is_good and "/oauth" in case.operation.path:
        as_client(case)
    # Sapo takes an address once for a topic.
    if is_good and case.operation.path.startswith("/admin/"):
        webhook = case.body.get("webhook") if isinstance(case.body, dict) else None
        if webhook and webhook.get("address"):
            webhook["address"] += f"?{next(NUMBERS)}"
    # Another tenant's name is refused with 403, whatever else is asked for: the key's own leaves more to see.
    if re.fullmatch("[a-z0-9][a-z0-9._-]{0,63}", str((case.query or {}).get("tenant"))):
        case.query["tenant"] = "v1"
    # A key's end must be in the future.
    end = case.body.get("expires_at") if isinstance(case.body, dict) else None
    if isinstance(end, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*", end):
        case.body["expires_at"] = "2999" + end[4:].replace("-02-29", "-02-28")
    # The webhook whose deliveries are there to be read stays.
    if case.method == "DELETE" and (case.path_parameters or {}).get("id") == os.environ["API_V1_WEBHOOK"]:
        case.path_parameters["id"] = "wh_" + 32 * "0"
