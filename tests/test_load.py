"""What the load benchmark (``benchmarks/desk_load.py``) counts must be right at any size; how fast it is, it says."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.desk_load import alert_of, post_of, storm_of
from benchmarks.desk_store import fill
from detector.nouns import SYSTEM
from detector.tickets.database import address
from detector.tickets.desk import Desk, TicketQuery
from tests.daemon import Daemon, free_port, receiver, until
from tests.rows import NOW

CONFIG = """
channels:
  - {{name: first, type: webhook, url: "{first}", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}
  - {{name: slow, type: webhook, url: "{slow}", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}
  - {{name: dead, type: webhook, url: "{dead}", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}
"""


@contextmanager
def hanging() -> Iterator[str]:
    """A receiver that takes what it is sent and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def send(daemon: Daemon, alerts: list[dict[str, Any]], size: int) -> None:
    """In webhooks of ``size``, several at a time, each answered 2xx."""

    def post(some: list[dict[str, Any]]) -> int:
        body = json.dumps(post_of(some)).encode()
        return daemon.request("POST", "/webhooks/alertmanager", body, {"Content-Type": "application/json"})[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, (alerts[at : at + size] for at in range(0, len(alerts), size)))) == {200}


def one(daemon: Daemon, statement: str) -> Any:
    with closing(sqlite3.connect(f"file:{daemon.home}/data/detector.db?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchone()[0]


def test_a_storm_of_one_cause_is_few_tickets_and_fewer_messages_and_a_dead_and_a_slow_channel_delay_nobody(
    tmp_path: Path,
) -> None:
    with receiver() as first, hanging() as slow:
        config = CONFIG.format(first=first.url, slow=slow, dead=f"http://127.0.0.1:{free_port()}/")
        daemon = Daemon(tmp_path, config).start()
        try:
            send(daemon, storm_of(300), 50)
            tickets = daemon.incidents()
            assert 1 <= len(tickets) <= 3
            assert len({symptom["id"] for ticket in tickets for symptom in ticket["symptoms"]}) == 300
            owed = until(lambda: one(daemon, "SELECT count(*) FROM outbox WHERE channel = 'first'"), 5, "messages")
            assert len(tickets) <= owed <= 8
            waiting = "SELECT count(*) = 0 FROM outbox WHERE channel = 'first' AND state != 'sent'"
            until(lambda: one(daemon, waiting), 10, "the first channel has all of them, whatever the others do")
            assert len(first.messages) == owed
            assert one(daemon, "SELECT count(*) FROM outbox WHERE channel != 'first' AND state = 'sent'") == 0
            assert daemon.request("GET", "/")[0] == 200
        finally:
            daemon.stop()


def test_every_alert_that_was_answered_is_in_the_ledger_once_for_each_time_that_it_came(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    try:
        new = [alert_of(n, f"load-{n % 20}") for n in range(400)]
        again = [alert_of(n, f"load-{n % 20}", firing=n % 3 > 0) for n in range(0, 400, 2)]
        send(daemon, new, 35)
        send(daemon, again, 35)
        assert one(daemon, "SELECT sum(received) FROM alerts") == 600
        assert one(daemon, "SELECT count(*) FROM alerts") == 400
        assert one(daemon, "SELECT count(*) FROM alerts WHERE status = 'resolved'") == len(range(0, 400, 6))
        assert len(daemon.incidents()) == 20
    finally:
        daemon.stop()


async def test_the_store_of_the_benchmark_is_one_that_the_desk_reads(tmp_path: Path) -> None:
    await asyncio.to_thread(fill, tmp_path / "d.db", 60, 10, NOW)
    desk = await Desk.open(address(tmp_path / "d.db"))
    try:
        found = (await desk.tickets(TicketQuery(limit=100), SYSTEM)).items
        timelines = await desk.timelines(found, SYSTEM)
        assert (len(found), len(await desk.every_open(SYSTEM))) == (60, 10)
        assert all(timelines[ticket.key][0].what == "opened" for ticket in found)
    finally:
        await desk.close()
