"""The desk under load: the daemon on one core, 100,000 tickets in its store.

``python -m benchmarks.desk_load [--tickets 100000] [--seconds 60] [--only board,alerts,storm,page]`` prints, one part a
line:

- ``board``: 20 users who each ask again as soon as they are answered, for the board and for ``/api/incidents``, ms;
- ``alerts``: 1,000 alerts a second in webhooks of 20 to 50, and whether every one of them is on the disk;
- ``storm``: 2,000 alerts of one cause: how many tickets and messages;
- ``page``: from an alert's POST to its message at the first channel, ms, beside a dead and a slow channel.

The daemon is pinned to one core, the askers run on another. Ends with 1 where a bound does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
from aiohttp import web

from benchmarks.alert_latency import cpu_seconds, free_address, ready, running
from benchmarks.desk_store import fill

OPEN = 300
USERS = 20
PAGES = ("/", "/api/incidents")
BOARD_P95_MS = 200
RATE = 1_000
PAGE_P99_MS = 2_000
STORM = 2_000
MESSAGES = 8
"""Of the storm at one channel at most: it begins, and each time twice as much is affected."""
PASSWORD = "benchmark"
CONFIG = """
web: {{config_file: web.yml}}
channels:
  - {{name: first, type: webhook, url: "http://{receiver}/first", secret: "{secret}"}}
  - {{name: slow, type: webhook, url: "http://{receiver}/slow", secret: "{secret}"}}
  - {{name: dead, type: webhook, url: "http://{dead}/", secret: "{secret}"}}
"""


@dataclass
class Receivers:
    """What stands behind the channels: one that answers at once, one that takes ten seconds."""

    arrived: dict[str, float] = field(default_factory=dict)
    messages: int = 0

    async def first(self, request: web.Request) -> web.Response:
        message = await request.json()
        self.messages += 1
        # A message that the receiver would find too long comes in brief, without the service.
        self.arrived.setdefault(message["data"]["incident"].get("service", ""), time.perf_counter())
        return web.Response()

    async def slow(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(10)
        return web.Response()


@dataclass
class Bench:
    """The daemon that is asked, and the file in which it keeps what it says it has."""

    url: str
    pid: int
    database: Path
    receivers: Receivers
    seconds: int
    session: aiohttp.ClientSession

    def rows(self, statement: str) -> Any:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(statement).fetchone()[0]
        finally:
            connection.close()


def asks_as(name: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(name, PASSWORD)}


# --- the board --------------------------------------------------------------------------------------------------------


async def board(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in PAGES:
        took: list[float] = []
        size = 0
        until = time.perf_counter() + min(20, bench.seconds)

        async def user(name: str, path: str = path, took: list[float] = took, until: float = until) -> None:
            nonlocal size
            headers = {"Accept-Encoding": "gzip", **asks_as(name)}
            while (began := time.perf_counter()) < until:
                async with bench.session.get(f"{bench.url}{path}", headers=headers) as answer:
                    size = len(await answer.read())
                    assert answer.status == 200, answer.status
                took.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*(user(f"user{n}") for n in range(USERS)))
        found[path] = {"answers": len(took), "kib": size // 1024, **_shares(took[USERS:], p50=0.5, p95=0.95)}
    found["holds"] = all(found[path]["p95_ms"] < BOARD_P95_MS for path in PAGES)
    return found


# --- alerts -----------------------------------------------------------------------------------------------------------


def post_of(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """A webhook as Alertmanager sends one of a group."""
    return {
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "all", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": alerts,
    }  # fmt: skip


def alert_of(number: int, service: str, *, firing: bool = True, name: str = "HighLatency") -> dict[str, Any]:
    labels = {"alertname": name, "service": service, "severity": "warning", "instance": f"host{number}:80"}
    return {
        "status": "firing" if firing else "resolved", "labels": labels,
        "annotations": {"summary": "Requests are slow", "runbook_url": "https://runbooks.example.org/latency"},
        "startsAt": "2026-11-24T08:30:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
        "fingerprint": f"{number:016x}",
    }  # fmt: skip


async def alerts(bench: Bench) -> dict[str, Any]:
    """Half of them new, of 400 services; the others repeat or resolve what fires."""
    dice, sent, took, posts = random.Random(3), 0, [], []
    known: list[int] = []
    before, cpu, begun = (
        bench.rows("SELECT sum(received) FROM alerts") or 0,
        cpu_seconds(bench.pid),
        time.perf_counter(),
    )

    async def post(some: list[dict[str, Any]]) -> None:
        began = time.perf_counter()
        async with bench.session.post(f"{bench.url}/webhooks/alertmanager", json=post_of(some)) as answer:
            assert answer.status == 200, await answer.text()
        took.append((time.perf_counter() - began) * 1000)

    while sent < bench.seconds * RATE:
        some = []
        for _ in range(min(dice.randint(20, 50), bench.seconds * RATE - sent)):
            if not known or dice.random() < 0.5:
                known.append(len(known))
                some.append(alert_of(known[-1], f"load-{known[-1] % 400}"))
            else:
                number = known[dice.randrange(len(known))]
                some.append(alert_of(number, f"load-{number % 400}", firing=dice.random() < 0.8))
        if (wait := begun + sent / RATE - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        sent += len(some)
        posts.append(asyncio.create_task(post(some)))
    await asyncio.gather(*posts)
    lasted = time.perf_counter() - begun
    committed = bench.rows("SELECT sum(received) FROM alerts") - before
    return {
        "sent": sent, "committed": committed, "seconds": round(lasted, 1),
        "core_share": round((cpu_seconds(bench.pid) - cpu) / lasted, 2), **_shares(took, p50=0.5, p99=0.99),
        "holds": committed == sent and lasted < bench.seconds * 1.05 + 1,
    }  # fmt: skip


# --- a storm ----------------------------------------------------------------------------------------------------------


def storm_of(alerts: int) -> list[dict[str, Any]]:
    """One cause: alerts of six names on the hosts of one service."""
    names = ("HostDown", "HighLatency", "ErrorsHigh", "TargetMissing", "QueueGrows", "DiskSlow")
    return [alert_of(900_000 + n, "rack", name=names[n % len(names)]) for n in range(alerts)]


async def storm(bench: Bench) -> dict[str, Any]:
    """A rack loses its switch: in posts of 50, as fast as they go."""
    tickets, messages = bench.rows("SELECT count(*) FROM tickets"), bench.rows("SELECT count(*) FROM outbox")
    all_ = storm_of(STORM)
    began = time.perf_counter()

    async def post(some: list[dict[str, Any]]) -> None:
        async with bench.session.post(f"{bench.url}/webhooks/alertmanager", json=post_of(some)) as answer:
            assert answer.status == 200, await answer.text()

    await asyncio.gather(*(post(all_[at : at + 50]) for at in range(0, STORM, 50)))
    lasted = time.perf_counter() - began
    opened = bench.rows("SELECT count(*) FROM tickets") - tickets
    owed = bench.rows("SELECT count(*) FROM outbox") - messages
    return {"alerts": STORM, "seconds": round(lasted, 2), "tickets": opened, "messages": owed, "channels": 3,
            "holds": opened <= 3 and owed <= 3 * MESSAGES}  # fmt: skip


# --- beside a dead and a slow channel ---------------------------------------------------------------------------------


async def page(bench: Bench) -> dict[str, Any]:
    """Five alerts a second, each of a service of its own, while the slow channel takes ten seconds a message."""
    begun, sent = time.perf_counter(), {}
    count = bench.seconds * 5
    for number in range(count):
        if (wait := begun + number / 5 - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        service = f"page-{number}"
        sent[service] = time.perf_counter()
        body = post_of([alert_of(950_000 + number, service)])
        async with bench.session.post(f"{bench.url}/webhooks/alertmanager", json=body) as answer:
            assert answer.status == 200, await answer.text()
    deadline = time.perf_counter() + 10
    while set(sent) - set(bench.receivers.arrived) and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    took = [(bench.receivers.arrived[service] - at) * 1000 for service, at in sent.items()
            if service in bench.receivers.arrived]  # fmt: skip
    figures = _shares(took, p50=0.5, p99=0.99)
    return {"alerts": count, "arrived": len(took), **figures,
            "holds": len(took) == count and figures["p99_ms"] < PAGE_P99_MS}  # fmt: skip


PARTS: dict[str, Callable[[Bench], Awaitable[dict[str, Any]]]] = {
    "board": board, "page": page, "storm": storm, "alerts": alerts,
}  # fmt: skip


def _shares(took: list[float], **shares: float) -> dict[str, float]:
    counted = sorted(took) or [0.0]
    return {f"{name}_ms": round(counted[min(len(counted) - 1, int(len(counted) * share))], 1)
            for name, share in shares.items()}  # fmt: skip


async def measure(url: str, pid: int, database: Path, receiver: str, seconds: int, only: list[str]) -> bool:
    receivers = Receivers()
    app = web.Application()
    app.router.add_post("/first", receivers.first)
    app.router.add_post("/slow", receivers.slow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    host, port = receiver.split(":")
    await web.TCPSite(runner, host, int(port)).start()
    held = True
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=asks_as("user0")) as session:
            await ready(session, url)
            bench = Bench(url, pid, database, receivers, seconds, session)
            for name in only:
                figures = await PARTS[name](bench)
                held &= figures["holds"]
                print(json.dumps({name: figures}), flush=True)
    finally:
        await runner.cleanup()
    return held


@contextmanager
def pinned(daemon: subprocess.Popen[bytes]) -> Any:
    """The daemon on one core and this process on the others, where there are others."""
    cores = sorted(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores[-1:])
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[:-1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickets", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=60, help="how long the parts last at most")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--store", type=Path, help="a store that is there already (it is copied), or is to be made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir()
        database = home / "data" / "detector.db"
        store = options.store or database
        if not store.exists():
            began = time.perf_counter()
            fill(store, options.tickets, min(OPEN, options.tickets), int(time.time() * 1000))
            print(json.dumps({"store": {"tickets": options.tickets, "mib": store.stat().st_size >> 20,
                                        "seconds": round(time.perf_counter() - began)}}), flush=True)  # fmt: skip
        if store != database:
            shutil.copy(store, database)
        address, receiver, dead = free_address(), free_address(), free_address()
        (home / "detector.yml").write_text(CONFIG.format(receiver=receiver, dead=dead, secret="s" * 32))
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        users = "".join(f"  user{n}: {hashed}\n" for n in range(USERS))
        (home / "web.yml").write_text(f"basic_auth_users:\n{users}")
        with running(home, address, "--config", str(home / "detector.yml")) as daemon, pinned(daemon):
            asked = measure(
                f"http://{address}", daemon.pid, database, receiver, options.seconds, options.only.split(",")
            )
            return 0 if asyncio.run(asked) else 1


if __name__ == "__main__":
    sys.exit(main())
