"""Who is on call at a moment, and when nobody is. Times are ms (UTC); the schedule's are wall times of its zone.

When the clocks change: a turn begins at the first occurrence of a wall time that comes twice and ends at the last, so
that two people are on call in between; a wall time that does not exist is the moment an hour later by the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from detector.oncall.options import Layer, Override, Schedule
from detector.worktime import MIDNIGHT, WEEKDAYS, Weekday, instant, local_day, opening


@dataclass(frozen=True, slots=True)
class Shift:
    """``people`` are on call from ``start`` until just before ``end``; nobody: a gap."""

    start: int
    end: int
    people: tuple[str, ...]


def on_call(schedule: Schedule, at: int) -> tuple[str, ...]:
    """Who is on call at ``at``: a stand-in, else the last layer that applies; nobody is an empty tuple."""
    if stand_ins := _named(schedule.overrides, at):
        return stand_ins
    zone = ZoneInfo(schedule.zone)
    for layer in reversed(schedule.layers):
        if within(layer.hours, layer.days, zone, at):
            people = _named(layer.shifts, at) if layer.fixed else _turns(layer, zone, at)
            if people:
                return people
    return ()


def _named(fixed: tuple[Override, ...], at: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(o.who for o in fixed if ms_of(o.start) <= at < ms_of(o.end)))


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


def ms_of(moment: datetime) -> int:
    """A moment of the configuration in ms."""
    return round(moment.timestamp() * 1000)


def _length(layer: Layer) -> int:
    return layer.every * (7 if layer.turn == "week" else 1)


def _turns(layer: Layer, zone: tzinfo, at: int) -> tuple[str, ...]:
    """Whose turn it is; two people while a wall time comes twice. Before the first turn it is the first one's."""
    near = (local_day(at, zone) - layer.since).days // _length(layer)
    found = []
    for turn in range(max(near - 1, 0), max(near, 0) + 1):
        begins = layer.since + timedelta(turn * _length(layer))
        ends = begins + timedelta(_length(layer))
        first = instant(begins, layer.handover, zone)
        if (first <= at or turn == 0) and at < instant(ends, layer.handover, zone, last=True):
            found.append(layer.people[turn % len(layer.people)])
    return tuple(dict.fromkeys(found))


def _windows(
    hours: tuple[time, time] | None, days: tuple[Weekday, ...], zone: tzinfo, day: date
) -> Iterator[tuple[int, int]]:
    """What opens on ``day``, until the next where the hours go over midnight."""
    if WEEKDAYS[day.weekday()] in days:
        yield opening(day, hours or (MIDNIGHT, MIDNIGHT), zone)


def within(hours: tuple[time, time] | None, days: tuple[Weekday, ...], zone: tzinfo, at: int) -> bool:
    """Whether ``at`` is in these hours (around the clock where there are none) of one of these days."""
    day = local_day(at, zone)
    near = (day - timedelta(1), day)
    return any(low <= at < high for one in near for low, high in _windows(hours, days, zone, one))


def _edges(schedule: Schedule, start: int, end: int) -> Iterator[int]:
    """Every moment at which it may change who is on call."""
    zone = ZoneInfo(schedule.zone)
    for override in (*schedule.overrides, *(shift for layer in schedule.layers for shift in layer.shifts)):
        yield from (ms_of(override.start), ms_of(override.end))
    first, last = local_day(start, zone) - timedelta(1), local_day(end, zone) + timedelta(1)
    for layer in schedule.layers:
        for number in range((last - first).days + 1):
            day = first + timedelta(number)
            if (day - layer.since).days % _length(layer) == 0:
                yield from (instant(day, layer.handover, zone), instant(day, layer.handover, zone, last=True))
            for low, high in _windows(layer.hours, layer.days, zone, day):
                yield from (low, high)
