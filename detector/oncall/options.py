"""Options of the on-call room: people, schedules, policies, working hours."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from detector.nouns import Priority, Tier
from detector.options import Duration, Options, ms
from detector.worktime import WEEKDAYS, Wall, Weekday, WorkingHours, Zone


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a moment needs its offset, such as 2026-12-24T18:00:00+01:00")
    return at


Moment = Annotated[datetime, AfterValidator(_aware)]


class Contact(Options):
    """One way to reach a person, and when it is taken."""

    channel: str
    after: Duration = 0
    """So long after the person was called, unless somebody has the ticket by then."""
    priorities: tuple[Priority, ...] = ()
    """Only for tickets of these priorities (default: all),"""
    hours: tuple[Wall, Wall] | None = None
    """only between these times of the person's zone (over midnight where the second is the earlier),"""
    days: tuple[Weekday, ...] = WEEKDAYS
    """and only on these days."""


class Person(Options):
    """Somebody who can be called."""

    name: str = Field(min_length=1, max_length=100)
    zone: Zone = "UTC"
    """Of the hours in ``contacts``."""
    channels: tuple[str, ...] = ()
    """Channels that reach this person alone, all at once; with `urgencies: []` such a channel hears of nothing else."""
    contacts: tuple[Contact, ...] = ()
    """The same with rules: push now, SMS after 3 min, call after 6."""

    @property
    def rules(self) -> tuple[Contact, ...]:
        """Every way to reach the person; a channel of the short form is taken at once and always."""
        return (*(Contact(channel=channel) for channel in self.channels), *self.contacts)


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


class Layer(Options):
    """People who take turns, or fixed shifts. A later layer goes before an earlier one wherever it applies."""

    people: tuple[str, ...] = ()
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
    ical_file: Path | None = None
    """Instead of people: an iCalendar file, relative to this one; who is on call is each event's summary."""
    shifts: tuple[Override, ...] = ()
    """Instead of people: who, start and end of each; what an ``ical_file`` holds comes to stand here."""

    @property
    def fixed(self) -> bool:
        """Nobody takes turns in it: its shifts are named."""
        return not self.people

    @model_validator(mode="after")
    def _one_source(self) -> Layer:
        if (bool(self.people), self.ical_file is not None or bool(self.shifts)).count(True) != 1:
            raise ValueError("a layer has people who take turns, or an ical_file, or shifts: one of them")
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
    working_hours: WorkingHours | None = None
    """Outside of them a prediction that leaves time until the next working hour wakes nobody; default: it always
    pages."""

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
            fixed = [*schedule.overrides, *(shift for layer in schedule.layers for shift in layer.shifts)]
            named = {name for layer in schedule.layers for name in layer.people} | {o.who for o in fixed}
            if unknown := sorted(named - people):
                raise ValueError(f"schedule {schedule.name}: {', '.join(unknown)} is not among people")
        for policy in self.policies:
            for step in policy.steps:
                if step.person is not None and step.person not in people:
                    raise ValueError(f"policy {policy.name}: {step.person} is not among people")
                if step.schedule is not None and step.schedule not in schedules:
                    raise ValueError(f"policy {policy.name}: there is no schedule {step.schedule}")
        return self
