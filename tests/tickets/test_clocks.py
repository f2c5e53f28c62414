"""Clocks by working hours: due and warning times against looking at every minute."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.nouns import ClockStarted, Ticket
from detector.tickets.clocks import clocks
from detector.tickets.options import ClockOptions
from tests.rows import HOUR, MINUTE
from tests.test_worktime import at, open_at

OPTIONS = ClockOptions.model_validate(
    {
        "resolution": {"P1": "1h", "P2": "5h", "P3": "9h", "P4": "20h"},
        "calendars": {"office": {"zone": "Europe/Berlin", "holidays": ["2026-10-26"]}},
        "calendar": {"P2": "office", "P3": "office", "P4": "office"},
    }
)
HOURS = OPTIONS.calendars["office"]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["2026-10-23T12:00:00+02:00", "2027-03-26T12:00:00+01:00", "2028-02-28T12:00:00+01:00"]),
    st.integers(0, 2000),
    st.sampled_from(["P2", "P3", "P4"]),
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), max_size=3),
)
def test_due_and_warning_are_where_the_minutes_say(
    start: str, skip: int, priority: Any, gaps: list[tuple[int, int]]
) -> None:
    opened = at(start) + skip * MINUTE
    still, cursor = [], opened
    for gap, length in gaps:
        still.append((cursor + gap * MINUTE, cursor + (gap + length) * MINUTE))
        cursor = still[-1][1]
    ticket = Ticket("INC-1", 1, "incident", "triaged", "detected", "s", opened, "page", still=tuple(still))
    started = {c.clock: c for c in clocks(ticket, priority, "other", OPTIONS, opened) if isinstance(c, ClockStarted)}
    left = OPTIONS.resolution.of(priority) // MINUTE
    quarter = left // 4
    minute, worked = opened, []
    while len(worked) < left:
        if open_at(HOURS, minute, frozenset(HOURS.holidays)) and not any(a <= minute < b for a, b in still):
            worked.append(minute)
        minute += MINUTE
    assert started["resolution"].due_at == worked[-1] + MINUTE
    calendar = [m for m in range(opened - 9 * 24 * HOUR, worked[-1] + MINUTE, MINUTE) if _open(m)]
    assert started["resolution"].warn_at == calendar[-quarter]


def _open(minute: int) -> bool:
    return open_at(HOURS, minute, frozenset(HOURS.holidays))


def test_without_a_calendar_a_clock_runs_at_any_hour() -> None:
    opened = round(datetime(2026, 11, 21, 3, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
    ticket = Ticket("INC-1", 1, "incident", "triaged", "detected", "s", opened, "page", paused_ms=MINUTE)
    started = {c.clock: c for c in clocks(ticket, "P1", "other", OPTIONS, opened) if isinstance(c, ClockStarted)}
    assert started["resolution"].due_at == opened + HOUR + MINUTE


def test_a_calendar_that_nobody_described_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="P3 is counted by 'office'; calendars has none"):
        ClockOptions.model_validate({"calendar": {"P3": "office"}})
