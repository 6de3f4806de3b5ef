"""Minutes that pass for what the store holds: the product waits 90 s for a lease and 15 min for a first attempt, and this
test does not. The records are made older instead, as they will be."""

import time

from .report import Failed
from .stack import Stack

MINUTES = 20
SHARDS = 8


class TimePasses:
    """For one stack's tables."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.db = stack.cloud.client("dynamodb")

    def scan(self, table: str) -> list[dict]:
        """All of a table."""
        pages = self.db.get_paginator("scan").paginate(TableName=self.stack.physical[table])
        return [item for page in pages for item in page["Items"]]

    def for_attempts(self) -> int:
        """Whoever claimed an attempt has had his time, and what is pending is due; of how many that is so."""
        table, now = self.stack.physical["DeliveriesTable"], time.time()
        pending = [item for item in self.scan("DeliveriesTable") if item.get("state", {}).get("S") == "pending"]
        for item in pending:
            change, values = "SET due_at = :due", {":due": {"N": str(int((now - 1) * 1e3))}}
            if "leased_until" in item:
                change, values = f"{change}, leased_until = :lease", values | {":lease": {"N": str(int((now - 1) * 1e6))}}
            self.db.update_item(
                TableName=table, Key={"pk": item["pk"], "sk": item["sk"]}, UpdateExpression=change,
                ExpressionAttributeValues=values,
            )
        return len(pending)

    def for_events(self, ids: set[str]) -> int:
        """Events that no record shows an attempt of were accepted long ago; how many those are. Their number begins with the
        time of their acceptance, and names their deliveries: of one that has a record it must not change."""
        table, made = self.stack.physical["EventsTable"], 0
        recorded = {item["sk"]["S"] for item in self.scan("DeliveriesTable")}
        for item in self.scan("EventsTable"):
            if item["event_id"]["S"] not in ids or item["uid"]["S"] in recorded:
                continue
            uid = bytes.fromhex(item["uid"]["S"])
            millis = int.from_bytes(uid[:6]) - MINUTES * 60_000
            item["uid"] = {"S": (millis.to_bytes(6) + uid[6:]).hex()}
            item["accepted_at"] = {"N": str(int(item["accepted_at"]["N"]) - MINUTES * 60_000_000)}
            item["bucket"] = {"S": f"{millis // 60_000}#{uid[15] % SHARDS}"}
            self.db.put_item(TableName=table, Item=item)
            made += 1
        if made:
            # Where a sweep has looked, none looks again.
            self.db.delete_item(
                TableName=self.stack.physical["WebhooksTable"], Key={"pk": {"S": "system"}, "sk": {"S": "swept_until"}}
            )
        return made

    def sweep(self, event: bytes) -> None:
        """The scheduler function makes a round, called through Lambda's API with what the schedule sends."""
        client = self.stack.cloud.client("lambda")
        answer = client.invoke(FunctionName=self.stack.physical["SchedulerFunction"], Payload=event)
        if "FunctionError" in answer:
            raise Failed(f"the scheduler: {answer['Payload'].read()!r}")
