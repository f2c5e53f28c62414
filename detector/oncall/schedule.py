"""Who is on call at a moment, and when nobody is. Times are ms (UTC); the schedule's are wall times of its zone.

When the clocks change: a turn begins at the first occurrence of a wall time that comes twice and ends at the last, so
that two people are on call in between; a wall time that does not exist is the moment an hour later by the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from detector.oncall.options import WEEKDAYS, Layer, Schedule

MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Shift:
    """``people`` are on call from ``start`` until just before ``end``; nobody: a gap."""

    start: int
    end: int
    people: tuple[str, ...]


def instant(day: date, wall: time, zone: tzinfo, *, last: bool = False) -> int:
    """The moment (ms) of a wall time: its first occurrence, or its last."""
    first, second = (round(datetime.combine(day, wall, zone).replace(fold=fold).timestamp() * 1000) for fold in (0, 1))
    # Where the time does not exist, fold 1 is the earlier moment: both ends of a turn take the same, later one.
    return second if last and second > first else first


def on_call(schedule: Schedule, at: int) -> tuple[str, ...]:
    """Who is on call at ``at``: a stand-in, else the last layer that applies; nobody is an empty tuple."""
    stand_ins = tuple(o.who for o in schedule.overrides if _ms(o.start) <= at < _ms(o.end))
    if stand_ins:
        return tuple(dict.fromkeys(stand_ins))
    zone = ZoneInfo(schedule.zone)
    for layer in reversed(schedule.layers):
        if _applies(layer, zone, at):
            return _turns(layer, zone, at)
    return ()


def shifts(schedule: Schedule, start: int, end: int) -> list[Shift]:
    """Who is on call from ``start`` to ``end``, gaps as shifts of nobody."""
    edges = sorted({start, end, *(edge for edge in _edges(schedule, start, end) if start < edge < end)})
    out: list[Shift] = []
    for low, high in pairwise(edges):
        people = on_call(schedule, low)
        if out and out[-1].people == people:
            out[-1] = Shift(out[-1].start, high, people)
        else:
            out.append(Shift(low, high, people))
    return out


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _length(layer: Layer) -> int:
    return layer.every * (7 if layer.turn == "week" else 1)


def _turns(layer: Layer, zone: tzinfo, at: int) -> tuple[str, ...]:
    """Whose turn it is; two people while a wall time comes twice. Before the first turn it is the first one's."""
    day = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()
    near = (day - layer.since).days // _length(layer)
    found = []
    for turn in range(max(near - 1, 0), max(near, 0) + 1):
        begins = layer.since + timedelta(turn * _length(layer))
        ends = begins + timedelta(_length(layer))
        first = instant(begins, layer.handover, zone)
        if (first <= at or turn == 0) and at < instant(ends, layer.handover, zone, last=True):
            found.append(layer.people[turn % len(layer.people)])
    return tuple(dict.fromkeys(found))


def _windows(layer: Layer, zone: tzinfo, day: date) -> Iterator[tuple[int, int]]:
    """When the layer applies on ``day``, until the next where its hours go over midnight."""
    if WEEKDAYS[day.weekday()] not in layer.days:
        return
    begin, end = layer.hours or (MIDNIGHT, MIDNIGHT)
    until = day + timedelta(1) if end <= begin else day
    yield instant(day, begin, zone), instant(until, end, zone, last=True)


def _applies(layer: Layer, zone: tzinfo, at: int) -> bool:
    day = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()
    days = (day - timedelta(1), day)
    return any(low <= at < high for one in days for low, high in _windows(layer, zone, one))


def _edges(schedule: Schedule, start: int, end: int) -> Iterator[int]:
    """Every moment at which it may change who is on call."""
    zone = ZoneInfo(schedule.zone)
    for override in schedule.overrides:
        yield from (_ms(override.start), _ms(override.end))
    first = datetime.fromtimestamp(start / 1000, UTC).astimezone(zone).date() - timedelta(1)
    last = datetime.fromtimestamp(end / 1000, UTC).astimezone(zone).date() + timedelta(1)
    for layer in schedule.layers:
        for number in range((last - first).days + 1):
            day = first + timedelta(number)
            if (day - layer.since).days % _length(layer) == 0:
                yield from (instant(day, layer.handover, zone), instant(day, layer.handover, zone, last=True))
            for low, high in _windows(layer, zone, day):
                yield from (low, high)
