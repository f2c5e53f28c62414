"""The daemon as a process, for tests that meet it only through its interfaces; and a receiver for its messages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    """Wait for a condition of a real server, with a deadline; what it returned that was true."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@dataclass
class Daemon:
    """``detector run`` on a free loopback port."""

    home: Path
    config: str = "{}"
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    ready_as: tuple[str, str] | None = None
    """Name and password, where the daemon asks for them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, ready_within: float = 60) -> Daemon:
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / "detector.yml"
        file.write_text(self.config)
        command = [
            sys.executable, "-m", "detector", "run", "--config", str(file), "--listen", f"127.0.0.1:{self.port}",
            "--data-dir", str(self.home / "data"), *self.arguments,
        ]  # fmt: skip
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        until(self._ready, ready_within, f"the daemon is ready\n{self.log[-3000:]}")
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log[-3000:]}")
        with contextlib.suppress(OSError):
            pair = base64.b64encode(":".join(self.ready_as).encode()).decode() if self.ready_as else ""
            headers = {"Authorization": f"Basic {pair}"} if pair else None
            return self.request("GET", "/-/ready", headers=headers)[0] == 200
        return False

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 10,
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> Any:
        status, body = self.request("GET", path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)

    def post(self, path: str, value: Any = None) -> Any:
        body = json.dumps({} if value is None else value).encode()
        status, answer = self.request("POST", path, body, {"Content-Type": "application/json"})
        assert 200 <= status < 300, (path, status, answer[:500])
        return json.loads(answer) if answer else None

    def incidents(self, **filters: str) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in {"limit": "200", **filters}.items())
        items, cursor = [], ""
        while True:
            page = self.get(f"/api/incidents?{query}{cursor}")
            items += page["items"]
            if not page["next"]:
                return items
            cursor = f"&cursor={page['next']}"

    def value(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """An instant query's vector as (labels, value)."""
        answer = self.get(f"/api/v1/query?query={urllib.request.quote(expr)}")
        return [(item["metric"], float(item["value"][1])) for item in answer["data"]["result"]]

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 where it is not there."""
        for row in self.request("GET", "/metrics")[1].decode().splitlines():
            if row.startswith(line + " "):
                return float(row.split()[1])
        return 0.0

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            raise


@dataclass
class Receiver:
    """A real HTTP receiver on loopback: keeps what it was sent, in order; answers 200."""

    port: int
    server: ThreadingHTTPServer
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Messages as {headers, body (JSON)}, appended as they come."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            box.messages.append({"headers": headers, "body": json.loads(raw or b"null")})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box = Receiver(server.server_address[1], server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
