"""Whom a page calls, in which order and on which channels: policies over schedules and people's own rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from detector.nouns import Call, Ticket
from detector.oncall.options import OnCallOptions, Person, Policy, Step
from detector.oncall.schedule import on_call, within


def calls(ticket: Ticket, options: OnCallOptions, now: int, who: str = "") -> list[Call]:
    """In the order of their time: at ``now`` plus ``delay``, unless somebody has it by then. Who is on call is asked
    for the moment of each call. With ``who``, that person alone is called.

    Whoever said of this ticket that it is not theirs is left out, and the step after theirs is due at once; only where
    that would leave nobody are they called all the same.
    """
    if who:
        person = next((person for person in options.people if person.name == who), None)
        if person is None:
            return []
        # Somebody asks for this very person: by whatever way there is, where no rule holds at this hour.
        ways = list(_contacts(person, ticket.priority, now, 0)) or [(rule.channel, rule.after) for rule in person.rules]
        return sorted((Call(channel, who, later) for channel, later in ways), key=_delay)
    policy = policy_of(ticket, options)
    if policy is None:
        return []
    found = list(_stepwise(policy, ticket, options, now, frozenset(ticket.declined)))
    if not found and ticket.declined:
        found = list(_stepwise(policy, ticket, options, now, frozenset()))
    return sorted(found, key=_delay)


def policy_of(ticket: Ticket, options: OnCallOptions) -> Policy | None:
    """The first that fits."""
    return next((policy for policy in options.policies if _fits(policy, ticket)), None)


def reachable(person: Person, ticket: Ticket, at: int) -> bool:
    """Whether a call at ``at`` (ms) reaches the person on any channel."""
    return any(True for _ in _contacts(person, ticket.priority, at, 0))


def _delay(call: Call) -> int:
    return call.delay


def _stepwise(
    policy: Policy, ticket: Ticket, options: OnCallOptions, now: int, declined: frozenset[str]
) -> Iterator[Call]:
    skipped = _declined_steps(policy, options, now, declined)
    sooner = policy.steps[min(skipped, len(policy.steps) - 1)].after if skipped else 0
    delay = 0
    for round_ in range(policy.repeat + 1):
        begins = delay + policy.pause if round_ else 0
        for step in policy.steps:
            # In later rounds each has its own time again.
            delay = begins + (step.after if round_ else max(0, step.after - sooner))
            for who in people_of(step, options, now + delay):
                if who not in declined:
                    yield from _reach(who, ticket, options, now, delay)


def _declined_steps(policy: Policy, options: OnCallOptions, now: int, declined: frozenset[str]) -> int:
    """How many steps from the first on have called somebody who declined."""
    for number, step in enumerate(policy.steps):
        if not declined.intersection(people_of(step, options, now)):
            return number
    return len(policy.steps)


def _reach(who: str, ticket: Ticket, options: OnCallOptions, now: int, delay: int) -> Iterator[Call]:
    person = next((person for person in options.people if person.name == who), None)
    if person is not None:
        for channel, later in _contacts(person, ticket.priority, now, delay):
            yield Call(channel, who, delay + later)


def _contacts(person: Person, priority: str | None, now: int, delay: int) -> Iterator[tuple[str, int]]:
    """Channel and how long after the call, of the rules that hold at that moment; a channel once, at its earliest."""
    zone, seen = ZoneInfo(person.zone), set()
    for rule in sorted(person.rules, key=lambda rule: rule.after):
        if rule.channel in seen or (rule.priorities and priority not in rule.priorities):
            continue
        if within(rule.hours, rule.days, zone, now + delay + rule.after):
            seen.add(rule.channel)
            yield rule.channel, rule.after


def _fits(policy: Policy, ticket: Ticket) -> bool:
    return (
        (not policy.tiers or ticket.tier in policy.tiers)
        and (not policy.teams or ticket.team in policy.teams)
        and (not policy.services or ticket.service in policy.services)
    )


def people_of(step: Step, options: OnCallOptions, at: int) -> tuple[str, ...]:
    """Whom the step calls at ``at`` (ms)."""
    if step.person is not None:
        return (step.person,)
    return next(on_call(schedule, at) for schedule in options.schedules if schedule.name == step.schedule)
