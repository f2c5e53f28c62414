"""The chain of what was done with an alert or an incident, as steps that a person reads: pure, facts in, words out.

Received, deduplicated, rejected, grouped into, silenced or inhibited by, routed to, sent by, answered with; and where
it went no further, why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from detector.notify.messages import sentence
from detector.nouns import Ticket, TimelineEntry
from detector.tickets.trace import Posted, Traced
from detector.words import clock, plain

_TURNED_AWAY = {
    "watchdog": "it is the alert that always fires: only its absence opens an incident",
    "severity-none": "its severity is none",
    "unknown-resolved": "it was resolved before anybody had heard of it",
}
_STEPS = {
    "opened": "grouped", "symptom-joined": "grouped", "absorbed": "grouped", "merged": "grouped", "muted": "muted",
    "unmuted": "muted", "triaged": "routed", "routed": "routed", "escalated": "routed", "informed": "routed",
    "acknowledged": "answered", "acknowledgement-expired": "answered", "assigned": "answered", "noted": "answered",
    "resolved": "ended", "closed": "ended", "reopened": "grouped", "phase-changed": "phase",
}  # fmt: skip
_SETTLED = {
    "sent": "sent",
    "digested": "told in the digest after the quiet hours",
    "dead": "given up",
    "cancelled": "not sent: somebody had it, or it was muted or over",
}


@dataclass(frozen=True, slots=True)
class Step:
    """``step`` is the field's word for it, ``said`` the sentence. ``at`` ms."""

    at: int
    step: str
    said: str


def of_episode(one: Traced, at: int) -> list[Step]:
    """What is known of an alert's episode by ``at``, before any ticket."""
    start = one.alert.starts_at
    steps = [Step(one.first_at, "received", f"received, firing since {clock(start, one.first_at, UTC)} UTC")]
    rejected = one.result != "ticket"
    repeats = one.received - one.stored
    if rejected:
        why = _TURNED_AWAY.get(one.result, plain(one.result, 60))
        steps.append(Step(one.first_at, "rejected", f"opens nothing: {why} (received {one.received} times)"))
    elif repeats > 0:
        said = f"{one.received} times received, {repeats} of them repeat what was known"
        steps.append(Step(one.last_at, "deduplicated", said))
    if one.alert.status == "resolved" and one.alert.ends_at is not None:
        steps.append(Step(min(one.alert.ends_at, one.last_at), "resolved", "it does not fire any more"))
    return [step for step in steps if step.at <= at]


def of_ticket(
    ticket: Ticket, timeline: Sequence[TimelineEntry], messages: Sequence[Posted], at: int, zone: tzinfo = UTC
) -> list[Step]:
    """What the ticket and its messages say by ``at``, oldest first; at the end why nobody was told, if nobody was."""
    known = [entry for entry in timeline if entry.at <= at and entry.what in _STEPS]
    steps = [Step(e.at, _word(e), f"{ticket.key}: {_who(e)}{sentence(e, zone)}") for e in known]
    owed = [message for message in messages if message.at <= at]
    for message in owed:
        steps += _posted(message, at, zone)
    if not owed:
        steps.append(Step(max([e.at for e in known], default=ticket.opened_at), "not sent", _silent(ticket)))
    return sorted(steps, key=lambda step: step.at)


def _word(entry: TimelineEntry) -> str:
    if entry.what == "muted":
        return "inhibited" if str(entry.data.get("reason", "")).startswith("inhibited") else "silenced"
    return _STEPS[entry.what]


def _who(entry: TimelineEntry) -> str:
    return "" if entry.who == "detector" else f"{plain(entry.who, 60)}: "


def _posted(message: Posted, at: int, zone: tzinfo) -> list[Step]:
    whom = f" to {plain(message.recipient, 80)}" if message.recipient else ""
    name = f"{message.channel}{whom}"
    why = f" ({plain(message.reason, 120)})" if message.reason else ""
    later = f", held back until {clock(message.not_before, message.at, zone)}" if message.state == "held" else ""
    later = (
        later or f", not before {clock(message.not_before, message.at, zone)}"
        if message.not_before > message.at
        else ""
    )
    steps = [Step(message.at, "owed", f"{message.event} message for {name}{why}{later}")]
    if message.settled_at is not None and message.settled_at <= at:
        ended = _SETTLED.get(message.state, message.state)
        tries = f" after {message.attempts} attempts" if message.attempts > 1 else ""
        steps.append(Step(message.settled_at, "sent", f"{name}: {ended}{tries}"))
    elif message.attempts and message.settled_at is None:
        steps.append(Step(message.at, "sent", f"{name}: {message.attempts} attempts so far, none arrived"))
    return steps


def _silent(ticket: Ticket) -> str:
    """Why a ticket has told nobody."""
    if ticket.mode == "shadow":
        return f"nobody was told: {ticket.key} is in shadow mode, which is recorded and never routed"
    if ticket.muted_since is not None:
        return f"nobody was told: {plain(ticket.muted_why, 200)}"
    if ticket.restricted:
        return "nobody was told: it is restricted"
    where = f"{ticket.tier or 'no tier'} and {ticket.priority or 'no priority'}"
    return f"nobody was told: no channel takes messages of {where} for {plain(ticket.service, 80)}"
