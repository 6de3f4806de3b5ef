"""A receiver of deliveries on loopback, which answers as a test says and remembers what came."""

import contextlib
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Given how many requests came to the path before: the status of the answer, and how long it takes.
Answer = Callable[[int], tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Arrival:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> str:
        """Of which event it tells."""
        return self.headers.get("webhook-id", "")


class Receiver:
    """Answers 200 at once where nothing else is said."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.lock = threading.Lock()
        self.arrivals: list[Arrival] = []
        self.answers: dict[str, Answer] = {}
        # Those that got their answer, or would have: who hung up does not hear it.
        self.under_way = 0

    def at(self, path: str) -> list[Arrival]:
        """What came to a path so far."""
        with self.lock:
            return [one for one in self.arrivals if one.path == path]

    def events(self, path: str) -> Counter[str]:
        """The events that came to a path, and how often each did."""
        return Counter(one.event for one in self.at(path))

    def handle(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Notes a request and decides on its answer."""
        with self.lock:
            before = sum(one.path == path for one in self.arrivals)
            self.arrivals.append(Arrival(path, headers, body, time.monotonic()))
            self.under_way += 1
        status, pause = self.answers.get(path, lambda _: (200, 0.0))(before)
        # The pause is what is tested: a receiver that takes its time.
        time.sleep(pause)
        with self.lock:
            self.under_way -= 1
        return status


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port, for as long as it is needed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status = own.handle(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Those who hang up are killed on purpose here."""

    server = Server(("127.0.0.1", 0), Handler)
    own = Receiver(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
