"""Registering in each API at its own paths, with its own key header, and how each receiver knows that it is us."""

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable

from standardwebhooks.webhooks import Webhook

from .api import Answer, Api, halves
from .receiver import Arrival, Receiver
from .report import Failed

CREDENTIALS = {"id": "iyofim3eru0bkiwz", "secret": "BuqicB1kwcy4Tl9dikqPB7FkPwdDh8fd"}
BASIC = "Basic " + base64.b64encode(f"{CREDENTIALS['id']}:{CREDENTIALS['secret']}".encode()).decode()
SHIPSTREAM_SECRET = "2RUJ8NXLnLRrAj3"

ORDER = {"topic": "order.created", "payload": {"id": 450789469, "total": 409.5, "name": "Trần Thị Bưởi"}}
PRODUCT = {"topic": "product_request.rejected", "payload": {"state": "rejected", "product_id": "2162835"}}
PAYMENT = {"topic": "payment_received", "payload": {"payment_id": 1, "payment_total": "$50.00"}}


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How one API's client registers, and what its receiver gets of an event."""

    name: str
    event: dict
    method: str
    path: str
    header: Callable[[str], dict[str, str]]
    registration: Callable[[str], object]
    status: int
    verify: Callable[[Arrival, dict], None]

    def register(self, api: Api, key: str, receiver: Receiver) -> dict:
        """Registers a webhook with a path of its own; what the API answers."""
        client = Api(api.stack, self.header(key))
        answer: Answer = client.send(self.method, self.path, self.registration(f"{receiver.url}/{self.name}"))
        made = answer.expect(self.status)
        if made.get("error"):
            raise Failed(f"{answer.asked}: {made}")
        return made


def expect(found: object, expected: object, what: str) -> None:
    """Fails if something is not as it must be."""
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


def hmac_sha256(secret: str, body: bytes) -> str:
    """As Sapo's and ShipStream's receivers compute it."""
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def own(arrival: Arrival, made: dict) -> None:
    # The specification's own library raises what it does not like.
    Webhook(made["secret"]).verify(arrival.body, arrival.headers)
    expect(json.loads(arrival.body)["data"], ORDER["payload"], "v1's data")


def tiki(arrival: Arrival, _: dict) -> None:
    expect(arrival.headers.get("authorization"), BASIC, "Tiki's authorization")
    body = json.loads(arrival.body)
    expect((body["event"], body["payload"]), ("product:request:rejected", PRODUCT["payload"]), "Tiki's message")


def sapo(arrival: Arrival, _: dict) -> None:
    signature = hmac_sha256(CREDENTIALS["secret"], arrival.body)
    expect(arrival.headers.get("x-sapo-hmac-sha256"), signature, "Sapo's signature")
    expect(arrival.headers.get("x-sapo-topic"), "orders/create", "Sapo's topic")
    expect(json.loads(arrival.body), ORDER["payload"], "Sapo's message")


def shipstream(arrival: Arrival, _: dict) -> None:
    signature = hmac_sha256(SHIPSTREAM_SECRET, arrival.body)
    expect(arrival.headers.get("x-plugin-hmac-sha256"), signature, "ShipStream's signature")
    body = json.loads(arrival.body)
    expect((body["topic"], body["message"]["webhook_increment_id"]), ("order:created", 1), "ShipStream's message")


def centry(arrival: Arrival, _: dict) -> None:
    message = {"topic": "on_order_save", "order_id": ORDER["payload"]["id"]}
    expect(json.loads(arrival.body), message, "Centry's message")


def ultimate(arrival: Arrival, _: dict) -> None:
    expect(json.loads(arrival.body), PAYMENT["payload"], "Ultimate Multisite's message")


def call(url: str) -> dict:
    webhook = {"url": url, "topics": "order:created", "is_active": 1, "secret_key": SHIPSTREAM_SECRET}
    return {"jsonrpc": 2.0, "id": 1234, "method": "call", "params": [None, "webhook.create", [webhook]]}


ALL = [
    Dialect(
        "v1", ORDER, "POST", "/v1/webhooks", lambda key: {"Authorization": f"Bearer {key}"},
        lambda url: {"url": url, "topics": ["order.created"]}, 201, own,
    ),
    Dialect(
        "tiki", PRODUCT, "POST", "/integration/v1/webhooks", lambda key: {"tiki-api": key},
        lambda url: {"uri": url, "event": "product:request:rejected"}, 200, tiki,
    ),
    Dialect(
        "sapo", ORDER, "POST", "/admin/webhooks.json", lambda key: {"X-Sapo-Access-Token": key},
        lambda url: {"webhook": {"topic": "orders/create", "address": url}}, 201, sapo,
    ),
    Dialect(
        "shipstream", ORDER, "POST", "/api/jsonrpc", lambda key: {"Authorization": halves(key)}, call, 200, shipstream,
    ),
    Dialect(
        "centry", ORDER, "POST", "/conexion/v1/webhooks.json", lambda key: {"Authorization": f"Bearer {key}"},
        lambda url: {"callback_url": url, "on_order_save": True}, 200, centry,
    ),
    Dialect(
        "ultimate-multisite", PAYMENT, "POST", "/wp-json/wu/v2/webhook", lambda key: {"Authorization": halves(key)},
        lambda url: {"name": "My CRM", "webhook_url": url, "event": "payment_received", "integration": "manual"}, 200,
        ultimate,
    ),
]
