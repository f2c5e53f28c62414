"""From a webhook of one alert to its committed ticket: 200 alerts a second, each of another service, one core.

``python -m benchmarks.alert_latency [--seconds 15]`` starts the daemon with its shipped configuration, pinned to one
core, and prints the share of it that it took, and how long the answers (2xx: the ticket is on the disk) took, in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

RATE = 200
READY_SECONDS = 60
WARM_UP = 100
"""Answers that are not counted: the first ones find everything cold."""


def body(number: int) -> dict[str, Any]:
    """What an Alertmanager sends of one alert of a service that nobody has met."""
    labels = {"alertname": "HighLatency", "service": f"s{number}", "severity": "warning", "instance": f"h{number}:80"}
    alert = {
        "status": "firing", "labels": labels, "annotations": {"summary": "Requests are slow"},
        "startsAt": "2026-11-24T08:30:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
        "fingerprint": f"{number:016x}",
    }  # fmt: skip
    return {
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "all", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": labels, "commonAnnotations": {}, "externalURL": "", "alerts": [alert],
    }  # fmt: skip


async def measure(seconds: int, url: str, pid: int) -> dict[str, float]:
    """A steady rate, whatever the answers take, and how long each took."""
    took: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await ready(session, url)

        async def post(number: int) -> None:
            began = time.perf_counter()
            async with session.post(f"{url}/webhooks/alertmanager", json=body(number)) as answer:
                assert answer.status < 300, await answer.text()
            took.append((time.perf_counter() - began) * 1000)

        begun, cpu = time.perf_counter(), cpu_seconds(pid)
        posts = []
        for number in range(seconds * RATE):
            if (wait := begun + number / RATE - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            posts.append(asyncio.create_task(post(number)))
        await asyncio.gather(*posts)
        busy = (cpu_seconds(pid) - cpu) / (time.perf_counter() - begun)
    counted = sorted(took[WARM_UP:])
    at = {name: counted[min(len(counted) - 1, int(len(counted) * share))] for name, share in
          (("p50_ms", 0.5), ("p99_ms", 0.99), ("most_ms", 1.0))}  # fmt: skip
    return {"alerts": len(took), "core_share": round(busy, 3), **{name: round(value, 2) for name, value in at.items()}}


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the daemon at ``url`` takes samples and alerts."""
    for _ in range(READY_SECONDS * 10):
        try:
            async with session.get(f"{url}/-/ready") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the daemon was not ready within {READY_SECONDS} s")


def cpu_seconds(pid: int) -> float:
    """CPU seconds that the process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_address() -> str:
    """A loopback address that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def running(folder: Path, address: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``detector run`` on ``address`` with its data and its log below ``folder``."""
    command = [sys.executable, "-m", "detector", "run", "--listen", address, "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([*command, *arguments], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15)
    seconds = parser.parse_args().seconds
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        address = free_address()
        with running(Path(folder), address) as daemon:
            for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores[-1:])
            print(json.dumps({"alert_to_ticket": asyncio.run(measure(seconds, f"http://{address}", daemon.pid))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
