"""At any hour, and by business hours where a calendar is named; clocks that stand still at night say why."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from detector.nouns import Report, Reporter
from detector.oncall.options import OnCallOptions
from detector.tickets.options import TicketOptions
from detector.worktime import after, worked
from tests.process.conftest import POLICY, Desk
from tests.rows import DAY, HOUR, MINUTE, symptom

OFFICE = {
    "calendars": {"office": {"zone": "Europe/Berlin", "holidays": ["2026-11-23"]}}, "calendar": {"P3": "office"}
}  # fmt: skip


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def by_office_hours(desk: Desk, moment: str) -> None:
    desk.pipeline.set_policy(replace(POLICY, tickets=TicketOptions.model_validate({"clocks": OFFICE})))
    desk.now = at(moment)


async def reported(desk: Desk) -> None:
    report = Report("The mail is slow", desk.now, Reporter("Kim", "kim@example.org"), service="mail")
    await desk.pipeline.report(report)


async def due(desk: Desk, name: str) -> int:
    return next(clock.due_at for clock in (await desk.ticket()).clocks if clock.name == name)


async def test_P02_a_calendar_that_is_named_counts_working_time_and_no_other_priority_is_touched(desk: Desk) -> None:
    by_office_hours(desk, "2026-11-20T16:00:00+01:00")  # a Friday; Monday is a holiday
    await reported(desk)
    assert (await desk.ticket()).priority == "P3"
    assert await due(desk, "response") == at("2026-11-24T10:00:00+01:00")
    assert await due(desk, "resolution") == at("2026-11-26T16:00:00+01:00")
    opened = desk.now
    await desk.act("prioritise", priority="P2", reason="more are hit")
    assert await due(desk, "response") == opened + 90 * MINUTE
    await desk.act("prioritise", priority="P3", reason="fewer are hit")
    assert await due(desk, "response") == at("2026-11-24T10:00:00+01:00")


async def test_P26_a_clock_of_working_hours_warns_in_them_and_stands_still_for_what_is_waited_for(desk: Desk) -> None:
    by_office_hours(desk, "2026-11-20T16:00:00+01:00")
    await reported(desk)
    warns = next(clock.warn_at for clock in (await desk.ticket()).clocks if clock.name == "response")
    assert warns == at("2026-11-24T09:30:00+01:00")
    before = await due(desk, "resolution")
    await desk.act("wait", reason="user", text="which mailbox?")
    paused = desk.now
    await desk.pass_time(at("2026-11-24T11:00:00+01:00") - desk.now)
    assert (await desk.clock("response"))[0] == "breached"
    await desk.act("resume")
    # Waited from Friday afternoon to Tuesday 11:00: of that, three hours of working time.
    calendar = TicketOptions.model_validate({"clocks": OFFICE}).clocks.calendars["office"]
    stood = worked(calendar, paused, desk.now)
    assert round(stood / HOUR) == 3
    assert await due(desk, "resolution") == after(calendar, before, stood)


async def test_P26_the_response_clock_stands_still_while_a_prediction_waits_for_the_day(desk: Desk) -> None:
    oncall = OnCallOptions.model_validate({"working_hours": {"zone": "Europe/Berlin"}})
    desk.pipeline.set_policy(replace(POLICY, oncall=oncall))
    desk.now = at("2026-11-20T02:00:00+01:00")
    await desk.pipeline.step([symptom(service="shop", onset=desk.now, left=20 * HOUR)], [], desk.now)
    assert (await desk.ticket()).tier == "L2"
    assert (await desk.clock("response"))[0] == "paused"
    await desk.pass_time(6 * HOUR)
    assert (await desk.ticket()).tier == "L2", "no target was missed in the night"
    assert [e.data["reason"] for e in await desk.timeline() if e.what == "page-deferred"], "and the reason is on record"
    await desk.pass_time(HOUR)
    assert await due(desk, "response") == at("2026-11-20T09:15:00+01:00")
    assert await desk.told("l2") == ["opened", "the day shift has begun"]
    await desk.pass_time(DAY)
    assert (await desk.clock("response"))[0] == "breached"
