"""Real servers from Debian packages, on free loopback ports with folders of their own, stopped by their own pid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.conftest import binary
from tests.daemon import free_port, until

T = TypeVar("T")


@dataclass
class Server:
    """A process with an HTTP port."""

    home: Path
    port: int
    command: Sequence[str]
    ready: str = "/-/ready"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def start(self) -> Server:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.home, start_new_session=True)
        until(self._answers, 30, f"{self.command[0]} answers on {self.url}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.command[0]} ended with {self.process.returncode}:\n{self.log}")
        try:
            with urllib.request.urlopen(self.url + self.ready, timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401  # it is there, and asks who we are
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def get(self, path: str, **params: str) -> Any:
        """The JSON answer of a GET."""
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        with urllib.request.urlopen(self.url + path + query, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, document: Any = None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


def prometheus(home: Path, config: dict[str, Any], *flags: str) -> Server:
    """A Prometheus with this configuration; ``POST /-/reload`` works, remote write is taken."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        binary("prometheus", "prometheus"), f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        "--web.enable-lifecycle", "--web.enable-remote-write-receiver", *flags,
    ]  # fmt: skip
    return Server(home, port, command)


def alertmanager(home: Path, config: dict[str, Any]) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    (home / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        binary("prometheus-alertmanager", "prometheus-alertmanager"), f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        "--log.level=warn",
    ]  # fmt: skip
    return Server(home, port, command)


def node_exporter(home: Path, *flags: str) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        binary("prometheus-node-exporter", "prometheus-node-exporter"),
        f"--web.listen-address=127.0.0.1:{port}", *flags,
    ]  # fmt: skip
    return Server(home, port, command, ready="/metrics")


async def eventually(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    """As ``until``, with the event loop free meanwhile."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.05)
    return result
