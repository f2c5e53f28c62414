"""Nobody is woken for tomorrow: whether a page waits for the day shift; and whether a wake was needed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from detector.clock import rfc3339
from detector.nouns import Change, PageDeferred, PageReleased, Ticket
from detector.worktime import WorkingHours, is_open, next_open, shuts

PAGED = ("P1", "P2")
ENDED = ("resolved", "closed", "merged")
HOUR = 3_600_000
STAYS = HOUR // 2
"""ms by which the hour that would wake somebody must move before that is said again: forecasts waver."""


def decide(ticket: Ticket, hours: WorkingHours | None, usual_fix: Mapping[str, int], now: int) -> list[Change]:
    """What changes about the ticket's pages at ``now``: they begin to wait, wait until another hour, or wait no longer.

    A prediction waits where the early bound of its time to impact is not before the next working hour and the usual
    time to fix (ms by category) after it. One whose time nobody can tell does not wait.
    """
    if ticket.state in ENDED or ticket.muted_since is not None:
        return []
    found = _waits(ticket, hours, usual_fix, now)
    if found is None:
        if ticket.deferred_since is None:
            return []
        return [PageReleased(ticket.key, now, reason=_why_not(ticket, hours, now))]
    until, wakes_at, fix = found
    known = ticket.deferred_since is not None and ticket.deferred_until == until
    if known and abs((ticket.wakes_at or 0) - wakes_at) < STAYS:
        return []
    reason = (
        f"expected at {rfc3339(wakes_at + fix)} at the earliest, and usually fixed in {_span(fix)}: "
        "the day shift has time for it"
    )
    return [PageDeferred(ticket.key, now, until=until, wakes_at=wakes_at, reason=reason)]


def next_look(ticket: Ticket, hours: WorkingHours | None, now: int) -> int | None:
    """When (ms) it has to be decided again though no fact changes: the day begins, or it ends."""
    if ticket.deferred_since is not None:
        return ticket.deferred_until
    if hours is None or not _pages(ticket) or ticket.state in ENDED:
        return None
    return shuts(hours, now)


def wake(ticket: Ticket) -> Literal["needed", "avoidable"] | None:
    """Whether it was right that the ticket, which has ended, woke somebody; None where that says nothing."""
    if ticket.resolution in ("false-alarm", "not-worth-waking"):
        return "avoidable"
    if ticket.disrupted_at is not None or ticket.resolution in ("prevented", "fixed"):
        return "needed"
    return "avoidable" if ticket.resolution == "self-recovered" else None


def _pages(ticket: Ticket) -> bool:
    return (
        ticket.phase == "predicted"
        and ticket.mode == "page"
        and ticket.priority in PAGED
        and ticket.acknowledged_at is None
        and ticket.impact is not None
    )


def _waits(
    ticket: Ticket, hours: WorkingHours | None, usual_fix: Mapping[str, int], now: int
) -> tuple[int, int, int] | None:
    """Until when, from when on it would wake somebody after all, and the usual time to fix; None: it does not wait."""
    if hours is None or not _pages(ticket) or is_open(hours, now):
        return None
    opens, fix = next_open(hours, now), usual(ticket.category, usual_fix)
    if opens is None or ticket.impact is None or ticket.impact.earliest < opens + fix:
        return None
    return opens, ticket.impact.earliest - fix, fix


def usual(category: str | None, usual_fix: Mapping[str, int]) -> int:
    """The time (ms) that a fix usually takes: of the category, of what it belongs to, of ``other``."""
    name = category or "other"
    return usual_fix.get(name, usual_fix.get(name.partition("/")[0], usual_fix.get("other", 2 * HOUR)))


def _why_not(ticket: Ticket, hours: WorkingHours | None, now: int) -> str:
    if ticket.phase == "disrupting":
        return "users are hurt now"
    if hours is None or is_open(hours, now):
        return "the day shift has begun"
    return "it is expected before the day shift could fix it" if ticket.impact is not None else "its time is not known"


def _span(ms: int) -> str:
    return f"{ms // 60_000} min" if ms < 2 * HOUR else f"{ms / HOUR:g} h"
