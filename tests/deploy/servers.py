"""The servers that stand in for AWS during one run, on loopback, and ended with it whatever happens."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import boto3
from botocore.config import Config

from .report import until

REGION = "us-east-1"
ACCOUNT = "000000000000"
START_SECONDS = 60
LOG_BYTES = 12_000
# No other server of this machine, nor an account of the developer's, is to be met by mistake.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process with a group of its own, so that it ends with all that it started."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: pathlib.Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        # Ends the group when this process ends, even if it is killed: its end of the pipe closes then.
        last_will = ["sh", "-c", 'read -r _; kill -s KILL -- "-$0"; rm -rf "$1"', str(self.process.pid), str(folder)]
        self.watchdog = subprocess.Popen(last_will, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    def wait(self, url: str) -> None:
        """Waits until it answers."""

        def answers() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.tail()}")
            try:
                urllib.request.urlopen(url, timeout=2).close()
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        until(answers, f"{self.name} answers at {url}", START_SECONDS)

    def tail(self) -> str:
        """The end of what it logged."""
        return self.log.read_bytes()[-LOG_BYTES:].decode(errors="replace")

    def stop(self) -> None:
        """Ends it, and whatever is left of its group."""
        self.watchdog.kill()
        self.watchdog.wait()
        self.watchdog.stdin.close()
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)


class Cloud:
    """ministack, which runs the functions as processes of this machine, and a proxy before it that can make faults."""

    def __init__(self, ministack: str, microburst: str, folder: pathlib.Path) -> None:
        self.folder, self.port, self.proxy_port = folder, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.proxy_url = f"http://127.0.0.1:{self.proxy_port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POSTRIDER_"))}
        # Its code cache and files go where this run's other files are. NO_PROXY: the SDK goes by proxies that it names.
        self.env = inherited | CREDENTIALS | {"TMPDIR": str(folder), "NO_PROXY": "127.0.0.1", "AWS_ENDPOINT_URL": self.url}
        own = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port)}
        self.ministack = Server("ministack", [ministack], self.env | own, folder)
        proxy = [microburst, "--host", "127.0.0.1", "--port", str(self.proxy_port), "--upstream", self.url]
        try:
            self.proxy = Server("microburst", proxy, self.env, folder)
        except BaseException:
            self.ministack.stop()
            raise

    def wait(self) -> None:
        """Waits until both answer."""
        self.ministack.wait(f"{self.url}/_ministack/health")
        self.proxy.wait(f"{self.proxy_url}/_microburst/health")

    def client(self, service: str):
        """A client of one of the services, past the proxy."""
        config = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=60)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, config=config, **keys)

    def faults(self, method: str, path: str, body: object = None) -> list | dict:
        """Asks the proxy."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.proxy_url}/_microburst/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def processes(self, function: str) -> list[int]:
        """The processes of one function: those of this run's ministack, by its group, and no others."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if pid == self.ministack.process.pid or os.getpgid(pid) != self.ministack.process.pid:
                    continue
                if f"AWS_LAMBDA_FUNCTION_NAME={function}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def stop(self) -> None:
        """Ends both."""
        for server in (self.proxy, self.ministack):
            server.stop()


@contextlib.contextmanager
def cloud(ministack: str, microburst: str, folder: pathlib.Path) -> Iterator[Cloud]:
    """Both servers, for as long as they are needed."""
    servers = Cloud(ministack, microburst, folder)
    try:
        servers.wait()
        yield servers
    finally:
        servers.stop()
