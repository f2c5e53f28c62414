"""Who is told what: by mode, priority and route; restricted tickets are told to nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from detector.nouns import SYSTEM, Report, Sent, Viewer
from detector.pipeline import Pipeline
from detector.tickets import schema
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import HOUR, MINUTE, NOW, alert, rows, symptom

BO = Viewer("bo")


async def messages(pipeline: Pipeline) -> list[tuple[str, ...]]:
    """(channel, event, urgency, state) of everything that was ever owed, in order."""
    o = schema.outbox
    async with pipeline.desk.engine.connect() as connection:
        found = await connection.execute(select(o.c.channel, o.c.event, o.c.urgency, o.c.state).order_by(o.c.id))
        return [tuple(row) for row in found]


async def sent(pipeline: Pipeline, channel: str, now: int) -> None:
    outbox = Outbox(pipeline.desk)
    while (message := await outbox.claim(channel, now, MINUTE)) is not None:
        await outbox.settle(message.id, Sent("receipt"), now)


async def test_nothing_tells_that_a_restricted_ticket_exists() -> None:
    async with rows(routes=(Route("ops"), Route("l3", tiers=("L3",)))) as pipeline:
        ticket = await pipeline.report(Report("the backup was public", NOW, security=True))
        assert (ticket.tier, ticket.category) == ("L3", "security/data-breach")
        await pipeline.act(ticket.key, "ack", SYSTEM, now=NOW + 1)
        await pipeline.act(ticket.key, "resolve", SYSTEM, now=NOW + 2)
        assert await messages(pipeline) == []
        names = {s.name for f in pipeline._telemetry.registry.collect() for s in f.samples if s.value
                 and f.name.startswith("detector_incident")}  # fmt: skip
        assert not {name for name in names if not name.endswith("_created")}


async def test_a_report_is_told_and_pages_nobody() -> None:
    async with rows() as pipeline:
        await pipeline.report(Report("nothing loads", NOW, kind="incident"))
        assert await messages(pipeline) == [("ops", "opened", "notify", "pending")]


async def test_escalating_pages_the_tier_that_gets_it() -> None:
    routes = (Route("first", tiers=("L2",)), Route("experts", tiers=("L3",)))
    async with rows(routes=routes) as pipeline:
        await pipeline.step([symptom(left=5 * HOUR, labels={"s": "x"})], [], NOW)
        await pipeline.step([], [alert(labels={"severity": "critical", "service": "storage"})], NOW)
        assert (await pipeline.desk.ticket("INC-1", SYSTEM)).tier == "L3"  # type: ignore[union-attr]
    async with rows(routes=routes) as pipeline:
        await pipeline.step([symptom(left=5 * HOUR)], [], NOW)
        await pipeline.act("INC-1", "ack", BO, now=NOW + 1)
        await pipeline.act("INC-1", "escalate", BO, now=NOW + 2, tier="L3", summary="restarted, did not help")
        assert [m[:2] for m in await messages(pipeline)] == [("experts", "worse")]


@pytest.mark.parametrize(("action", "arguments"), [("resolve", {"force": True}), ("merge", {"into": "INC-2"})])
async def test_whoever_was_told_hears_that_it_is_over_whatever_its_route_says_now(
    action: str, arguments: dict[str, Any]
) -> None:
    async with rows(routes=(Route("pager", ("page",)), Route("quiet", send_resolved=False))) as pipeline:
        await pipeline.step([symptom("a", left=30 * MINUTE), symptom("b", service="other", left=9 * HOUR)], [], NOW)
        await sent(pipeline, "pager", NOW)
        await sent(pipeline, "quiet", NOW)
        await pipeline.act("INC-1", action, BO, now=NOW + 1, **arguments)
        ends = [m[:2] for m in await messages(pipeline) if m[1] == "resolved"]
        assert ends == [("pager", "resolved")]


async def test_it_is_over_waits_for_it_began() -> None:
    """A receiver must never see the resolve before the trigger."""
    async with rows(routes=(Route("chat", ("notify",)),)) as pipeline:
        disk = symptom(left=9 * HOUR)
        await pipeline.step([disk], [], NOW)
        outbox = Outbox(pipeline.desk)
        first = await outbox.claim("chat", NOW, MINUTE)
        assert first is not None
        await pipeline.step([replace(disk, active=False)], [], NOW + 1)
        await pipeline.tick(NOW + 11 * MINUTE)
        second = await outbox.claim("chat", NOW + 30_000, MINUTE)
        assert second is None, "the lease of the first has not ended"
        again = await outbox.claim("chat", NOW + 12 * MINUTE, MINUTE)
        assert again is not None
        assert again.idempotency_key == first.idempotency_key


async def test_in_mode_ticket_nothing_pages_whatever_the_priority() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE, detector="group", kind="group")], [], NOW)
        ticket = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert (ticket.mode, ticket.priority) == ("ticket", "P2")
        assert {m[2] for m in await messages(pipeline)} == {"notify"}


async def test_a_page_that_fails_after_the_acknowledgement_is_not_tried_again() -> None:
    from detector.nouns import Retry

    async with rows() as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        outbox = Outbox(pipeline.desk)
        page = await outbox.claim("ops", NOW, MINUTE)
        assert page is not None
        await pipeline.act("INC-1", "ack", BO, now=NOW + 1)
        await outbox.settle(page.id, Retry(NOW + MINUTE, "timeout"), NOW + 2)
        following = await outbox.claim("ops", NOW + HOUR, MINUTE)
        assert following is not None
        assert following.event == "acknowledged"
