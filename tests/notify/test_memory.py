"""The outbox that the deliverer's tests use keeps what the real one promises."""

from __future__ import annotations

from itertools import count

import pytest

from tests.contract.outbox import OutboxBattery, Owe
from tests.notify.memory import MemoryOutbox
from tests.notify.tickets import filling, notification


class TestMemoryOutbox(OutboxBattery):
    @pytest.fixture
    def outbox(self) -> MemoryOutbox:
        return MemoryOutbox()

    @pytest.fixture
    def owe(self, outbox: MemoryOutbox) -> Owe:
        ids = count(1)

        async def owe(channel: str, thread: str, not_before: int) -> None:
            id = next(ids)
            outbox.owe(notification(
                filling(), id=id, channel=channel, dedup_key=f"{thread}/{channel}",
                    idempotency_key=f"{thread}/{channel}/{id}",
                not_before=not_before,
            ))  # fmt: skip

        return owe
