"""What was checked, a line each; the first thing that does not hold ends the test."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# How often something is looked at that must come about.
LOOK_SECONDS = 0.1


class Failed(Exception):
    """Something does not hold."""


class Report:
    """Counts what was checked, under headings that tell how long each part took."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, int, float]] = []
        self.hidden: list[str] = []
        self._begin("")

    def _begin(self, title: str) -> None:
        self._title, self._count, self._start = title, 0, time.monotonic()

    def part(self, title: str) -> None:
        """Ends the part before and begins another."""
        self.end()
        print(f"\n-- {title}", flush=True)
        self._begin(title)

    def end(self) -> None:
        """Ends the part under way."""
        if self._title:
            self.parts.append((self._title, self._count, time.monotonic() - self._start))
        self._title = ""

    def ok(self, what: str) -> None:
        """Notes what holds."""
        self._count += 1
        print(f"ok {what}", flush=True)

    def unseen(self, what: str) -> None:
        """Notes what cannot be told here."""
        self.hidden.append(what)
        print(f"-- not told by this server: {what}", flush=True)

    def check(self, holds: bool, what: str, found: object = "") -> None:
        """Notes what holds, or ends the test with what was found instead."""
        if not holds:
            raise Failed(f"{what}: {found!r}")
        self.ok(what)

    def same(self, found: object, expected: object, what: str) -> None:
        """Notes that something is as it must be."""
        if found != expected:
            raise Failed(f"{what}: expected {expected!r}, found {found!r}")
        self.ok(what)

    def summary(self) -> str:
        """All parts, with what they checked and took."""
        self.end()
        lines = [f"  {count:4} checks {seconds:6.1f} s  {title}" for title, count, seconds in self.parts]
        total = sum(count for _, count, _ in self.parts)
        seconds = sum(seconds for _, _, seconds in self.parts)
        lines += [f"  {total:4} checks {seconds:6.1f} s  in all", f"  {len(self.hidden):4} things that this server does not tell"]
        return "\n".join(["", "Deployment test: all holds.", *lines])


def until(look: Callable[[], T | None], what: str | Callable[[], str], seconds: float = 30) -> T:
    """Looks until something is there, and fails if it is not in time, with what is the matter by then."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(LOOK_SECONDS)
