"""A ticket with its timeline as the API's JSON (``INTERFACES``: "An incident, as JSON")."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from detector.clock import rfc3339
from detector.notify.messages import incident
from detector.nouns import ChangeEvent, Ticket, TimelineEntry
from detector.tickets.clocks import held
from detector.tickets.prevention import effect
from detector.words import in_calendar


def ticket_json(
    ticket: Ticket, timeline: Sequence[TimelineEntry], now: int, changes: Sequence[ChangeEvent] = ()
) -> dict[str, Any]:
    """The incident with everything that happened to it, oldest first, how long each tier has had it, and what was
    changed before it began."""
    return incident(ticket) | {
        "response": _response(ticket, now),
        "changes": [change_json(change) for change in changes],
        "held_seconds": {tier: ms // 1000 for tier, ms in held(timeline, now).items()},
        "timeline": [
            {"at": rfc3339(in_calendar(entry.at)), "who": entry.who, "what": entry.what, "data": _plain(entry.data)}
            for entry in timeline
        ],
    }


def _response(ticket: Ticket, now: int) -> dict[str, Any] | None:
    """The frozen forecast beside what followed."""
    if ticket.prevented_at is None:
        return None
    before, after = (
        {name: rfc3339(in_calendar(getattr(i, name))) for name in ("earliest", "likely", "latest")} if i else None
        for i in (ticket.prevention_before, ticket.impact)
    )
    at = rfc3339(in_calendar(ticket.prevented_at))
    return {"at": at, "before": before, "after": after, "effect": effect(ticket, now)}


def change_json(change: ChangeEvent) -> dict[str, Any]:
    return {
        "at": rfc3339(in_calendar(change.at)), "service": change.service or None, "summary": change.summary,
        "source": change.source, "link": change.link or None, "details": _plain(change.details),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """What JSON can hold: no NaN, no dataclass, no lone surrogate."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
