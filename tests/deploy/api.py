"""A client of the deployed HTTP API: each request goes through API Gateway's routes to a function's process."""

import base64
import dataclasses
import http.client
import json

from .report import Failed
from .stack import OPERATOR, Stack

TIMEOUT_SECONDS = 40


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    asked: str
    status: int
    headers: dict[str, str]
    body: bytes

    def expect(self, status: int) -> dict | list:
        """Its body, if its status is this one."""
        if self.status != status:
            raise Failed(f"{self.asked}: expected {status}, got {self.status} {self.body[:2000]!r}")
        return json.loads(self.body) if self.body else {}


class Api:
    """With one key, or none, in the headers that a dialect asks for."""

    def __init__(self, stack: Stack, headers: dict[str, str]) -> None:
        self.stack, self.headers, self.port = stack, headers, stack.cloud.port
        self.host = f"{stack.physical['Api']}.execute-api.localhost:{self.port}"

    def send(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """One request."""
        data = json.dumps(body, ensure_ascii=False).encode() if body is not None else None
        own = {"Host": self.host} | ({"Content-Type": "application/json"} if data else {}) | self.headers | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, data, own)
            answer = connection.getresponse()
            read = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(f"{method} {path}", answer.status, read, answer.read())
        finally:
            connection.close()

    def get(self, path: str, status: int = 200) -> dict | list:
        """What a path shows."""
        return self.send("GET", path).expect(status)

    def post(self, path: str, body: object, status: int) -> dict | list:
        """What a path answers to a body."""
        return self.send("POST", path, body).expect(status)


def anonymous(stack: Stack) -> Api:
    """Without a key."""
    return Api(stack, {})


def bearer(stack: Stack, key: str) -> Api:
    """With a key, as our own API asks for it."""
    return Api(stack, {"Authorization": f"Bearer {key}"})


def operator(stack: Stack) -> Api:
    """The operator, whose key's hash is a parameter of the stack."""
    return bearer(stack, OPERATOR)


def halves(key: str) -> str:
    """The key as HTTP Basic, by its halves, as ShipStream's and Ultimate Multisite's clients send it."""
    _, user, secret = key.split("_", 2)
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def tenant(stack: Stack, name: str) -> tuple[Api, str]:
    """A new tenant's API, and its key."""
    operators = operator(stack)
    operators.post("/v1/tenants", {"id": name, "name": name.title()}, 201)
    made = operators.post(f"/v1/tenants/{name}/keys", {"scopes": ["publish", "manage"]}, 201)
    return bearer(stack, made["key"]), made["key"]


def delivery(api: Api, webhook: str, event: str) -> dict | None:
    """The whole record of a webhook's delivery of an event, if there is one."""
    listed = api.get(f"/v1/webhooks/{webhook}/deliveries?limit=250")["data"]
    found = [one for one in listed if one["event"] == event]
    return api.get(f"/v1/deliveries/{found[0]['id']}") if found else None
