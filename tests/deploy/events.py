"""The event files that developers send by hand: there is one for each trigger and each group of routes, each names a route that is
there, and each function takes its own."""

import json
import pathlib

from . import expand
from .expand import Template
from .report import Report
from .stack import Stack

# How each API's routes begin; its paths are its own.
GROUPS = {
    "our own webhooks": "/v1/webhooks", "events": "/v1/events", "tenants": "/v1/tenants", "credentials": "/v1/credentials",
    "replays": "/v1/replays", "Tiki": "/integration/", "Tiki's OAuth2": "/sc/oauth2/", "Sapo": "/admin/",
    "Centry": "/conexion/", "Centry's OAuth2": "/oauth/", "ShipStream": "/api/jsonrpc", "Ultimate Multisite": "/wp-json/",
    "Ultimate Multisite's form": "/wp-admin/", "what no route matches": expand.DEFAULT,
}


def check(report: Report, stack: Stack, source: Template, folder: pathlib.Path) -> None:
    """Sends each of them through Lambda's API."""
    client, routes = stack.cloud.client("lambda"), expand.named_routes(source)
    events = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    keys = [event["routeKey"].split(" ")[-1] for event in events.values() if "routeKey" in event]
    missing = [group for group, start in GROUPS.items() if not any(key.startswith(start) for key in keys)]
    report.same(missing, [], f"{len(events)} event files, one at least for each of {len(GROUPS)} groups of routes")
    for name, event in events.items():
        function = routes.get(event["routeKey"]) if "routeKey" in event else TRIGGERED[trigger(event)]
        report.check(bool(function), f"{name}.json: {event.get('routeKey', trigger(event))} is in template.yaml", event.get("routeKey"))
        answer = client.invoke(FunctionName=stack.physical[function], Payload=json.dumps(event).encode())
        told = json.loads(answer["Payload"].read() or b"null")
        report.check("FunctionError" not in answer and fits(event, told), f"{name}.json: {function} takes it", told)


TRIGGERED = {"SQS": "DeliveryFunction", "Schedule": "SchedulerFunction"}


def trigger(event: dict) -> str:
    """What sends such an event, in the template's words."""
    return "SQS" if "Records" in event else "Schedule" if event.get("source") == "aws.events" else "HttpApi"


def fits(event: dict, told: object) -> bool:
    """Whether an answer is one to the event: no key of these files is good here, but each is asked for in its API's own way."""
    if trigger(event) == "SQS":
        return told == {"batchItemFailures": []}
    if trigger(event) == "Schedule":
        return True
    expected = {expand.DEFAULT: [404], "GET /v1/health": [200], "POST /api/jsonrpc": [200]}
    return told.get("statusCode") in expected.get(event["routeKey"], [400, 401])
