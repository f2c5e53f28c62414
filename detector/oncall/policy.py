"""Whom a page calls, and whether anybody would be: policies over schedules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from detector.nouns import Call, Ticket
from detector.oncall.options import OnCallOptions, Policy, Step
from detector.oncall.schedule import on_call, shifts

AHEAD = 30 * 86_400_000
"""ms that gaps are looked for in."""
MOST_GAPS = 10


def calls(ticket: Ticket, options: OnCallOptions, now: int) -> list[Call]:
    """In their order: at ``now`` plus ``delay``, unless somebody has it by then. Who is on call is asked for the moment
    of each call."""
    policy = next((policy for policy in options.policies if _fits(policy, ticket)), None)
    if policy is None:
        return []
    channels = {person.name: person.channels for person in options.people}
    found: list[Call] = []
    delay = 0
    for round_ in range(policy.repeat + 1):
        begins = delay + policy.pause if round_ else 0
        for step in policy.steps:
            delay = begins + step.after
            for who in _people(step, options, now + delay):
                found += [Call(channel, who, delay) for channel in channels[who]]
    return found


def _fits(policy: Policy, ticket: Ticket) -> bool:
    return (
        (not policy.tiers or ticket.tier in policy.tiers)
        and (not policy.teams or ticket.team in policy.teams)
        and (not policy.services or ticket.service in policy.services)
    )


def _people(step: Step, options: OnCallOptions, at: int) -> tuple[str, ...]:
    if step.person is not None:
        return (step.person,)
    return next(on_call(schedule, at) for schedule in options.schedules if schedule.name == step.schedule)


def problems(options: OnCallOptions, now: int) -> Iterator[str]:
    """Why somebody might not be paged in the next 30 days, a sentence each."""
    for person in options.people:
        if not person.channels:
            yield f"{person.name} has no channel: nothing reaches them"
    for schedule in options.schedules:
        gaps = [shift for shift in shifts(schedule, now, now + AHEAD) if not shift.people]
        for gap in gaps[:MOST_GAPS]:
            yield f"schedule {schedule.name}: nobody from {_utc(gap.start)} to {_utc(gap.end)}"
        if len(gaps) > MOST_GAPS:
            yield f"schedule {schedule.name}: {len(gaps) - MOST_GAPS} more gaps"
    for policy in options.policies:
        if not any(_people(step, options, now) for step in policy.steps):
            yield f"policy {policy.name} ends in nobody: no step has anybody on call now"
    if options.policies and all(p.tiers or p.teams or p.services for p in options.policies):
        yield "no policy fits every ticket: add one without conditions at the end"


def _utc(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"
