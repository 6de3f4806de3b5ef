"""The whole story through the deployed API: real functions, called and polled for by what stands in for AWS."""

import concurrent.futures
import datetime
import re

from . import api, dialects, expand
from .api import Api
from .dialects import ALL, CREDENTIALS
from .expand import Template
from .receiver import Receiver
from .report import Failed, Report, until
from .stack import Stack

# Requests at once while all routes are called: each takes a process of its own.
AT_ONCE = 4
# The schedule's minute, this server's own clock of 10 s, and a slow machine.
SCHEDULE_SECONDS = 120
# A retry comes 5 s after the first attempt.
RETRY_SECONDS = 30
# What a route answers to who has no key, where that is not 401: what anybody may read, and what tells in its body.
OPEN = {
    "/v1/health": 200, "/openapi.json": 200, "/openrpc.json": 200, "/.well-known/jwks.json": 200,
    "/api/jsonrpc": 200, "/api/jsonrpc/": 200, "/oauth/authorize": 400, "/sc/oauth2/auth": 400,
}


def filled(path: str) -> str:
    """A route's path with ids of things that are not there."""
    first = path.split("/")[1]
    number = {"admin": "7.json", "wp-json": "7", "conexion": f"{7:024x}.json"}.get(first, f"wh_{1:032x}")
    number = f"rpl_{1:032x}" if "/replays/" in path else f"dlv_{1:064x}" if "/deliveries/" in path else number
    return re.sub(r"\{\w+\}", "unknown", path.replace("{id}", number).replace("{topic}", "order.created"))


def routes_answer(report: Report, stack: Stack, source: Template) -> None:
    """Each route is served by a function: asked without a key, it asks for one."""
    client = api.anonymous(stack)
    named = expand.named_routes(source)
    asked = {key: key.split(" ", 1) for key in named if key != expand.DEFAULT}

    def ask(key: str) -> api.Answer:
        method, path = asked[key]
        return client.send(method, filled(path), None if method == "GET" else {})

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for key, answer in zip(asked, pool.map(ask, asked)):
            expected = OPEN.get(asked[key][1], 401)
            report.same((answer.status, answer.body[:300] if answer.status != expected else b""), (expected, b""),
                        f"{key} answers {expected} to who has no key ({named[key]})")
    answer = client.send("GET", "/nowhere")
    problem = answer.headers.get("content-type", "")
    report.same((answer.status, problem), (404, "application/problem+json"), f"any other path answers our own 404 ({named[expand.DEFAULT]})")


class Story:
    """One tenant's."""

    def __init__(self, report: Report, stack: Stack, receiver: Receiver) -> None:
        self.report, self.stack, self.receiver = report, stack, receiver
        self.api, self.key = api.tenant(stack, "acme")
        report.ok("a tenant and its key")
        self.webhook: dict = {}

    def tell(self) -> None:
        """All of it."""
        self.grant()
        made = {dialect.name: dialect.register(self.api, self.key, self.receiver) for dialect in ALL}
        self.report.ok(f"webhooks registered as clients of {', '.join(made)}")
        self.webhook = made["v1"]
        self.deliver(made)
        self.test()
        flaky = self.retry()
        self.ask_again(flaky)
        self.replay()
        self.delete()

    def grant(self) -> None:
        self.api.send("PUT", "/v1/credentials", {"id": "first", "secret": "first"}).expect(204)
        self.report.ok("credentials granted by PUT /v1/credentials")
        client = Api(self.stack, {"tiki-api": self.key})
        client.send("PUT", "/webhooks/credentials", CREDENTIALS).expect(200)
        self.report.ok("credentials granted anew by PUT /webhooks/credentials")

    def publish(self, event: dict) -> str:
        return self.api.post("/v1/events", event, 202)["id"]

    def deliver(self, made: dict[str, dict]) -> None:
        events = {event["topic"]: self.publish(event) for event in (dialects.ORDER, dialects.PRODUCT, dialects.PAYMENT)}
        for dialect in ALL:
            path, event = f"/{dialect.name}", events[dialect.event["topic"]]
            arrival = until(lambda: self.receiver.at(path), f"a delivery at {path}")[0]
            dialect.verify(arrival, made[dialect.name])
            self.report.same(arrival.event, event, f"{dialect.name}: {dialect.event['topic']} arrived, and is ours by its proof")
        record = self.settled(self.webhook["id"], events["order.created"])
        self.report.same((record["state"], record["attempt_count"]), ("delivered", 1), "its record shows one attempt")
        again = self.publish(dialects.ORDER | {"id": events["order.created"]})
        self.report.same(again, events["order.created"], "the same event published again is accepted as the same")

    def settled(self, webhook: str, event: str) -> dict:
        """A delivery's record, once nothing more is to be done."""

        def look() -> dict | None:
            found = api.delivery(self.api, webhook, event)
            return found if found and found["state"] != "pending" else None

        return until(look, f"the delivery of {event} to {webhook} is settled", RETRY_SECONDS)

    def test(self) -> None:
        told = self.api.post(f"/v1/webhooks/{self.webhook['id']}/test", {"topic": "order.created"}, 200)
        arrived = [one for one in self.receiver.at("/v1") if one.headers.get("webhook-test") == "true"]
        self.report.same((told["delivered"], len(arrived)), (True, 1), "a test event is sent at once, by TestingFunction")

    def retry(self) -> str:
        """A receiver that fails first is tried again, by the slow lane."""
        self.receiver.answers["/flaky"] = lambda before: (200 if before else 500, 0.0)
        webhook = self.api.post("/v1/webhooks", {"url": f"{self.receiver.url}/flaky", "topics": ["stock.updated"]}, 201)
        event = self.publish({"topic": "stock.updated", "payload": {"id": 1}})
        record = self.settled(webhook["id"], event)
        statuses = [attempt["reply"]["status"] for attempt in record["attempts"]]
        self.report.same((record["state"], statuses), ("delivered", [500, 200]), "a delivery that failed is tried again, and arrives")
        first, second = self.receiver.at("/flaky")
        pause = second.at - first.at
        self.report.check(4 < pause < RETRY_SECONDS, f"the retry came after {pause:.1f} s, as scheduled", pause)
        dialects.Webhook(webhook["secret"]).verify(second.body, second.headers)
        self.report.same(first.event, second.event, "and is signed anew, for the same event")
        return record["id"]

    def ask_again(self, delivery: str) -> None:
        self.api.post(f"/v1/deliveries/{delivery}/retry", {}, 202)
        until(lambda: len(self.receiver.at("/flaky")) == 3, "the delivery that was asked for again")
        self.report.ok("a delivery is made again when asked for")

    def replay(self) -> None:
        before = len(self.receiver.at("/v1"))
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        asked = {"webhook": self.webhook["id"], "status": "delivered", "since": since.isoformat(), "per_second": 1000}
        replay = self.api.post("/v1/replays", asked, 202)["id"]

        def finished() -> dict | None:
            shown = self.api.get(f"/v1/replays/{replay}")
            return shown if shown["state"] == "finished" else None

        shown = until(finished, "the replay is finished")
        arrived = until(lambda: self.receiver.at("/v1")[before:], "what is replayed")
        self.report.same((shown["total"], shown["done"]), (1, 1), "a replay takes up the one delivery that there was")
        dialects.own(arrived[0], self.webhook)
        self.report.ok("and it arrives, signed anew")

    def delete(self) -> None:
        webhook = self.webhook["id"]
        before = len(self.receiver.at("/v1"))
        self.api.send("DELETE", f"/v1/webhooks/{webhook}").expect(204)
        self.api.get(f"/v1/webhooks/{webhook}", 404)
        event = self.publish(dialects.ORDER)
        until(lambda: event in self.receiver.events("/centry"), "the event at those who are left")
        self.report.same(len(self.receiver.at("/v1")), before, "a webhook that is deleted gets nothing more, the others do")
        operators = api.operator(self.stack)
        operators.send("DELETE", "/v1/tenants/acme").expect(204)
        status = self.api.send("GET", "/v1/webhooks").status
        self.report.check(status in (401, 404), f"with the tenant its keys and webhooks go ({status})", status)


def looked_until(stack: Stack) -> dict | None:
    """How far the scheduler has looked: its own mark in the store."""
    mark = {"pk": {"S": "system"}, "sk": {"S": "swept_until"}}
    return stack.cloud.client("dynamodb").get_item(TableName=stack.physical["WebhooksTable"], Key=mark).get("Item")


def schedule_runs(report: Report, stack: Stack, before: dict | None) -> None:
    """The scheduler looks further than it had: nobody has called it since but the schedule."""
    until(lambda: looked_until(stack) != before, "the schedule runs SchedulerFunction", SCHEDULE_SECONDS)
    report.ok("EventBridge's schedule ran SchedulerFunction, which looked further than before")


def nothing_left(report: Report, stack: Stack) -> None:
    """No message is left behind: neither under way nor dead."""
    client = stack.cloud.client("sqs")
    # What is delayed stays: the event that was published again is looked at again after three minutes.
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def counts() -> dict[str, list[int]]:
        found = {}
        for queue in ("DeliveryQueue", "SlowDeliveryQueue", "DeliveryDeadLetterQueue"):
            told = client.get_queue_attributes(QueueUrl=stack.physical[queue], AttributeNames=names)["Attributes"]
            found[queue] = [int(told[name]) for name in names]
        return found

    until(lambda: not any(map(sum, counts().values())), lambda: f"the queues are empty: {counts()}")
    report.ok("nothing waits or is under way in either queue, and none is dead")


def deleted(report: Report, stack: Stack, template: Template) -> None:
    """The stack goes, but for what holds the data."""
    physical, cloudformation = stack.physical, stack.cloud.client("cloudformation")
    kept = [name for name, one in template["Resources"].items() if one.get("DeletionPolicy") == "Retain"]
    cloudformation.delete_stack(StackName=stack.name)
    identifier = stack.name

    def gone() -> bool:
        try:
            found = cloudformation.describe_stacks(StackName=identifier)["Stacks"][0]["StackStatus"]
        except cloudformation.exceptions.ClientError:
            return True
        if found == "DELETE_FAILED":
            raise Failed(f"{stack.name}: {found}")
        return found == "DELETE_COMPLETE"

    until(gone, "the stack is deleted", 60)
    report.ok("the stack is deleted")
    left = remaining(stack, physical)
    report.same(sorted(left), sorted(kept), f"what holds data stays, and nothing else: {', '.join(sorted(kept))}")


def remaining(stack: Stack, physical: dict[str, str]) -> list[str]:
    """Those of a deleted stack's tables, queues, functions, keys, log groups and so on that are still there."""
    client = stack.cloud.client
    keys = client("kms").list_keys()["Keys"]
    disabled = {one["KeyId"] for one in keys if not client("kms").describe_key(KeyId=one["KeyId"])["KeyMetadata"]["Enabled"]}
    there: set[str] = {one["KeyId"] for one in keys} - disabled
    there |= {one["AliasName"] for one in client("kms").list_aliases()["Aliases"]}
    there |= set(client("dynamodb").list_tables()["TableNames"])
    there |= set(client("sqs").list_queues().get("QueueUrls", []))
    there |= {one["FunctionName"] for one in client("lambda").list_functions()["Functions"]}
    there |= {one["UUID"] for one in client("lambda").list_event_source_mappings()["EventSourceMappings"]}
    there |= {one["logGroupName"] for one in client("logs").describe_log_groups()["logGroups"]}
    there |= {one["Name"] for one in client("events").list_rules()["Rules"]}
    there |= {one["ApiId"] for one in client("apigatewayv2").get_apis()["Items"]}
    there |= {one["RoleName"] for one in client("iam").list_roles()["Roles"]}
    there |= {one["AlarmName"] for one in client("cloudwatch").describe_alarms()["MetricAlarms"]}
    there |= {one["DashboardName"] for one in client("cloudwatch").list_dashboards()["DashboardEntries"]}
    return [name for name, identifier in physical.items() if identifier in there]
