"""The desk's outbox passes the battery that the deliverer relies on, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import insert

from detector.nouns import Opened
from detector.tickets import schema
from detector.tickets.database import address
from detector.tickets.desk import Desk, Draft
from detector.tickets.lifecycle import fold
from detector.tickets.outbox import Outbox
from tests.contract.outbox import NOW, OutboxBattery, Owe


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await Desk.open(address(tmp_path / "desk.db"))
    yield desk
    await desk.close()


@pytest.fixture
def outbox(desk: Desk) -> Outbox:
    return Outbox(desk)


@pytest.fixture
def owe(desk: Desk) -> Owe:
    numbers = count(1)
    tickets: dict[str, int] = {}

    async def owe_one(channel: str, thread: str, not_before: int) -> None:
        if thread not in tickets:
            opened = Opened("new-1", NOW, service=thread)
            done = await desk.commit([Draft(None, fold(None, opened), (opened,))])
            tickets[thread] = int(done[0].ticket.key.removeprefix("INC-"))
        name = f"detector/{thread}/{channel}"
        row = {
            "ticket_id": tickets[thread], "channel": channel, "event": "opened", "urgency": "notify", "reason": "",
            "dedup_key": name, "idempotency_key": f"{name}/{next(numbers)}", "state": "pending", "created_at": NOW,
            "not_before": not_before, "attempts": 0, "receipt": "",
        }  # fmt: skip
        async with desk.engine.begin() as connection:
            await connection.execute(insert(schema.outbox).values(**row))

    return owe_one


class TestOutbox(OutboxBattery):
    pass
