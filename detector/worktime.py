"""Working time: when a team is at work, and how much of its time lies between two moments. Pure; times are ms (UTC).

The hours are wall times of the team's zone. When the clocks change: a window opens at the first occurrence of a wall
time that comes twice and shuts at the last; a wall time that does not exist is the moment an hour later by the clock.
Days of holiday are those of the zone, too; a window over midnight belongs to the day on which it opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from detector.options import Options

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
MIDNIGHT = time(0)
DAY = 86_400_000
LONGEST = 3 * 366
"""Days that are looked through for working time; a calendar without any in three years has none."""
Span = tuple[int, int]
_WALL = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _wall(value: Any) -> time:
    match = _WALL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a time of the day is written "09:00", in quotes')
    return time(int(match[1]), int(match[2]))


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one such as UTC or Europe/Berlin") from None
    return name


def _country(text: str) -> str:
    import holidays

    country, _, part = text.partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise ValueError(f"{text!r} is no country with known holidays; write its two letters, such as DE or DE-BY")
    if part and part not in known[country]:
        raise ValueError(f"{country} has no part {part!r}; it has {', '.join(known[country]) or 'none'}")
    return text


Wall = Annotated[time, BeforeValidator(_wall), WithJsonSchema({"type": "string", "pattern": _WALL.pattern})]
Zone = Annotated[str, AfterValidator(_zone)]


class WorkingHours(Options):
    """When a team is at work."""

    zone: Zone = "UTC"
    days: tuple[Weekday, ...] = Field(("mon", "tue", "wed", "thu", "fri"), min_length=1)
    hours: tuple[Wall, Wall] = (time(9), time(17))
    """From and to, over midnight where the second is the earlier; the same twice: around the clock."""
    holidays: tuple[date, ...] = ()
    country: Annotated[str, AfterValidator(_country)] | None = None
    """Its public holidays are free as well: DE, or DE-BY for a part of it."""


def instant(day: date, wall: time, zone: tzinfo, *, last: bool = False) -> int:
    """The moment (ms) of a wall time: its first occurrence, or its last."""
    first, second = (round(datetime.combine(day, wall, zone).replace(fold=fold).timestamp() * 1000) for fold in (0, 1))
    # Where the time does not exist, fold 1 is the earlier moment: both ends of a turn take the same, later one.
    return second if last and second > first else first


def local_day(at: int, zone: tzinfo) -> date:
    """The day that it is in ``zone``."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()


def opening(day: date, hours: tuple[time, time], zone: tzinfo) -> Span:
    """The window of ``hours`` that opens on ``day``, over midnight where the second is not the later."""
    begin, end = hours
    until = day + timedelta(1) if end <= begin else day
    return instant(day, begin, zone), instant(until, end, zone, last=True)


@cache
def _holidays(country: str, year: int) -> frozenset[date]:
    import holidays

    code, _, part = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))


def works_on(calendar: WorkingHours, day: date) -> bool:
    """Whether a window opens on ``day``."""
    if WEEKDAYS[day.weekday()] not in calendar.days or day in calendar.holidays:
        return False
    return calendar.country is None or day not in _holidays(calendar.country, day.year)


def windows(calendar: WorkingHours, start: int, end: int) -> Iterator[Span]:
    """The spans of working time that touch ``start`` to ``end``, in their order, none overlapping another."""
    zone = ZoneInfo(calendar.zone)
    day, last = local_day(start, zone) - timedelta(2), local_day(end, zone) + timedelta(1)
    open_until: Span | None = None
    while day <= last:
        if works_on(calendar, day):
            low, high = opening(day, calendar.hours, zone)
            if open_until is not None and low <= open_until[1]:
                open_until = (open_until[0], max(high, open_until[1]))
            else:
                if open_until is not None and open_until[1] > start:
                    yield open_until
                open_until = (low, high)
        day += timedelta(1)
    if open_until is not None and open_until[1] > start and open_until[0] <= end:
        yield open_until


def is_open(calendar: WorkingHours, at: int) -> bool:
    """Whether ``at`` is working time."""
    return any(low <= at < high for low, high in windows(calendar, at, at))


def next_open(calendar: WorkingHours, at: int) -> int | None:
    """The first moment of working time from ``at`` on; None where there is none in three years."""
    for low, high in _ahead(calendar, at):
        if high > at:
            return max(low, at)
    return None


def shuts(calendar: WorkingHours, at: int) -> int | None:
    """When the working time that holds ``at`` ends; None outside of it, or where it never ends."""
    for low, high in windows(calendar, at, at + 15 * DAY):
        if low <= at < high:
            return high if high <= at + 14 * DAY else None
    return None


def worked(calendar: WorkingHours, start: int, end: int, without: Sequence[Span] = ()) -> int:
    """Working time (ms) between two moments, ``without`` the pauses (in their order, none overlapping another)."""
    return sum(high - low for low, high in _counted(windows(calendar, start, end), start, end, without))


def after(calendar: WorkingHours, start: int, amount: int, without: Sequence[Span] = ()) -> int:
    """The moment at which ``amount`` ms of working time have passed since ``start``; the end of what is looked through
    where there is not so much."""
    left = amount
    far = start + LONGEST * DAY
    if left <= 0:
        return start
    for low, high in _counted(_ahead(calendar, start), start, far, without):
        if high - low >= left:
            return low + left
        left -= high - low
    return far


def before(calendar: WorkingHours, end: int, amount: int) -> int:
    """The moment from which ``amount`` ms of working time are left until ``end``."""
    left = amount
    for back in range(LONGEST // 30 + 1):
        high_at, low_at = end - back * 30 * DAY, end - (back + 1) * 30 * DAY
        for low, high in reversed(list(windows(calendar, low_at, high_at))):
            low, high = max(low, low_at), min(high, high_at)
            if high - low >= left:
                return high - left
            left -= max(0, high - low)
    return end - LONGEST * DAY


def _ahead(calendar: WorkingHours, start: int) -> Iterator[Span]:
    """Windows from ``start`` on, a month at a time, so that what is near costs little; cut at the months' ends."""
    for month in range(LONGEST // 30 + 1):
        low_at, high_at = start + month * 30 * DAY, start + (month + 1) * 30 * DAY
        for low, high in windows(calendar, low_at, high_at):
            if max(low, low_at) < min(high, high_at):
                yield max(low, low_at), min(high, high_at)


def _counted(spans: Iterator[Span], start: int, end: int, without: Sequence[Span]) -> Iterator[Span]:
    """The parts of ``spans`` inside ``start`` to ``end`` and outside the pauses."""
    for low, high in spans:
        at, high = max(low, start), min(high, end)
        for paused, resumed in without:
            if resumed <= at:
                continue
            if paused >= high:
                break
            if paused > at:
                yield at, paused
            at = max(at, resumed)
        if at < high:
            yield at, high


__all__ = [
    "MIDNIGHT", "WEEKDAYS", "Wall", "Weekday", "WorkingHours", "Zone", "after", "before", "instant", "is_open",
    "local_day", "next_open", "opening", "shuts", "windows", "worked", "works_on",
]  # fmt: skip
