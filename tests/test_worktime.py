"""Working time against a slow and obvious reference: every minute is looked at by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.worktime import WEEKDAYS, WorkingHours, after, before, is_open, next_open, shuts, windows, worked

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def calendar(**options: Any) -> WorkingHours:
    return WorkingHours.model_validate({"zone": "Europe/Berlin"} | options)


@cache
def occurrences(zone: str, day: date, wall: time) -> list[int]:
    """Every minute of UTC at which a clock in ``zone`` shows this; an hour later where it never does."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = []
    for minute in range(-15 * 60, 39 * 60):
        utc = midnight + timedelta(minutes=minute)
        local = utc.astimezone(ZoneInfo(zone))
        if local.date() == day and local.time() == wall:
            found.append(round(utc.timestamp() * 1000))
    return found or occurrences(zone, day, (datetime.combine(day, wall) + timedelta(hours=1)).time())


def open_at(hours: WorkingHours, minute: int, free: frozenset[date]) -> bool:
    today = datetime.fromtimestamp(minute / 1000, ZoneInfo(hours.zone)).date()
    begin, end = hours.hours
    for day in (today - timedelta(1), today):
        if WEEKDAYS[day.weekday()] not in hours.days or day in free:
            continue
        until = day + timedelta(1) if end <= begin else day
        opens, closes = occurrences(hours.zone, day, begin), occurrences(hours.zone, until, end)
        if min(opens) <= minute < max(closes):
            return True
    return False


calendars = st.fixed_dictionaries(
    {
        "zone": st.sampled_from(["Europe/Berlin", "UTC", "America/St_Johns", "America/Havana"]),
        "days": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True),
        "hours": st.sampled_from(
            [["09:00", "17:00"], ["22:00", "06:00"], ["00:00", "00:00"], ["02:30", "03:00"], ["23:30", "02:30"]]
        ),
        "holidays": st.lists(
            st.sampled_from(["2026-10-25", "2026-10-26", "2027-03-29", "2028-02-29", "2026-12-25"]), max_size=3
        ),
    }
)
starts = st.sampled_from(
    ["2026-10-24T18:00:00+00:00", "2027-03-27T18:00:00+00:00", "2028-02-28T10:00:00+00:00", "2026-12-24T15:00:00+00:00",
     "2026-11-01T00:00:00+00:00", "2027-03-13T20:00:00+00:00"]
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(calendars, starts, st.integers(0, 600), st.integers(1, 3 * 24 * 60), st.data())
def test_it_is_as_looking_at_every_minute_says(
    options: dict[str, Any], start: str, skip: int, length: int, data: st.DataObject
) -> None:
    hours = WorkingHours.model_validate(options)
    free = frozenset(hours.holidays)
    low = at(start) + skip * MINUTE
    high = low + length * MINUTE
    minutes = [minute for minute in range(low, high, MINUTE) if open_at(hours, minute, free)]
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=4, unique=True)))
    pauses = [(low + a * MINUTE, low + b * MINUTE) for a, b in list(pairwise(cuts))[::2]]
    counted = [m for m in minutes if not any(a <= m < b for a, b in pauses)]
    assert worked(hours, low, high) == len(minutes) * MINUTE
    assert worked(hours, low, high, pauses) == len(counted) * MINUTE
    assert is_open(hours, low) == open_at(hours, low, free)
    if minutes:
        assert next_open(hours, low) == minutes[0]
        assert before(hours, high, len(minutes) * MINUTE) == minutes[0]
        closes = shuts(hours, minutes[0])
        after_ = next((m for m in range(minutes[0], high, MINUTE) if not open_at(hours, m, free)), None)
        assert closes == after_ or after_ is None
    for number, minute in list(enumerate(counted, 1))[:: max(1, len(counted) // 5)]:
        assert after(hours, low, number * MINUTE, pauses) == minute + MINUTE
        assert after(hours, low, number * MINUTE - 1, pauses) == minute + MINUTE - 1
    found = list(windows(hours, low, high))
    assert all(one[1] < other[0] for one, other in pairwise(found)), "in their order, none touching another"


def test_a_working_day_on_which_the_clocks_change_has_an_hour_less_or_more() -> None:
    around = calendar(days=["sun"], hours=["00:00", "06:00"])
    assert worked(around, at("2027-03-28T00:00:00+01:00"), at("2027-03-29T00:00:00+02:00")) == 5 * HOUR
    assert worked(around, at("2026-10-25T00:00:00+02:00"), at("2026-10-26T00:00:00+01:00")) == 7 * HOUR


def test_public_holidays_of_a_country_and_of_a_part_of_it_are_free() -> None:
    epiphany = at("2027-01-06T12:00:00+01:00")
    assert is_open(calendar(country="DE"), epiphany)
    assert not is_open(calendar(country="DE-BY"), epiphany)
    assert next_open(calendar(country="DE"), at("2026-12-24T18:00:00+01:00")) == at("2026-12-28T09:00:00+01:00")


def test_where_nobody_ever_works_it_says_so_and_ends() -> None:
    never = calendar(days=["mon"], holidays=[str(date(2026, 11, 2) + timedelta(7 * n)) for n in range(200)])
    now = at("2026-11-02T00:00:00+01:00")
    assert next_open(never, now) is None
    assert after(never, now, HOUR) > now + 1000 * DAY


def test_around_the_clock_is_plain_time() -> None:
    always = calendar(days=list(WEEKDAYS), hours=["00:00", "00:00"])
    now = at("2026-10-20T12:34:00+02:00")
    assert after(always, now, 30 * DAY) == now + 30 * DAY
    assert before(always, now, 100 * DAY) == now - 100 * DAY
    assert shuts(always, now) is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"country": "Germany"}, "'Germany' is no country with known holidays; write its two letters"),
        ({"country": "DE-XX"}, "DE has no part 'XX'; it has"),
        ({"zone": "Mars"}, "'Mars' is no time zone"),
        ({"hours": ["9", "17:00"]}, 'a time of the day is written "09:00"'),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        WorkingHours.model_validate(options)
