"""Faults in a deployment: processes killed, receivers that outlive the function, AWS that throttles, poison, an update under
load. Counted each time: what got lost (nothing may) and what came twice (no more than what was under way)."""

import contextlib
import copy
import os
import signal
import threading
from collections.abc import Iterator

from . import api
from .receiver import Receiver
from .report import Failed, Report, until
from .stack import Stack
from .time_passes import TimePasses

# SQS hands out ten at once to this function.
BATCH = 10
# In the place of 60 s and 360 s: see `hurried`.
TIMEOUT, VISIBILITY = 5, 6
MAX_RECEIVES = 5
ARRIVE_SECONDS = 90
THROTTLED_EVENTS, THROTTLED_SHARE = 40, 0.25
POISON = "not a message of ours"
# A topic for each, so that what is published for one is nobody else's.
TOPICS = {
    "poison": "order.created", "killed": "order.updated", "outlived": "order.paid", "beside": "order.shipped",
    "stranded": "order.fulfilled", "throttled": "order.cancelled", "updated": "customer.created",
}


class Faults:
    """One stack's, with a tenant of its own and a webhook for each fault."""

    def __init__(self, report: Report, stack: Stack, receiver: Receiver, schedule: bytes) -> None:
        self.report, self.stack, self.receiver, self.schedule = report, stack, receiver, schedule
        self.api, _ = api.tenant(stack, "faults")
        self.time = TimePasses(stack)
        self.sqs, self.functions = stack.cloud.client("sqs"), stack.cloud.client("lambda")
        self.queues = {name: stack.physical[name] for name in ("DeliveryQueue", "SlowDeliveryQueue", "DeliveryDeadLetterQueue")}

    def webhook(self, name: str) -> str:
        """Registers one that hears of a topic of its own."""
        body = {"url": f"{self.receiver.url}/{name}", "topics": [TOPICS[name]]}
        return self.api.post("/v1/webhooks", body, 201)["id"]

    def publish(self, name: str, count: int) -> set[str]:
        """Publishes so many events by one request."""
        events = [{"id": f"{name}-{n}", "topic": TOPICS[name], "payload": {"n": n}} for n in range(count)]
        self.api.post("/v1/events", events, 202)
        return {event["id"] for event in events}

    def arrived(self, name: str, ids: set[str], seconds: float = ARRIVE_SECONDS) -> None:
        """Waits until each event has come."""

        def missing() -> set[str]:
            return ids - set(self.receiver.events(f"/{name}"))

        until(lambda: not missing(), lambda: f"{name}: of {len(ids)} events these do not arrive: {sorted(missing())}", seconds)

    def count(self, name: str, ids: set[str], most: int, why: str) -> None:
        """Says what was lost and what came twice."""
        events = self.receiver.events(f"/{name}")
        lost, twice = len(ids - set(events)), sum(events.values()) - len(events)
        self.report.check(
            lost == 0 and twice <= most,
            f"{name}: {len(ids)} events, {lost} lost, {twice} came once more, of {most} that may ({why})", events,
        )

    def settled(self, name: str, webhook: str, count: int) -> None:
        """Waits until so many deliveries are on record as delivered."""
        path = f"/v1/webhooks/{webhook}/deliveries?limit=250&state=delivered"
        until(lambda: len(self.api.get(path)["data"]) == count, f"{name}: {count} deliveries are on record", ARRIVE_SECONDS)
        self.report.ok(f"{name}: {count} deliveries are on record as delivered")

    @contextlib.contextmanager
    def unpolled(self) -> Iterator[None]:
        """Nothing is polled for meanwhile, so that what is sent comes in one batch."""
        mapping = self.stack.physical["DeliveryFunctionQueued"]
        self.functions.update_event_source_mapping(UUID=mapping, Enabled=False)
        until(lambda: self.mapping()["State"] == "Disabled", "the queue is not polled")
        yield
        self.functions.update_event_source_mapping(UUID=mapping, Enabled=True)

    def mapping(self) -> dict:
        return self.functions.get_event_source_mapping(UUID=self.stack.physical["DeliveryFunctionQueued"])

    def waiting(self) -> int:
        """Messages of both queues, under way or not; not those that are delayed."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = [
            self.sqs.get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=names)["Attributes"]
            for queue in ("DeliveryQueue", "SlowDeliveryQueue")
        ]
        return sum(int(one[name]) for one in told for name in names)

    # ---- The faults ----

    def poison(self) -> None:
        """One message of a batch is not ours: the others go out, and it is handed out again until it is dead."""
        webhook = self.webhook("poison")
        with self.unpolled():
            ids = self.publish("poison", BATCH - 1)
            self.sqs.send_message(QueueUrl=self.queues["DeliveryQueue"], MessageBody=POISON)
        told = until(lambda: self.mapping().get("LastProcessingResult", "").removeprefix("No records processed"), "the batch is done")
        self.report.check("1 partial" in told, f"poison: its batch told Lambda of one failure ({told})", told)
        self.arrived("poison", ids)
        self.count("poison", ids, 0, "the others of its batch are deleted")
        self.settled("poison", webhook, len(ids))

    def dead(self) -> None:
        """Told last: it takes as long as all receives together."""
        dead, url = [], self.queues["DeliveryDeadLetterQueue"]

        def look() -> bool:
            found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]).get("Messages", [])
            dead.extend(found)
            return bool(dead)

        until(look, "the poison is dead", MAX_RECEIVES * VISIBILITY * 3)
        look()
        bodies = [one["Body"] for one in dead]
        self.report.same(bodies, [POISON], f"poison: after {MAX_RECEIVES} receives it is the one dead letter; nothing of ours is")

    def killed(self) -> None:
        """The process is killed while a batch's receivers think."""
        webhook = self.webhook("killed")
        self.receiver.answers["/killed"] = lambda before: (200, 2.0 if before < BATCH else 0.0)
        ids = self.publish("killed", BATCH)
        until(lambda: len(self.receiver.at("/killed")) >= BATCH // 2, "killed: half of the batch is under way")
        pids = self.stack.cloud.processes(self.stack.physical["DeliveryFunction"])
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        came = len(self.receiver.at("/killed"))
        self.report.check(bool(pids), f"killed: {len(pids)} processes of DeliveryFunction, with {came} deliveries under way", pids)
        self.arrived("killed", ids)
        self.settled("killed", webhook, len(ids))
        self.count("killed", ids, BATCH, "the batch that was under way")

    def outlived(self) -> None:
        """A receiver takes longer than the function may: twice, so that what is claimed is left behind."""
        slow, quick = self.webhook("outlived"), self.webhook("beside")
        self.receiver.answers["/outlived"] = lambda before: (200, TIMEOUT + 3.0 if before < 2 else 0.0)
        with self.unpolled():
            ids, others = self.publish("outlived", 1), self.publish("beside", 3)
        self.arrived("beside", others)
        until(lambda: len(self.receiver.at("/outlived")) == 2, "outlived: the second attempt, by a claim", ARRIVE_SECONDS)
        until(lambda: self.waiting() == 0, "outlived: the message is spent", ARRIVE_SECONDS)
        (event,) = ids
        left = api.delivery(self.api, slow, event)
        self.report.same(left and left["state"], "pending", "outlived: stranded: its message is spent, and its attempt is claimed")
        self.report.check(self.time.for_attempts() > 0, "outlived: its claimer's 90 s pass")
        self.time.sweep(self.schedule)
        until(lambda: len(self.receiver.at("/outlived")) == 3, "outlived: the scheduler takes it up", ARRIVE_SECONDS)
        self.settled("outlived", slow, 1)
        self.count("outlived", ids, 2, "the two attempts that the function did not outlive")
        self.settled("beside", quick, len(others))
        self.count("beside", others, 0, "of the same batch, but on record before it ended")

    def stranded(self) -> None:
        """Messages get lost with the first attempts in them: accepted events that nothing is recorded of."""
        webhook = self.webhook("stranded")
        with self.unpolled():
            ids = self.publish("stranded", 5)
            self.sqs.purge_queue(QueueUrl=self.queues["DeliveryQueue"])
        self.report.same(self.time.for_events(ids), len(ids), "stranded: the messages of 5 events are purged, and minutes pass")
        self.time.sweep(self.schedule)
        self.arrived("stranded", ids)
        self.settled("stranded", webhook, len(ids))
        self.count("stranded", ids, 0, "the scheduler queues each once")

    def throttled(self) -> None:
        """DynamoDB and SQS throttle a share of all calls."""
        webhook = self.webhook("throttled")
        share = {"probability": THROTTLED_SHARE}
        self.stack.cloud.faults("POST", "rules", [
            {"service": "dynamodb", "error": {"code": "ProvisionedThroughputExceededException"}} | share,
            {"service": "sqs", "error": {"code": "RequestThrottled", "status": 403}} | share,
        ])
        ids, refused = {f"throttled-{n}" for n in range(THROTTLED_EVENTS)}, 0
        try:
            for event in sorted(ids):
                refused += self.insist("throttled", event)
            until(lambda: len(set(self.receiver.events("/throttled"))) >= len(ids) // 2, "throttled: half arrive", ARRIVE_SECONDS)
            fired = self.stack.cloud.faults("GET", "fired?limit=10000")
        finally:
            self.stack.cloud.faults("POST", "rules", [])
        by = {name: sum(one["service"] == name for one in fired) for name in ("dynamodb", "sqs")}
        self.report.check(all(by.values()), f"throttled: {by['dynamodb']} calls of DynamoDB and {by['sqs']} of SQS; {refused} publishes refused", by)
        self.heal("throttled", ids)
        self.settled("throttled", webhook, len(ids))
        self.count("throttled", ids, len(fired), "each throttled call may leave one delivery off the record")

    def insist(self, name: str, event: str) -> int:
        """Publishes as a publisher does: until it is accepted, with the same id; how often it was refused."""
        for refused in range(30):
            body = {"id": event, "topic": TOPICS[name], "payload": {}}
            answer = self.api.send("POST", "/v1/events", body)
            if answer.status == 202:
                return refused
            if answer.status not in (429, 500, 502, 503, 504):
                raise Failed(f"{name}: {answer}")
        raise Failed(f"{name}: {event} is not accepted")

    def heal(self, name: str, ids: set[str]) -> None:
        """What does not arrive by itself the scheduler takes up, as minutes later it would."""
        with contextlib.suppress(Failed):
            self.arrived(name, ids, 3 * VISIBILITY)
        missing = ids - set(self.receiver.events(f"/{name}"))
        if missing:
            first, due = self.time.for_events(missing), self.time.for_attempts()
            self.time.sweep(self.schedule)
            self.report.ok(f"{name}: {len(missing)} stranded ({first} first attempts, {due} pending): the scheduler takes them up")
        self.arrived(name, ids)

    def updated(self) -> None:
        """The stack is updated while events come in: each function gets new processes."""
        self.webhook("updated")
        load = Load(self)
        before = set(self.stack.cloud.processes(self.stack.physical["DeliveryFunction"]))
        with load:
            load.wait(10)
            self.stack.put(self.template_with_change())
            load.wait(10)
        ids = load.ids
        self.report.ok(f"updated: {len(ids)} events accepted meanwhile, {load.refused} publishes refused")
        self.heal("updated", ids)
        after = set(self.stack.cloud.processes(self.stack.physical["DeliveryFunction"]))
        self.report.check(bool(after - before), "updated: DeliveryFunction has new processes", (before, after))
        self.count("updated", ids, BATCH * max(1, len(before)), "what the old processes had under way")

    def template_with_change(self) -> dict:
        """The stack's template with another memory for the delivery function, and another level of logs for all."""
        template = copy.deepcopy(self.stack.template)
        template["Resources"]["DeliveryFunction"]["Properties"]["MemorySize"] *= 2
        self.stack.parameters["LogLevel"] = "info,postrider=debug"
        return template

    def all(self) -> None:
        """Each of them."""
        self.poison()
        self.killed()
        self.outlived()
        self.stranded()
        self.throttled()
        self.updated()
        self.dead()


class Load:
    """Events published one after the other by a thread, until it is left."""

    def __init__(self, faults: Faults) -> None:
        self.faults, self.ids, self.refused = faults, set[str](), 0
        self.stop, self.error = threading.Event(), None
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                event = f"updated-{len(self.ids)}"
                self.refused += self.faults.insist("updated", event)
                self.ids.add(event)
        except Exception as error:  # told by who waits
            self.error = error

    def wait(self, more: int) -> None:
        """Waits until so many more are accepted."""
        wanted = len(self.ids) + more
        until(lambda: self.error or len(self.ids) >= wanted, f"{more} more events are accepted", ARRIVE_SECONDS)
        if self.error:
            raise self.error

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
