"""Whether a tier's backlog lets it keep a target: a forecast from how fast the tier works. Pure.

Little's law read for one ticket: what is due before it is done before it, at the pace of the last week; its turn comes
when those are done. It is a warning, never a breach: who is warned early can hand it on, or get help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detector.nouns import Change, ClockWarned, Ticket, Tier
from detector.tickets.lifecycle import ENDED

SPAN_MS = 7 * 86_400_000
"""The time from which the pace is taken."""
LEAST_DONE = 10
"""Resolved tickets below which a pace says nothing."""
_CLOCK = "resolution"


def expected_at(tickets: Iterable[Ticket], done: Mapping[Tier, int], now: int) -> dict[str, int]:
    """When (ms) each open ticket with a running resolution clock is expected to be resolved, by its key. ``done``: how
    many each tier has resolved within the last week."""
    queues: dict[Tier, list[tuple[int, str]]] = {}
    for ticket in tickets:
        due = next((c.due_at for c in ticket.clocks if c.name == _CLOCK and c.state == "running"), None)
        if due is not None and ticket.tier is not None and ticket.state not in ENDED and ticket.mode != "shadow":
            queues.setdefault(ticket.tier, []).append((due, ticket.key))
    found = {}
    for tier, queue in queues.items():
        if done.get(tier, 0) < LEAST_DONE:
            continue
        each = SPAN_MS / done[tier]
        for place, (_, key) in enumerate(sorted(queue), 1):
            found[key] = now + round(place * each)
    return found


def warnings(tickets: Iterable[Ticket], done: Mapping[Tier, int], now: int) -> list[Change]:
    """Clocks that the backlog will not let keep their target, each said once."""
    known = {ticket.key: ticket for ticket in tickets}
    changes: list[Change] = []
    for key, at in expected_at(known.values(), done, now).items():
        clock = next(c for c in known[key].clocks if c.name == _CLOCK)
        if not clock.warned and at > clock.due_at:
            changes.append(ClockWarned(key, now, clock=_CLOCK, due_at=clock.due_at, expected_at=at))
    return changes
