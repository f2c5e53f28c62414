"""Options of the on-call room: people, schedules, policies."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from detector.nouns import Tier
from detector.options import Duration, Options, ms

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
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


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a moment needs its offset, such as 2026-12-24T18:00:00+01:00")
    return at


Wall = Annotated[time, BeforeValidator(_wall), WithJsonSchema({"type": "string", "pattern": _WALL.pattern})]
Moment = Annotated[datetime, AfterValidator(_aware)]
Zone = Annotated[str, AfterValidator(_zone)]


class Person(Options):
    """Somebody who can be called."""

    name: str = Field(min_length=1, max_length=100)
    channels: tuple[str, ...] = ()
    """Channels that reach this person alone; with `urgencies: []` such a channel hears of nothing else."""


class Layer(Options):
    """People who take turns. A later layer goes before an earlier one wherever it applies."""

    people: tuple[str, ...] = Field(min_length=1)
    turn: Literal["day", "week"] = "week"
    every: int = Field(1, ge=1, le=52)
    """So many days or weeks is a turn."""
    handover: Wall = time(9)
    since: date = date(2024, 1, 1)
    """The first turn's day (a Monday by default)."""
    days: tuple[Weekday, ...] = WEEKDAYS
    """Only on these days,"""
    hours: tuple[Wall, Wall] | None = None
    """and only between these times (over midnight where the second is the earlier); default: around the clock."""


class Override(Options):
    """Somebody stands in."""

    who: str
    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _order(self) -> Override:
        if self.end <= self.start:
            raise ValueError(f"the override of {self.who} ends before it starts")
        return self


class Schedule(Options):
    """Who is on call when, in the zone of the team."""

    name: str = Field(min_length=1, max_length=100)
    zone: Zone = "UTC"
    layers: tuple[Layer, ...] = Field(min_length=1)
    overrides: tuple[Override, ...] = ()


class Step(Options):
    """Whom to call, when nobody has acknowledged so long after the page."""

    schedule: str | None = None
    person: str | None = None
    after: Duration = 0

    @model_validator(mode="after")
    def _one(self) -> Step:
        if (self.schedule is None) == (self.person is None):
            raise ValueError("a step calls a schedule or a person, one of them")
        return self


class Policy(Options):
    """Whom the pages of some tickets call; the first policy that fits decides, without conditions it fits all."""

    name: str = Field(min_length=1, max_length=100)
    tiers: tuple[Tier, ...] = ()
    teams: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)
    repeat: int = Field(0, ge=0, le=10)
    """So many times more from the first step on,"""
    pause: Duration = Field(ms("30m"), ge=60_000)
    """so long after the last one."""


class OnCallOptions(Options):
    """Who is paged in person. Without it pages go to the channels alone."""

    people: tuple[Person, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    policies: tuple[Policy, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> OnCallOptions:
        for what, names in (
            ("people", [p.name for p in self.people]),
            ("schedules", [s.name for s in self.schedules]),
            ("policies", [p.name for p in self.policies]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: {', '.join(twice)} is there twice")
        people, schedules = {p.name for p in self.people}, {s.name for s in self.schedules}
        for schedule in self.schedules:
            named = {name for layer in schedule.layers for name in layer.people} | {o.who for o in schedule.overrides}
            if unknown := sorted(named - people):
                raise ValueError(f"schedule {schedule.name}: {', '.join(unknown)} is not among people")
        for policy in self.policies:
            for step in policy.steps:
                if step.person is not None and step.person not in people:
                    raise ValueError(f"policy {policy.name}: {step.person} is not among people")
                if step.schedule is not None and step.schedule not in schedules:
                    raise ValueError(f"policy {policy.name}: there is no schedule {step.schedule}")
        return self
