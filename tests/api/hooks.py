"""What a schema cannot say of the values that schemathesis makes up, and how Sapo's buckets are kept from overflowing."""

import base64
import json
import os
import urllib.request

import schemathesis
from hypothesis import strategies as st

BASE = os.environ["API_BASE"]
letters = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)

# Receivers that are not there, and one that is.
schemathesis.openapi.format(
    "uri",
    st.one_of(
        letters.map(lambda name: f"{BASE}/inspect/{name}"),
        st.tuples(st.sampled_from(["http", "https"]), letters, letters).map(lambda t: f"{t[0]}://{t[1]}.test/{t[2]}"),
    ),
)
# One that we might have given: to clients it is opaque.
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


@schemathesis.hook
def before_call(context, case, kwargs):
    if (case.headers or {}).get("X-Sapo-Access-Token") == os.environ["API_SAPO_KEY"]:
        case.headers["X-Sapo-Access-Token"] = KEYS.next()
