"""A shift ends: what its people hold is offered to the next ones, and told what happened in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from detector.nouns import Change, Offered, Ticket
from detector.oncall.options import OnCallOptions, Schedule
from detector.oncall.policy import policy_of
from detector.oncall.schedule import Shift, on_call, shifts
from detector.worktime import DAY

ENDED = ("resolved", "closed", "merged")
BACK = 8 * DAY
"""ms that a shift's end is looked for in: whoever has held a ticket longer keeps it until somebody decides."""
REACH = 60 * DAY
"""ms around a moment in which its shift must begin and end."""
LISTED = 10


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in one shift, for those who end it and those who begin the next: tickets as they are now."""

    schedule: str
    start: int
    end: int
    people: tuple[str, ...]
    opened: tuple[Ticket, ...] = ()
    ended: tuple[Ticket, ...] = ()
    still_open: tuple[Ticket, ...] = ()
    pages: int = 0
    wakes: int = 0
    held: tuple[Ticket, ...] = field(default=())
    """Of those still open: held by the people of this shift."""


def offers(ticket: Ticket, options: OnCallOptions, now: int) -> list[Change]:
    """The ticket is offered to whoever is on call now, where its holder's shift has ended since they took it. It stays
    theirs until somebody takes it; nothing is offered twice."""
    who, taken = ticket.assignee, ticket.acknowledged_at
    policy = policy_of(ticket, options)
    if ticket.state in ENDED or who is None or taken is None or policy is None:
        return []
    named = {step.schedule for step in policy.steps}
    schedules = [schedule for schedule in options.schedules if schedule.name in named]
    if any(who in on_call(schedule, now) for schedule in schedules):
        return []
    for schedule in schedules:
        ended = _ended(schedule, who, max(taken, now - BACK), now)
        following = on_call(schedule, now)
        if ended is not None and following:
            if ticket.offered_to in following and (ticket.offered_at or 0) >= ended:
                return []
            return [Offered(ticket.key, now, assignee=who, to=following[0], schedule=schedule.name)]
    return []


def _ended(schedule: Schedule, who: str, since: int, now: int) -> int | None:
    """When the last shift of ``who`` after ``since`` ended."""
    if since >= now:
        return None
    if who in on_call(schedule, now - 1):
        return now
    return max((s.end for s in shifts(schedule, since, now) if who in s.people and s.end < now), default=None)


def shift_at(schedule: Schedule, at: int) -> Shift:
    """The shift that holds ``at``; of nobody: a gap. Longer ones are cut sixty days before and after."""
    around = shifts(schedule, at - REACH, at + REACH)
    return next(shift for shift in around if shift.start <= at < shift.end)


def ended_shifts(schedule: Schedule, since: int, now: int) -> list[tuple[Shift, tuple[str, ...]]]:
    """The shifts that ended after ``since`` and by ``now``, each with who is on call next."""
    found = []
    for end in sorted({s.end for s in shifts(schedule, since, now + 1) if since < s.end <= now}):
        over = shift_at(schedule, end - 1)
        following = on_call(schedule, end)
        # A second person for the hour that comes twice does not end the shift of the first.
        if over.people and not set(over.people) <= set(following):
            found.append((over, following))
    return found


def concerns(ticket: Ticket, schedule: str, options: OnCallOptions) -> bool:
    """Whether pages of the ticket call this schedule."""
    policy = policy_of(ticket, options)
    return policy is not None and any(step.schedule == schedule for step in policy.steps)
