"""iCalendar (RFC 5545): shifts out, for the calendars of people; fixed shifts in, from a file.

Of what comes in, an event's summary is the person. Times without a zone, and whole days, are in the schedule's zone.
What recurs (daily or slower) is laid out for the time asked for, at the same wall time; single dates that are left out
or moved are as the file says. Cancelled events are no shifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from icalendar import Calendar, Event
from icalendar.prop import vRecur

from detector.oncall.options import Layer, OnCallOptions, Override, Schedule
from detector.oncall.schedule import Shift, ms_of, shifts
from detector.worktime import DAY

AHEAD = 90 * DAY
"""ms of shifts that a calendar holds."""
READ_BACK, READ_AHEAD = 62 * DAY, 400 * DAY
"""ms around now for which what recurs is laid out; a reload lays it out anew."""
MAX_BYTES = 1024 * 1024
MOST = 1000
_EVERY = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})


def calendar(name: str, found: Iterable[tuple[str, Shift]], now: int) -> bytes:
    """An iCalendar of shifts, each with its schedule; the same shift keeps its UID as long as it begins then."""
    made = Calendar()
    made.add("prodid", "-//proactive-detector//on call//EN")
    made.add("version", "2.0")
    made.add("x-wr-calname", f"On call: {name}")
    for schedule, shift in found:
        for who in shift.people:
            event = Event()
            event.add("uid", f"{shift.start}.{schedule}.{who}@detector")
            event.add("dtstamp", _moment(now))
            event.add("dtstart", _moment(shift.start))
            event.add("dtend", _moment(shift.end))
            event.add("summary", who)
            event.add("description", f"On call for {schedule}.")
            event.add("transp", "TRANSPARENT")
            made.add_component(event)
    raw: bytes = made.to_ical()
    return raw


def of_schedule(schedule: Schedule, now: int) -> list[tuple[str, Shift]]:
    """The next ninety days of it, without gaps."""
    return [(schedule.name, shift) for shift in shifts(schedule, now, now + AHEAD) if shift.people]


def of_person(options: OnCallOptions, who: str, now: int) -> list[tuple[str, Shift]]:
    """The next ninety days of a person, over all schedules."""
    return [
        (schedule.name, Shift(shift.start, shift.end, (who,)))
        for schedule in options.schedules
        for shift in shifts(schedule, now, now + AHEAD)
        if who in shift.people
    ]


def with_files(options: OnCallOptions, folder: Path, now: int) -> tuple[OnCallOptions, tuple[Path, ...]]:
    """The options with the shifts that their iCalendar files hold, and those files; a ValueError names schedule, file,
    event and remedy."""
    paths: list[Path] = []
    people = {person.name for person in options.people}

    def filled(schedule: Schedule, layer: Layer) -> Layer:
        if layer.ical_file is None:
            return layer
        path = folder / layer.ical_file
        paths.append(path)
        try:
            found = read(_bytes(path), ZoneInfo(schedule.zone), now - READ_BACK, now + READ_AHEAD)
            if unknown := sorted({shift.who for shift in found} - people):
                names = ", ".join(unknown)[:200]
                raise ValueError(f"{names} is not among people: an event's summary is a person's name")
        except ValueError as error:
            raise ValueError(f"schedule {schedule.name}: {path}: {error}") from None
        return layer.model_copy(update={"shifts": tuple(found)})

    schedules = tuple(
        schedule.model_copy(update={"layers": tuple(filled(schedule, layer) for layer in schedule.layers)})
        for schedule in options.schedules
    )
    return options.model_copy(update={"schedules": schedules}), tuple(paths)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes: export fewer days")
    return raw


def read(raw: bytes, zone: tzinfo, start: int, end: int) -> list[Override]:
    """The shifts of a file that touch ``start`` to ``end`` (ms), by their beginning."""
    try:
        events = [event for found in Calendar.from_ical(raw, multiple=True) for event in found.walk("VEVENT")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no iCalendar: {str(error)[:200]}") from None
    moved: dict[str, set[int]] = {}
    for event in events:
        if "RECURRENCE-ID" in event:
            at = _at(event.decoded("RECURRENCE-ID"), zone)
            moved.setdefault(str(event.get("UID", "")), set()).add(ms_of(at))
    found: list[Override] = []
    for event in events:
        who = " ".join(str(event.get("SUMMARY", "")).split())
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        try:
            found += _shifts(event, who, zone, (start, end), moved.get(str(event.get("UID", "")), set()))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"event {who[:80]!r}: {str(error)[:200]}") from None
        if len(found) > MOST:
            raise ValueError(f"it holds more than {MOST} shifts: export fewer days")
    return sorted(found, key=lambda shift: (shift.start, shift.who))


def _shifts(event: Any, who: str, zone: tzinfo, span: tuple[int, int], moved: set[int]) -> Iterator[Override]:
    if not who:
        raise ValueError("it has no summary: write the person's name there")
    first, last = _bounds(event, zone)
    if "RRULE" not in event or "RECURRENCE-ID" in event:
        starts: Iterable[datetime] = [first]
    else:
        starts = _repeated(event, first, last - first, span)
    left_out = moved if "RECURRENCE-ID" not in event else set()
    left_out = left_out | {ms_of(_at(at, zone)) for at in _exceptions(event)}
    # Wall time: a shift from 9 to 9 is 23 or 25 hours long where the clocks change.
    length = last.replace(tzinfo=None) - first.astimezone(last.tzinfo).replace(tzinfo=None)
    for begins in starts:
        ends = last if begins == first else (begins.replace(tzinfo=None) + length).replace(tzinfo=begins.tzinfo)
        if ms_of(begins) not in left_out and ms_of(ends) > span[0] and ms_of(begins) < span[1]:
            yield Override(who=who, start=begins, end=ends)


def _bounds(event: Any, zone: tzinfo) -> tuple[datetime, datetime]:
    if "DTSTART" not in event:
        raise ValueError("it has no DTSTART")
    begins = event.decoded("DTSTART")
    first = _at(begins, zone)
    if "DTEND" in event:
        return first, _at(event.decoded("DTEND"), zone)
    if "DURATION" in event:
        return first, first + event.decoded("DURATION")
    if isinstance(begins, datetime):
        raise ValueError("it has neither DTEND nor DURATION")
    return first, _at(begins + timedelta(1), zone)


def _repeated(event: Any, first: datetime, length: timedelta, span: tuple[int, int]) -> Iterator[datetime]:
    """The beginnings in ``span``, at the same wall time each."""
    rule: Any = event["RRULE"]
    if isinstance(rule, list):
        raise ValueError("it has several RRULEs: write one")
    if (every := str(rule.get("FREQ", [""])[0]).upper()) not in _EVERY:
        raise ValueError(f"it recurs {every.lower()}: daily, weekly, monthly and yearly are possible")
    plain = {**rule}
    if "UNTIL" in plain:
        until = plain["UNTIL"][0]
        aware = isinstance(until, datetime) and until.tzinfo is not None
        local = until.astimezone(first.tzinfo).replace(tzinfo=None) if aware else until
        plain["UNTIL"] = [local if isinstance(local, datetime) else datetime.combine(local, time.max)]
    text = vRecur(plain).to_ical().decode()  # type: ignore[no-untyped-call]
    made = rrulestr(text, dtstart=first.replace(tzinfo=None))
    low, high = (datetime.fromtimestamp(at / 1000, UTC).astimezone(first.tzinfo).replace(tzinfo=None) for at in span)
    for number, at in enumerate(made.between(low - length - timedelta(1), high, inc=True)):
        if number > MOST:
            raise ValueError(f"it recurs more than {MOST} times in {(span[1] - span[0]) // DAY} days")
        yield at.replace(tzinfo=first.tzinfo)


def _exceptions(event: Any) -> Iterator[date]:
    given = event.get("EXDATE", [])
    for dates in given if isinstance(given, list) else [given]:
        for one in dates.dts:
            yield one.dt


def _at(value: Any, zone: tzinfo) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=zone)
    if isinstance(value, date):
        return datetime.combine(value, time(0), zone)
    raise ValueError("it does not begin and end at a time")


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, UTC)
