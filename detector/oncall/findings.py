"""Would anybody be paged? What would keep a page from reaching somebody, before it matters. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from detector.nouns import Priority
from detector.oncall.options import OnCallOptions, Person, Schedule
from detector.oncall.policy import people_of
from detector.oncall.schedule import Shift, shifts, within
from detector.worktime import instant, local_day

AHEAD = 30 * 86_400_000
"""ms that gaps are looked for in."""
PROVEN = 30 * 86_400_000
"""ms that a proof holds: a telephone is exchanged sooner or later."""
MOST_GAPS = 10
PAGED: tuple[Priority, ...] = ("P1", "P2")

Kind = Literal["gap", "no-channel", "hours", "unproven", "nobody", "no-policy", "silence"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Proofs = Mapping[tuple[str, str], int]
"""When (ms) a person last said that a test message reached them, by person and channel."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why somebody might not be paged, in a sentence."""

    kind: Kind
    text: str


def findings(options: OnCallOptions, now: int, proofs: Proofs | None = None) -> Iterator[Finding]:
    """For the next 30 days. Without ``proofs`` nobody is asked whether test messages arrived."""
    for person in options.people:
        yield from _reached(person, now)
        if proofs is not None:
            yield from _unproven(person, now, proofs)
    for schedule in options.schedules:
        yield from _gaps(schedule, now)
    for policy in options.policies:
        if not any(people_of(step, options, now) for step in policy.steps):
            yield Finding("nobody", f"policy {policy.name} ends in nobody: no step has anybody on call now")
    if options.policies and all(p.tiers or p.teams or p.services for p in options.policies):
        yield Finding("no-policy", "no policy fits every ticket: add one without conditions at the end")


def problems(options: OnCallOptions, now: int) -> Iterator[str]:
    """The sentences of :func:`findings`."""
    return (found.text for found in findings(options, now))


def gaps(schedule: Schedule, now: int) -> list[Shift]:
    """When nobody is on call in the next 30 days."""
    return [shift for shift in shifts(schedule, now, now + AHEAD) if not shift.people]


def _gaps(schedule: Schedule, now: int) -> Iterator[Finding]:
    found = gaps(schedule, now)
    for gap in found[:MOST_GAPS]:
        yield Finding("gap", f"schedule {schedule.name}: nobody from {_utc(gap.start)} to {_utc(gap.end)}")
    if len(found) > MOST_GAPS:
        yield Finding("gap", f"schedule {schedule.name}: {len(found) - MOST_GAPS} more gaps")


def _reached(person: Person, now: int) -> Iterator[Finding]:
    if not person.rules:
        yield Finding("no-channel", f"{person.name} has no channel: nothing reaches them")
        return
    for priority in PAGED:
        if (at := _unreached(person, priority, now)) is not None:
            text = f"{person.name} is reached on no channel at {_wall(at, person.zone)} when it is {priority}"
            yield Finding("hours", f"{text}: add a contact without hours, days and priorities")


def _unreached(person: Person, priority: Priority, now: int) -> int | None:
    """The first moment of the next eight days at which no rule of the person holds: every edge of theirs is looked
    at."""
    zone = ZoneInfo(person.zone)
    rules = [rule for rule in person.rules if not rule.priorities or priority in rule.priorities]
    walls = {wall for rule in rules for wall in rule.hours or ()}
    edges = {now}
    for number in range(8):
        day = local_day(now, zone) + timedelta(number)
        edges |= {instant(day, wall, zone) for wall in (*walls, datetime.min.time())}
    for at in sorted(edge for edge in edges if edge >= now):
        if not any(within(rule.hours, rule.days, zone, at + rule.after) for rule in rules):
            return at
    return None


def _unproven(person: Person, now: int, proofs: Proofs) -> Iterator[Finding]:
    for channel in dict.fromkeys(rule.channel for rule in person.rules):
        at = proofs.get((person.name, channel))
        if at is None:
            yield Finding("unproven", f"{person.name} never said that a test message arrives on {channel}")
        elif at < now - PROVEN:
            said = f"{person.name} said last on {_utc(at)} that a test message arrives on {channel}"
            yield Finding("unproven", f"{said}: send another")


def _utc(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _wall(at: int, zone: str) -> str:
    return f"{datetime.fromtimestamp(at / 1000, ZoneInfo(zone)):%a %H:%M} ({zone})"
