"""A desk to run the process on, once on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.nouns import SYSTEM, Sent, Ticket, TimelineEntry, Viewer
from detector.pipeline import Pipeline, Policy
from detector.tickets.database import address
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import DAY, MINUTE, NOW, rows

ROUTES = (Route("l1", tiers=("L1",)), Route("l2", tiers=("L2",)), Route("l3", tiers=("L3",)))
POLICY = Policy(
    Catalogue(
        CatalogueOptions.model_validate(
            {"services": [{"name": "shop", "criticality": "high", "team": "web", "runbook": "https://runbooks/shop"}]}
        )
    )
)
ANN, BEN = Viewer("ann"), Viewer("ben")


class Desk:
    """The pipeline with a clock that the test turns, and what people would see of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.now = NOW

    async def pass_time(self, ms: int) -> None:
        """Everything that falls due meanwhile happens, each at its time or at most a minute late."""
        end = self.now + ms
        while self.now < end:
            due = await self.pipeline.tick(self.now)
            self.now = min(end, max(self.now + 1, due if due is not None else end))
        await self.pipeline.tick(self.now)

    async def act(self, action: str, who: Viewer = ANN, key: str = "INC-1", **arguments: object) -> Ticket:
        self.now += 1
        return await self.pipeline.act(key, action, who, now=self.now, **arguments)

    async def ticket(self, key: str = "INC-1", viewer: Viewer = SYSTEM) -> Ticket:
        found = await self.pipeline.desk.ticket(key, viewer)
        assert found is not None
        return found

    async def timeline(self, key: str = "INC-1") -> list[TimelineEntry]:
        return list(await self.pipeline.desk.timeline(key, SYSTEM))

    async def clock(self, name: str, key: str = "INC-1") -> tuple[str, int]:
        """State of a clock, and minutes from the opening to when it is due."""
        ticket = await self.ticket(key)
        clock = next(clock for clock in ticket.clocks if clock.name == name)
        return clock.state, round((clock.due_at - ticket.opened_at) / MINUTE)

    async def told(self, channel: str) -> list[str]:
        """The reasons of the messages that wait for a channel."""
        outbox, reasons = Outbox(self.pipeline.desk), []
        while (message := await outbox.claim(channel, self.now + DAY, MINUTE)) is not None:
            reasons.append(message.reason)
            await outbox.settle(message.id, Sent("r"), self.now)
        return reasons


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    url = address(tmp_path / "desk.db")
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    async with rows(POLICY, ROUTES, url) as pipeline:
        yield Desk(pipeline)
