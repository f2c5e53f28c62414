"""Quiet hours: what pages nobody waits for the morning, and comes as one message that says how things are by then."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from detector.daemon.digest import Digest
from detector.incidents.mute import NoiseOptions, QuietHours, quiet_until
from detector.nouns import SYSTEM, Sent
from detector.pipeline import Pipeline
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import HOUR, MINUTE, NOW, alert, rows

NOON = NOW // HOUR * HOUR + HOUR
QUIET = NoiseOptions(quiet_hours=QuietHours.model_validate({"hours": ["11:00", "12:00"], "priorities": ["P3", "P4"]}))


async def told(pipeline: Pipeline, now: int) -> list[tuple[str, str]]:
    outbox, out = Outbox(pipeline.desk), []
    while (message := await outbox.claim("ops", now, MINUTE)) is not None:
        out.append((message.event, message.memo[0] if message.memo is not None else message.ticket.key))
        await outbox.settle(message.id, Sent("r"), now)
    return out


async def small(pipeline: Pipeline, *names: str, **values: Any) -> None:
    await pipeline.step([], [alert(n, labels={"service": n, "severity": "info"}, **values) for n in names], NOW)


def digest(pipeline: Pipeline, woken: list[str]) -> Digest:
    return Digest(pipeline.desk, Outbox(pipeline.desk), lambda: UTC, woken.extend)


@pytest.fixture
def quiet() -> Any:
    return lambda ticket, now: quiet_until(ticket, QUIET, now)


async def test_what_pages_nobody_waits_and_comes_as_one_digest(quiet: Any) -> None:
    async with rows(routes=(Route("ops"),)) as pipeline:
        pipeline.desk.quiet = quiet
        await small(pipeline, "a", "b", "c")
        await pipeline.act("INC-2", "resolve", SYSTEM, now=NOW + MINUTE, force=True)
        assert await told(pipeline, NOW + MINUTE) == []
        woken: list[str] = []
        await digest(pipeline, woken).step(NOON - 1)
        assert (woken, await told(pipeline, NOON - 1)) == ([], [])
        await digest(pipeline, woken).step(NOON)
        assert woken == ["ops"]
        outbox = Outbox(pipeline.desk)
        message = await outbox.claim("ops", NOON, MINUTE)
        assert message is not None
        assert message.memo is not None
        subject, text = message.memo
        assert subject == "While it was quiet: 3 incidents"
        assert [line.split(" ")[0] for line in text.splitlines()] == ["INC-1", "INC-2", "INC-3"]
        assert "is over (fixed)" in text.splitlines()[1], "as it is by then"
        await outbox.settle(message.id, Sent("r"), NOON)
        # A second look, or a second process, tells nothing twice; and who was told hears the end.
        await digest(pipeline, woken).step(NOON + 1)
        assert await told(pipeline, NOON + 1) == []
        await pipeline.act("INC-1", "resolve", SYSTEM, now=NOON + 2, force=True)
        assert await told(pipeline, NOON + 2) == [("resolved", "INC-1")]


async def test_one_alone_comes_as_itself_and_what_pages_does_not_wait(quiet: Any) -> None:
    async with rows(routes=(Route("ops"),)) as pipeline:
        pipeline.desk.quiet = quiet
        await small(pipeline, "a")
        critical = alert("Down", labels={"service": "shop", "severity": "critical"})
        await pipeline.step([], [critical], NOW)
        assert await told(pipeline, NOW + 1) == [("opened", "INC-2")]
        await digest(pipeline, []).step(NOON)
        assert await told(pipeline, NOON) == [("opened", "INC-1")]


async def test_outside_of_quiet_hours_nothing_waits(quiet: Any) -> None:
    async with rows(routes=(Route("ops"),)) as pipeline:
        pipeline.desk.quiet = quiet
        await pipeline.step([], [alert("a", labels={"severity": "info"}, at=NOON)], NOON)
        assert await told(pipeline, NOON) == [("opened", "INC-1")]
