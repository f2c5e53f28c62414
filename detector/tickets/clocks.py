"""The clocks of a ticket and how long each tier held it, as functions of its facts and its timeline. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from detector.nouns import Change, ClockMet, ClockStarted, Priority, Ticket, Tier, TimelineEntry
from detector.tickets.options import ClockOptions
from detector.worktime import WorkingHours, after, before

WARNS = 0.75
"""Of its time: then a clock warns."""
WORKED = ("response", "resolution")
"""Clocks that may count working time only."""
BREACH = "security/data-breach"


def clocks(ticket: Ticket, priority: Priority, category: str, options: ClockOptions, now: int) -> list[Change]:
    """Start clocks, move their due times with the priority, and stop those that were answered.

    Due times count from the opening, whatever the priority was meanwhile; both clocks leave out while nobody was told,
    the resolution clock what was waited for too, and a reopening continues it. They run at any hour, except for the
    priorities that a calendar is named for.
    """
    targets = _targets(ticket, priority, category, options)
    running = {clock.name: clock for clock in ticket.clocks}
    changes: list[Change] = []
    for name, target in targets.items():
        clock = running.get(name)
        if _answered(ticket, name):
            if clock is not None and clock.state in ("running", "paused"):
                changes.append(ClockMet(ticket.key, now, clock=name))
            continue
        if (ticket.muted_since is not None and name != "regulator") or (
            ticket.deferred_since is not None and name == "response"
        ):
            continue
        due, warn = _times(ticket, name, target, options.hours(priority) if name in WORKED else None)
        again = clock is not None and (clock.state == "met" or (name == "update" and clock.due_at < due))
        if clock is None or (clock.state == "running" and clock.due_at != due) or again:
            changes.append(ClockStarted(ticket.key, now, clock=name, due_at=due, warn_at=warn))
    return changes


def _times(ticket: Ticket, name: str, target: int, calendar: WorkingHours | None) -> tuple[int, int]:
    """When (ms) the clock is due and when it warns, without the time in which it stood still."""
    begins, left = _counts_from(ticket, name), round((1 - WARNS) * target)
    if calendar is None:
        stood = {"resolution": ticket.paused_ms, "response": ticket.muted_ms + ticket.deferred_ms}.get(name, 0)
        return begins + target + stood, begins + target + stood - left
    due = after(calendar, begins, target, ticket.still if name == "resolution" else ticket.silent)
    return due, before(calendar, due, left)


def _targets(ticket: Ticket, priority: Priority, category: str, options: ClockOptions) -> dict[str, int]:
    response = options.reported_response if ticket.source == "report" else options.response
    targets = {"response": response.of(priority), "resolution": options.resolution.of(priority)}
    if ticket.breach is not None and category == BREACH:
        targets["regulator"] = options.regulator
    if ticket.public or (ticket.disrupted_at is not None and ticket.mode == "page" and not ticket.restricted):
        targets["update"] = options.update.of(priority)
    return targets


def _counts_from(ticket: Ticket, clock: str) -> int:
    """When (ms) a clock began: the update's with the last word to the public, else when users were hurt."""
    if clock != "update":
        return ticket.opened_at
    return ticket.public[-1].at if ticket.public else ticket.disrupted_at or ticket.opened_at


def _answered(ticket: Ticket, clock: str) -> bool:
    match clock:
        case "response":
            return ticket.first_response_at is not None
        case "regulator":
            return ticket.breach == "dismissed" or "notify-regulator" in ticket.checklist
        case _:
            return ticket.state in ("resolved", "closed")


def held(timeline: Iterable[TimelineEntry], now: int) -> dict[Tier, int]:
    """How long (ms) each tier has had the ticket until ``now``, without the time when it was resolved."""
    out: dict[Tier, int] = {}
    tier: Tier | None = None
    since: int | None = None
    for entry in timeline:
        ends = entry.what in ("resolved", "closed", "merged")
        if not (ends or entry.what in ("routed", "escalated", "reopened")):
            continue
        if tier is not None and since is not None:
            out[tier] = out.get(tier, 0) + entry.at - since
        alive = since is not None or tier is None or entry.what == "reopened"
        since = entry.at if alive and not ends else None
        if entry.what in ("routed", "escalated"):
            tier = entry.data["tier"]
    if tier is not None and since is not None:
        out[tier] = out.get(tier, 0) + now - since
    return out
