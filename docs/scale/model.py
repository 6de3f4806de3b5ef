#!/usr/bin/env python3
"""What the AWS engine uses of each resource at so many events a day, and which limit is met first (docs/scale.md).

Use: model.py            prints the tables
     model.py --write    writes them, and the figure, into docs/scale.md and docs/scale/use.svg
     model.py --check    fails where those are not what the model says; `make lint` runs it
Any assumption can be set: model.py --fan-out 10 --failures 0.2 --events 5e7
"""

import argparse
import dataclasses
import functools
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE, FIGURE = HERE.parent / "scale.md", HERE / "use.svg"
DAY = 86_400
LEVELS = [10**n for n in range(3, 10)]


@dataclasses.dataclass(frozen=True)
class Load:
    """What is assumed. Each is a flag; docs/scale.md says where it comes from."""

    fan_out: float = 2.0  # webhooks of an event
    peak: float = 3.0  # the busiest minutes, times the average
    failures: float = 0.02  # share of first attempts that fail
    retries: float = 2.0  # further attempts of those
    latency: float = 0.2  # seconds of an exchange, on average
    slowest_of_ten: float = 2.5  # a batch lasts as long as its slowest, so many times the average
    slow_latency: float = 5.0  # seconds of a batch in the slow lane
    per_request: float = 1.0  # events of one publish
    payload: int = 1024  # bytes
    publish_time: float = 0.03  # seconds of an invocation that publishes
    largest_tenant: float = 0.1  # its share of all events
    largest_webhook: float = 0.1  # its share of all events
    topics: int = 5  # busy topics of that tenant
    days: float = 30  # since the stack took its first event; nothing is kept for longer than 30
    call: float = 0.008  # seconds of a DynamoDB call
    send: float = 0.015  # seconds of an SQS call
    cpu: float = 0.0004  # seconds of a whole processor for a call
    cpu_item: float = 0.00001  # and for an item that is read in a page
    hint: int = 250  # bytes of a hint in memory


@dataclasses.dataclass(frozen=True)
class Setting:
    """template.yaml's defaults."""

    fast: int = 50
    slow: int = 20
    requests: int = 2_000
    scheduler_memory: int = 256


# As high as they go, or help: the sweep is one thread, which a whole processor serves.
RAISED = Setting(fast=1_000, slow=1_000, requests=10_000, scheduler_memory=3_008)


# Of AWS, with the page that says so; `docs/scale.md` lists them.
PARTITION_WRITES, PARTITION_READS, TABLE_WRITES = 1_000, 3_000, 40_000
PARTITION_BYTES = 10 * 2**30
LAMBDA_CONCURRENCY, MAPPING_CONCURRENCY, API_REQUESTS = 1_000, 1_000, 10_000
IN_FLIGHT = 120_000
WHOLE_PROCESSOR = 1_769  # MB of memory
# Of ours.
BATCH, MINUTE_SHARDS, DUE_SHARDS, KEPT_DAYS = 10, 8, 16, 30
SWEEP_AT_ONCE, STEP, SEND_AT_ONCE, READ_AT_ONCE = 32, 1_000, 8, 100


@dataclasses.dataclass(frozen=True)
class Use:
    """How much of a resource is used, and how much there is."""

    name: str
    kind: str  # setting: a parameter of the template; quota: AWS raises it; design: ours to change
    use: float
    limit: float
    unit: str

    @property
    def share(self):
        return self.use / self.limit


def units(size):
    return math.ceil(size / 1024)


@functools.lru_cache(maxsize=None)
def shards_on_one(shards, partitions, minutes=0.95):
    """How many of a minute's shards lie on one partition of the index, at worst, in so many of all minutes."""
    for most in range(1, shards + 1):
        # By partition: how likely it is that so many are laid by then, with no more than `most` on any.
        laid = [1.0] + [0.0] * shards
        for partition in range(partitions):
            chance = 1 / (partitions - partition)
            after = [0.0] * (shards + 1)
            for have, likely in enumerate(laid):
                left = shards - have
                for more in range(min(most, left) + 1):
                    here = math.comb(left, more) * chance**more * (1 - chance) ** (left - more)
                    after[have + more] += likely * here
            laid = after
        if laid[shards] >= minutes:
            return most
    return shards


def uses(load, setting, events_a_day):
    """Every resource at the peak."""
    average = events_a_day / DAY
    events = average * load.peak
    first = events * load.fan_out
    again = first * load.failures * load.retries
    attempts = first + again

    event_units = units(load.payload + 350 + 16 * load.fan_out)
    index_bytes = 230 + 16 * load.fan_out
    by_minute_bytes = average * DAY * min(load.days, KEPT_DAYS) * index_bytes
    partitions = max(4, math.ceil(2 * events / PARTITION_WRITES), math.ceil(by_minute_bytes / PARTITION_BYTES))
    together = shards_on_one(MINUTE_SHARDS, min(partitions, 1_000))

    # A failed attempt's record has headers: two units. A claim moves it in `due`, which is a deletion and a put.
    failed_first, retried = first * load.failures, again
    delivery_writes = first + failed_first * 1 + retried * 4
    due_writes = failed_first * 1 + retried * 4
    open_writes = failed_first * 1 + retried * 1

    fast = first * load.latency * load.slowest_of_ten / BATCH
    slow = again * load.slow_latency / BATCH
    requests = events / load.per_request
    publishing = requests * load.publish_time

    # Who gets a topic is read once a second by each process that is asked; a target every two seconds.
    of_tenant = events * load.largest_tenant
    lookups = min(of_tenant, max(publishing, 1) * load.topics)
    tenant_reads = 4 * lookups + 1.5 * min(of_tenant * load.fan_out, max(fast, 1) * load.topics / 2)

    processor = min(setting.scheduler_memory / WHOLE_PROCESSOR, 1)
    due = again / 2  # about half of the standard schedule's retries are later than a quarter of an hour
    step = max(
        load.call + STEP / SWEEP_AT_ONCE * load.call + STEP / BATCH / SEND_AT_ONCE * load.send,
        STEP * 1.1 * load.cpu / processor,
    )
    minute = first * 60
    looked_through = max(minute / READ_AT_ONCE * load.call, minute * 2 * load.cpu_item / processor)
    sweep = due * 60 / STEP * step + looked_through

    return [
        Use("requests of a route", "setting", requests, setting.requests, "/s"),
        Use("fast lane, functions at once", "setting", fast, setting.fast, ""),
        Use("slow lane, functions at once", "setting", slow, setting.slow, ""),
        Use("API Gateway, requests of an account", "quota", requests, API_REQUESTS, "/s"),
        Use("Lambda, functions of an account at once", "quota", fast + slow + publishing + 1, LAMBDA_CONCURRENCY, ""),
        Use("one queue's mapping, functions at once", "quota", fast, MAPPING_CONCURRENCY, ""),
        Use("SQS, messages under way in a queue", "quota", max(fast, slow) * BATCH, IN_FLIGHT, ""),
        Use("events table, writes", "quota", events * event_units, TABLE_WRITES, "/s"),
        Use("deliveries table, writes", "quota", delivery_writes, TABLE_WRITES, "/s"),
        Use(
            "`by_minute`, hottest partition, writes",
            "design",
            events / MINUTE_SHARDS * together,
            PARTITION_WRITES,
            "/s",
        ),
        Use("`due`, hottest shard, writes", "design", due_writes / DUE_SHARDS, PARTITION_WRITES, "/s"),
        Use("`undelivered`, hottest shard, writes", "design", open_writes / DUE_SHARDS, PARTITION_WRITES, "/s"),
        Use("largest webhook, writes of records", "design", events * load.largest_webhook, PARTITION_WRITES, "/s"),
        Use("largest tenant, reads of webhooks", "design", tenant_reads, PARTITION_READS, "/s"),
        Use("a sweep, of its minute", "design", sweep, 60, "s"),
        Use(
            "a sweep's memory, of what is there",
            "design",
            minute * load.hint / 2**20 + 30,
            setting.scheduler_memory,
            "MiB",
        ),
    ]


def reach(load, setting, name):
    """Events a day at which a resource is used up."""
    low, high = 1.0, 1e13
    for _ in range(80):
        middle = math.sqrt(low * high)
        share = next(use.share for use in uses(load, setting, middle) if use.name == name)
        low, high = (middle, high) if share < 1 else (low, middle)
    return low


# ---- As text ----


def number(value):
    if value >= 999_500_000:
        return f"{value / 1e9:.3g} billion"
    if value >= 999_500:
        return f"{value / 1e6:.3g} million"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value >= 0.01 else "< 0.01"


def table_of_levels(load, setting):
    rows = [
        "| events a day | average /s | peak /s | attempts /s | fast lane, at once | deliveries, writes /s | hottest of `by_minute` "
        "| largest webhook | sweep | nearest to its limit, as deployed | with the settings raised |",
        "| ---: " * 9 + "| --- | --- |",
    ]
    for level in LEVELS:
        all_of_it = {use.name: use for use in uses(load, setting, level)}
        average = level / DAY
        first = average * load.peak * load.fan_out
        attempts = first * (1 + load.failures * load.retries)
        picked = [
            "fast lane, functions at once",
            "deliveries table, writes",
            "`by_minute`, hottest partition, writes",
            "largest webhook, writes of records",
            "a sweep, of its minute",
        ]
        cells = [f"{number(all_of_it[name].use)} ({all_of_it[name].share:.0%})" for name in picked]
        worst = max(all_of_it.values(), key=lambda use: use.share)
        beyond = max((use for use in uses(load, RAISED, level) if use.kind != "setting"), key=lambda use: use.share)
        told = [f"{use.name}, {use.share:.0%}" for use in (worst, beyond)]
        rows.append(
            "| "
            + " | ".join([number(level), number(average), number(average * load.peak), number(attempts), *cells, *told])
            + " |"
        )
    return "\n".join(rows)


def table_of_limits(load, setting):
    rows = [
        "| used up at, events a day | with the settings raised | what | limit, as deployed | kind |",
        "| ---: | ---: | --- | ---: | --- |",
    ]
    found = [(reach(load, setting, use.name), reach(load, RAISED, use.name), use) for use in uses(load, setting, 1)]
    for at, raised, use in sorted(found, key=lambda one: one[0]):
        limit = f"{number(use.limit)}{'' if use.unit.startswith('/') else ' '}{use.unit}".strip()
        rows.append(f"| {number(at)} | {number(raised)} | {use.name} | {limit} | {use.kind} |")
    return "\n".join(rows)


# ---- As a figure ----

COLOURS = {"setting": "#3b7dd8", "quota": "#d8843b", "design": "#3ba55d"}


def figure(load, setting):
    """Share of each limit over events a day, both axes by powers of ten."""
    wide, high, left, top, right = 900, 520, 60, 40, 300
    columns = [10 ** (3 + 6 * at / 60) for at in range(61)]

    def x(events):
        return left + (math.log10(events) - 3) / 6 * (wide - left - right)

    def y(share):
        return top + (1 - math.log10(max(share, 1e-4))) / 5 * (high - top - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="14">Share of each limit at the peak, by events a day, with the settings raised</text>',
    ]
    for power in range(3, 10):
        at = x(10**power)
        parts.append(f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{high - 40}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{high - 24}" text-anchor="middle">{number(10**power)}</text>')
    for power in range(-4, 2):
        at = y(10.0**power)
        line = "#c00" if power == 0 else "#ddd"
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{wide - right}" y2="{at:.1f}" stroke="{line}"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0 ** (power + 2):g} %</text>')
    by_level = [uses(load, setting, events) for events in columns]
    ends = []
    for place, use in enumerate(by_level[0]):
        shares = [row[place].share for row in by_level]
        points = " ".join(
            f"{x(events):.1f},{y(min(share, 10)):.1f}" for events, share in zip(columns, shares) if 1e-4 <= share <= 10
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[use.kind]}" stroke-width="1.5"/>')
        ends.append((shares[-1], use))
    last = top
    for share, use in sorted(ends, key=lambda one: -one[0]):
        last = max(y(min(share, 10)), last + 14)
        text = f"{use.name.replace('`', '')} ({share:.0%})"
        parts.append(f'<text x="{wide - right + 8}" y="{last:.1f}" fill="{COLOURS[use.kind]}">{text}</text>')
    for place, (kind, told) in enumerate(
        [("setting", "a parameter of the template"), ("quota", "a quota that AWS raises"), ("design", "ours")]
    ):
        parts.append(f'<text x="{left + 230 * place}" y="{high - 6}" fill="{COLOURS[kind]}">{kind}: {told}</text>')
    return "\n".join(parts) + "\n</svg>\n"


# ---- The page ----


def filled(page, name, table):
    begin, end = f"<!-- {name}: written by scale/model.py -->", "<!-- end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if not rest:
        sys.exit(f"model.py: docs/scale.md has no place for {name}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--events", type=float, help="one level, every resource")
    for group in (Load, Setting):
        for field in dataclasses.fields(group):
            parser.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), default=field.default)
    given = parser.parse_args()
    load, setting = (
        group(**{f.name: getattr(given, f.name) for f in dataclasses.fields(group)}) for group in (Load, Setting)
    )
    levels, limits = table_of_levels(load, setting), table_of_limits(load, setting)
    if given.events:
        for use in sorted(uses(load, setting, given.events), key=lambda use: -use.share):
            print(
                f"{use.share:8.1%}  {number(use.use):>12} of {number(use.limit):>12}{use.unit:3}  {use.kind:8} {use.name}"
            )
    elif given.write or given.check:
        now = PAGE.read_text()
        page = filled(filled(now, "levels", levels), "limits", limits)
        drawn = figure(load, RAISED)
        if given.write:
            PAGE.write_text(page)
            FIGURE.write_text(drawn)
        elif page != now or not FIGURE.exists() or FIGURE.read_text() != drawn:
            sys.exit("docs/scale.md is not what its model says: run docs/scale/model.py --write")
    else:
        print(levels, limits, sep="\n\n")


if __name__ == "__main__":
    main()
