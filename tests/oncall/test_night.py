"""Nobody is woken for tomorrow: what waits for the day shift, until when, and what does not wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.notify.messages import sentence
from detector.nouns import SYSTEM, Impact, PageDeferred, PageReleased, Sent, Ticket, Viewer
from detector.oncall import night
from detector.oncall.options import OnCallOptions
from detector.oncall.policy import calls
from detector.pipeline import Pipeline, Policy
from detector.tickets.options import TicketOptions
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from detector.worktime import WorkingHours
from tests.rows import DAY, HOUR, MINUTE, rows, symptom

OFFICE = WorkingHours.model_validate({"zone": "Europe/Berlin"})
FIX = {"capacity/disk": 3 * HOUR, "other": HOUR}


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NIGHT = at("2026-11-03T02:00:00+01:00")
MORNING = at("2026-11-03T09:00:00+01:00")


def ticket(earliest: int | None, **values: Any) -> Ticket:
    impact = Impact(earliest, earliest + HOUR, earliest + 2 * HOUR) if earliest is not None else None
    defaults: dict[str, Any] = {
        "phase": "predicted", "priority": "P2", "category": "capacity/disk", "impact": impact, "mode": "page",
    }  # fmt: skip
    facts = {"state": "triaged"} | defaults | values
    return Ticket("INC-1", 1, "incident", source="detected", service="db", opened_at=NIGHT, **facts)


def test_it_waits_where_the_day_shift_has_the_usual_time_and_pages_where_it_has_not() -> None:
    (waits,) = night.decide(ticket(MORNING + 3 * HOUR), OFFICE, FIX, NIGHT)
    assert isinstance(waits, PageDeferred)
    assert (waits.until, waits.wakes_at) == (MORNING, MORNING)
    assert night.decide(ticket(MORNING + 3 * HOUR - 1), OFFICE, FIX, NIGHT) == []


@pytest.mark.parametrize(
    ("one", "now"),
    [
        (ticket(NIGHT + DAY), MORNING),
        (ticket(None), NIGHT),
        (ticket(NIGHT + DAY, priority="P3"), NIGHT),
        (ticket(NIGHT + DAY, phase="disrupting"), NIGHT),
        (ticket(NIGHT + DAY, acknowledged_at=NIGHT), NIGHT),
        (ticket(NIGHT + DAY, mode="ticket"), NIGHT),
        (ticket(NIGHT + DAY, state="resolved"), NIGHT),
        (ticket(NIGHT + DAY, muted_since=NIGHT), NIGHT),
    ],
    ids=["by day", "nobody knows when", "pages nobody", "hurts now", "held", "never pages", "over", "muted"],
)
def test_what_does_not_wait(one: Ticket, now: int) -> None:
    assert night.decide(one, OFFICE, FIX, now) == []


def test_without_working_hours_there_is_no_night() -> None:
    assert night.decide(ticket(NIGHT + 9 * DAY), None, FIX, NIGHT) == []


def test_a_weekend_and_a_holiday_are_night_as_well() -> None:
    holiday = WorkingHours.model_validate({"zone": "Europe/Berlin", "holidays": ["2026-11-09"]})
    saturday = at("2026-11-07T12:00:00+01:00")
    (waits,) = night.decide(ticket(saturday + 4 * DAY), holiday, FIX, saturday)
    assert isinstance(waits, PageDeferred)
    assert waits.until == at("2026-11-10T09:00:00+01:00")


def test_a_forecast_that_wavers_says_nothing_and_one_that_comes_near_pages() -> None:
    waiting = ticket(NIGHT + 2 * DAY, deferred_since=NIGHT, deferred_until=MORNING, wakes_at=NIGHT + 2 * DAY - 3 * HOUR)
    assert night.decide(waiting, OFFICE, FIX, NIGHT + HOUR) == []
    later = replace(waiting, impact=Impact(NIGHT + 3 * DAY, NIGHT + 4 * DAY, NIGHT + 5 * DAY))
    (moved,) = night.decide(later, OFFICE, FIX, NIGHT + HOUR)
    assert isinstance(moved, PageDeferred)
    near = replace(waiting, impact=Impact(MORNING, MORNING + HOUR, MORNING + DAY))
    (paged,) = night.decide(near, OFFICE, FIX, NIGHT + HOUR)
    assert isinstance(paged, PageReleased)
    assert paged.reason == "it is expected before the day shift could fix it"


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        ({"resolution": "fixed"}, "needed"),
        ({"resolution": "prevented"}, "needed"),
        ({"resolution": "self-recovered", "disrupted_at": NIGHT}, "needed"),
        ({"resolution": "self-recovered"}, "avoidable"),
        ({"resolution": "false-alarm", "disrupted_at": NIGHT}, "avoidable"),
        ({"resolution": "not-worth-waking"}, "avoidable"),
        ({"resolution": "unknown"}, None),
        ({"resolution": "duplicate"}, None),
    ],
)
def test_whether_a_wake_was_needed(facts: dict[str, Any], result: str | None) -> None:
    assert night.wake(ticket(None, **facts)) == result


# --- on the desk ------------------------------------------------------------------------------------------------------

ONCALL = OnCallOptions.model_validate(
    {
        "people": [{"name": "ann", "channels": ["ann"]}],
        "policies": [{"name": "all", "steps": [{"person": "ann"}], "repeat": 2}],
        "working_hours": {"zone": "Europe/Berlin"},
    }
)
SHOP = Catalogue(CatalogueOptions.model_validate({"services": [{"name": "shop", "criticality": "high"}]}))
POLICY = Policy(SHOP, oncall=ONCALL, tickets=TicketOptions.model_validate({"usual_fix": {"capacity/disk": "3h"}}))
ROUTES = (Route("pager", ("page",)), Route("chat", ("notify",)))


async def told(pipeline: Pipeline, channel: str, now: int) -> list[str]:
    outbox, found = Outbox(pipeline.desk), []
    while (message := await outbox.claim(channel, now, MINUTE)) is not None:
        found.append(message.reason)
        await outbox.settle(message.id, Sent("r"), now)
    return found


def full(left: int, onset: int = NIGHT, **values: Any) -> Any:
    return symptom(service="shop", onset=onset, left=left, **values)


async def world(pipeline: Pipeline) -> None:
    pipeline.desk.calls = lambda ticket, now, who="": calls(ticket, ONCALL, now, who)


async def test_at_night_it_is_said_quietly_and_pages_in_the_morning() -> None:
    async with rows(POLICY, ROUTES) as pipeline:
        await world(pipeline)
        await pipeline.step([full(20 * HOUR)], [], NIGHT)
        assert await told(pipeline, "chat", NIGHT) == ["opened"]
        assert await told(pipeline, "pager", NIGHT) == await told(pipeline, "ann", NIGHT) == []
        waiting = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert waiting is not None
        assert (waiting.deferred_until, waiting.wakes_at) == (MORNING, NIGHT + 16 * HOUR - 3 * HOUR)
        assert next(c.state for c in waiting.clocks if c.name == "response") == "paused"
        assert (await pipeline.desk.due(MORNING))[0] == ["INC-1"], "the due time is stored"
        await pipeline.tick(MORNING - 1)
        assert await told(pipeline, "pager", MORNING) == []
        await pipeline.tick(MORNING)
        assert await told(pipeline, "pager", MORNING) == ["the day shift has begun"]
        assert await told(pipeline, "ann", MORNING) == ["the day shift has begun; ann is on call"]
        paging = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert paging is not None
        clock = next(c for c in paging.clocks if c.name == "response")
        assert (clock.state, clock.due_at) == ("running", MORNING + 15 * MINUTE)
        said = [sentence(e) for e in await pipeline.desk.timeline("INC-1", SYSTEM)]
        assert any("Nobody is woken for it" in one and "it would wake somebody from" in one for one in said)
        assert "It pages: the day shift has begun" in said


async def test_a_forecast_that_comes_nearer_pages_in_the_same_night() -> None:
    async with rows(POLICY, ROUTES) as pipeline:
        await world(pipeline)
        far = full(20 * HOUR)
        await pipeline.step([far], [], NIGHT)
        near = replace(far, last_at=NIGHT + HOUR, impact=Impact(NIGHT + 5 * HOUR, NIGHT + 6 * HOUR, NIGHT + 8 * HOUR))
        await pipeline.step([near], [], NIGHT + HOUR)
        assert len(await told(pipeline, "ann", NIGHT + HOUR)) == 1


async def test_users_that_are_hurt_are_told_at_once() -> None:
    async with rows(POLICY, ROUTES) as pipeline:
        await world(pipeline)
        await pipeline.step([full(20 * HOUR)], [], NIGHT)
        hurting = full(0, onset=NIGHT + HOUR, disruption=True, detector="rule")
        await pipeline.step([hurting], [], NIGHT + HOUR)
        assert await told(pipeline, "ann", NIGHT + HOUR) == ["users are hurt now; ann is on call"]
        now = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert now is not None
        assert now.deferred_since is None


async def test_what_paged_by_day_and_nobody_took_stops_when_the_night_begins_and_goes_on_by_day() -> None:
    evening = at("2026-11-03T16:50:00+01:00")
    async with rows(POLICY, ROUTES) as pipeline:
        await world(pipeline)
        await pipeline.step([full(24 * HOUR, onset=evening)], [], evening)
        assert len(await told(pipeline, "ann", evening)) == 1
        await pipeline.tick(evening + 10 * MINUTE)
        assert await told(pipeline, "ann", evening + 3 * HOUR) == [], "the policy's next rounds have ended"
        morning = at("2026-11-04T09:00:00+01:00")
        await pipeline.tick(morning)
        assert len(await told(pipeline, "ann", morning)) == 1


async def test_who_takes_it_at_night_has_it_and_the_morning_is_quiet() -> None:
    async with rows(POLICY, ROUTES) as pipeline:
        await world(pipeline)
        await pipeline.step([full(20 * HOUR)], [], NIGHT)
        taken = await pipeline.act("INC-1", "ack", Viewer("ann"), now=NIGHT + HOUR)
        assert taken.deferred_since is None
        await pipeline.tick(MORNING)
        assert await told(pipeline, "ann", MORNING) == []
