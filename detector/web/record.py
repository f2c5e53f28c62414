"""A ticket with its timeline as the API's JSON (``INTERFACES``: "An incident, as JSON")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from detector.clock import rfc3339
from detector.notify.messages import incident
from detector.nouns import ChangeEvent, Ticket, TimelineEntry
from detector.tickets.clocks import held
from detector.tickets.prevention import effect
from detector.words import in_calendar


def json_answer(value: Any) -> web.Response:
    """``value`` as JSON."""
    return web.Response(body=json_bytes(value), content_type="application/json", charset="utf-8")


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON. A list of incidents is 300 KB and more: the standard library takes four times as long."""
    return msgspec.json.encode(value)


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
            {"at": rfc3339(in_calendar(entry.at)), "who": entry.who, "what": entry.what, "data": entry.data}
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
        "source": change.source, "link": change.link or None, "details": dict(change.details),
    }  # fmt: skip
