"""The life of a ticket: what each change makes of it, and what people may do. Pure.

``fold`` is the only place that says what a change means; the stored ticket is the fold of its timeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from detector.nouns import (
    Absorbed,
    Acknowledged,
    Affected,
    Assigned,
    Change,
    ClockBreached,
    ClockMet,
    ClockStarted,
    ClockState,
    Closed,
    Escalated,
    ForecastChanged,
    Merged,
    Mode,
    Noted,
    Opened,
    PhaseChanged,
    Reopened,
    Resolution,
    ResolutionProposed,
    Resolved,
    Routed,
    State,
    Symptom,
    SymptomJoined,
    SymptomRefreshed,
    Ticket,
    Tier,
    Triaged,
    Waiting,
)

ENDED: frozenset[State] = frozenset({"resolved", "closed", "merged"})
TIERS: tuple[Tier, ...] = get_args(Tier)
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the quietest to the loudest."""
LONGEST_TEXT = 10_000


class NotAllowed(Exception):
    """What was asked cannot be done to this ticket; the message says why, and what can."""


def fold(ticket: Ticket | None, change: Change) -> Ticket:
    """The ticket after ``change``; ``ticket`` is None before it was opened."""
    if isinstance(change, Opened):
        return _opened(change)
    assert ticket is not None, f"{type(change).__name__} of the unknown ticket {change.key}"
    match change:
        case SymptomJoined():
            return _joined(ticket, change)
        case SymptomRefreshed(symptom=symptom):
            return replace(ticket, symptoms=_with_symptom(ticket.symptoms, symptom))
        case Absorbed():
            return _absorbed(ticket, change)
        case PhaseChanged(at=at, phase=phase):
            disrupted = ticket.disrupted_at
            if phase == "disrupting" and disrupted is None:
                disrupted = at
            return replace(ticket, phase=phase, disrupted_at=disrupted)
        case ForecastChanged(impact=impact):
            return replace(ticket, impact=impact)
        case Triaged():
            return replace(
                ticket, category=change.category, priority=change.priority, priority_reason=change.priority_reason,
                impact_users=change.impact_users, impact_business=change.impact_business, urgency=change.urgency,
                state="triaged" if ticket.state == "logged" else ticket.state,
            )  # fmt: skip
        case Routed(tier=tier, team=team, runbook=runbook):
            return replace(ticket, tier=tier, team=team, runbook=runbook or ticket.runbook)
        case ClockStarted(clock=name, due_at=due):
            return _with_clock(ticket, ClockState(name, due, "running"))
        case ClockMet(clock=name):
            return _clock_state(ticket, name, "met")
        case ClockBreached(clock=name):
            return _clock_state(ticket, name, "breached")
        case Acknowledged(at=at, assignee=assignee):
            return replace(
                ticket, state="diagnosing", assignee=assignee, waiting=None,
                acknowledged_at=at, first_response_at=ticket.first_response_at or at,
            )  # fmt: skip
        case Assigned(assignee=assignee):
            return replace(ticket, assignee=assignee)
        case Escalated(tier=tier):
            return replace(ticket, tier=tier, assignee=None, acknowledged_at=None, state="triaged")
        case Waiting(reason=reason):
            return replace(ticket, state="waiting", waiting=reason)
        case Resolved(at=at, resolution=resolution):
            return replace(
                ticket, state="resolved", resolution=resolution, resolved_at=at, waiting=None,
                restored_at=ticket.restored_at or ticket.quiet_since or at,
                phase="over" if ticket.phase is not None else None,
            )  # fmt: skip
        case Closed(at=at):
            return replace(ticket, state="closed", closed_at=at)
        case Reopened():
            return replace(
                ticket, state="reopened", resolved_at=None, closed_at=None, resolution=None, restored_at=None,
                acknowledged_at=None, assignee=None, quiet_since=None, reopenings=ticket.reopenings + 1,
            )  # fmt: skip
        case Merged(into=into):
            return replace(ticket, state="merged", merged_into=into)
        case _:  # Noted, ResolutionProposed, Delivered: facts that only the timeline holds
            return ticket


def _opened(change: Opened) -> Ticket:
    return Ticket(
        key=change.key, version=0, kind=change.kind, state="logged", source=change.source, service=change.service,
        opened_at=change.at, mode=change.mode, phase=change.phase, title=change.title, description=change.description,
        reporter=change.reporter, restricted=change.restricted, first_symptom_at=change.first_symptom_at,
        reported_at=change.reported_at, disrupted_at=change.at if change.phase == "disrupting" else None,
    )  # fmt: skip


def _joined(ticket: Ticket, change: SymptomJoined) -> Ticket:
    symptom = change.symptom
    symptoms = (*ticket.symptoms, symptom) if change.new else _with_symptom(ticket.symptoms, symptom)
    first = ticket.first_symptom_at
    holds = symptom.active and symptom.detector != "anomaly"
    return replace(
        ticket, symptoms=symptoms, mode=change.mode or ticket.mode,
        affected=change.affected if change.affected is not None else ticket.affected,
        first_symptom_at=symptom.first_at if first is None else min(first, symptom.first_at),
        quiet_since=None if holds else _quiet_since(ticket, symptoms, change.at),
    )  # fmt: skip


def _absorbed(ticket: Ticket, change: Absorbed) -> Ticket:
    known = {symptom.id for symptom in ticket.symptoms}
    symptoms = (*ticket.symptoms, *(symptom for symptom in change.symptoms if symptom.id not in known))
    firsts = [s.first_at for s in symptoms]
    return replace(
        ticket, symptoms=symptoms, mode=change.mode or ticket.mode,
        affected=change.affected if change.affected is not None else ticket.affected,
        first_symptom_at=min(firsts, default=None),
        quiet_since=_quiet_since(ticket, symptoms, change.at),
    )  # fmt: skip


def _with_symptom(symptoms: tuple[Symptom, ...], symptom: Symptom) -> tuple[Symptom, ...]:
    """In the place of the one that it is news of."""
    at = next(i for i, known in enumerate(symptoms) if known.id == symptom.id)
    return (*symptoms[:at], symptom, *symptoms[at + 1 :])


def _quiet_since(ticket: Ticket, symptoms: tuple[Symptom, ...], at: int) -> int | None:
    """Since when nothing holds the incident open. A single series' anomaly is context, not a reason: its model learns
    nothing while the incident is open, so that after a lasting shift it would wait for itself for ever."""
    if not symptoms or any(symptom.active and symptom.detector != "anomaly" for symptom in symptoms):
        return None
    return ticket.quiet_since or at


def _with_clock(ticket: Ticket, clock: ClockState) -> Ticket:
    others = tuple(c for c in ticket.clocks if c.name != clock.name)
    return replace(ticket, clocks=tuple(sorted((*others, clock), key=lambda c: c.name, reverse=True)))


def _clock_state(ticket: Ticket, name: str, state: Any) -> Ticket:
    return replace(ticket, clocks=tuple(replace(c, state=state) if c.name == name else c for c in ticket.clocks))


# --- what people do -------------------------------------------------------------------------------------------------


def acknowledge(ticket: Ticket, who: str, now: int) -> list[Change]:
    """Take the ticket: paging stops. Whoever holds it may do so again, to end the pages of what became worse since."""
    _alive(ticket, "acknowledged")
    if ticket.acknowledged_at is not None and ticket.assignee not in (None, who):
        raise NotAllowed(f"{ticket.key} is held by {ticket.assignee} already: assign it to yourself to take it over")
    return [Acknowledged(ticket.key, now, who, assignee=who)]


def assign(ticket: Ticket, who: str, now: int, assignee: str | None = None) -> list[Change]:
    _alive(ticket, "assigned")
    if ticket.category is None:
        raise NotAllowed(f"{ticket.key} has no category yet: set one before somebody is assigned")
    if assignee == ticket.assignee:
        return []
    return [Assigned(ticket.key, now, who, assignee=assignee or None)]


def escalate(ticket: Ticket, who: str, now: int, tier: str | None = None, summary: str = "") -> list[Change]:
    """To ``tier``, or one up; the summary says what was tried and excluded."""
    _alive(ticket, "escalated")
    current = ticket.tier or "L1"
    above = TIERS[TIERS.index(current) + 1 :]
    if not above:
        raise NotAllowed(f"{ticket.key} is with L3 already, the highest tier")
    target = tier or above[0]
    if target not in above:
        raise NotAllowed(f"{ticket.key} is with {current}; it can be escalated to {' or '.join(above)}")
    return [Escalated(ticket.key, now, who, tier=target, previous=current, summary=summary[:LONGEST_TEXT])]


def note(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: write it into {ticket.merged_into}")
    if not text.strip():
        raise NotAllowed("a note needs a text")
    return [Noted(ticket.key, now, who, text=text[:LONGEST_TEXT])]


def resolve(
    ticket: Ticket, who: str, now: int, resolution: str = "fixed", text: str = "", force: bool = False
) -> list[Change]:
    """With a code of the closed list. A ticket whose symptoms are active asks first (``force``)."""
    _alive(ticket, "resolved")
    if resolution not in get_args(Resolution):
        raise NotAllowed(f"{resolution!r} is no resolution; allowed: {', '.join(get_args(Resolution))}")
    active = [s for s in ticket.symptoms if s.active]
    if active and not force and resolution not in ("false-alarm", "not-worth-waking", "duplicate"):
        names = ", ".join(sorted({s.name for s in active})[:5])
        raise NotAllowed(f"{ticket.key} still has {len(active)} active symptoms ({names}): wait, or resolve with force")
    return [Resolved(ticket.key, now, who, resolution=resolution, text=text[:LONGEST_TEXT])]  # type: ignore[arg-type]


def close(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    if ticket.state == "closed":
        return []
    if ticket.state != "resolved":
        raise NotAllowed(f"{ticket.key} is {ticket.state}: resolve it first, with a resolution code")
    return [Closed(ticket.key, now, who, text=text[:LONGEST_TEXT])]


def reopen(ticket: Ticket, who: str, now: int, reason: str = "") -> list[Change]:
    if ticket.state not in ("resolved", "closed"):
        raise NotAllowed(f"{ticket.key} is {ticket.state}: only a resolved or closed ticket is reopened")
    return [Reopened(ticket.key, now, who, reason=reason[:LONGEST_TEXT])]


def merge(ticket: Ticket, who: str, now: int, into: Ticket) -> list[Change]:
    """``ticket`` ends in ``into``, which takes over its symptoms."""
    _alive(ticket, "merged")
    if into.key == ticket.key:
        raise NotAllowed(f"{ticket.key} cannot be merged into itself")
    if into.state in ENDED:
        raise NotAllowed(f"{into.key} is {into.state}: merge into an open ticket")
    if ticket.restricted != into.restricted:
        raise NotAllowed("a restricted ticket is merged with a restricted one only")
    higher = ticket.mode if MODES.index(ticket.mode) > MODES.index(into.mode) else None
    absorbed = Absorbed(
        into.key, now, who, source=ticket.key, symptoms=ticket.symptoms, mode=higher,
        affected=together(into.affected, ticket.affected),
    )  # fmt: skip
    return [Merged(ticket.key, now, who, into=into.key), absorbed]


def together(one: Sequence[Affected], other: Sequence[Affected]) -> tuple[Affected, ...]:
    """What either affects; an origin of one stays an origin."""
    items: dict[str, dict[str, None]] = {}
    how: dict[str, Literal["origin", "impacted"]] = {}
    for affected in (*one, *other):
        items.setdefault(affected.service, {}).update(dict.fromkeys(affected.items))
        if how.get(affected.service) != "origin":
            how[affected.service] = affected.how
    return tuple(Affected(service, tuple(names), how[service]) for service, names in items.items())


Action = Callable[..., list[Change]]
ACTIONS: dict[str, Action] = {
    "ack": acknowledge, "assign": assign, "escalate": escalate, "note": note, "resolve": resolve, "close": close,
    "reopen": reopen, "merge": merge,
}  # fmt: skip


def _alive(ticket: Ticket, verb: str) -> None:
    if ticket.state in ENDED:
        remedy = f"see {ticket.merged_into}" if ticket.state == "merged" else "reopen it first"
        raise NotAllowed(f"{ticket.key} is {ticket.state} and cannot be {verb}: {remedy}")


# --- the end, by itself ---------------------------------------------------------------------------------------------


def ending(ticket: Ticket, now: int, quiet_period: int, close_after: int) -> list[Change]:
    """What is due by the clock: the end of the quiet period, closure, breaches."""
    changes: list[Change] = []
    if _closes_by_itself(ticket) and ticket.resolved_at is not None and now >= ticket.resolved_at + close_after:
        changes.append(Closed(ticket.key, now, text="nothing came back"))
    elif ticket.state not in ENDED and ticket.quiet_since is not None and now >= ticket.quiet_since + quiet_period:
        changes += _quiet(ticket, now)
    for clock in ticket.clocks:
        if clock.state == "running" and now >= clock.due_at and ticket.state not in ENDED:
            changes.append(ClockBreached(ticket.key, now, clock=clock.name, due_at=clock.due_at))
    return changes


def _quiet(ticket: Ticket, now: int) -> list[Change]:
    """Nobody took it: it recovered by itself. Somebody did: it is theirs to confirm, except that a forecast which
    turned after somebody acted was prevented."""
    over: list[Change] = []
    if ticket.phase != "over":
        over.append(PhaseChanged(ticket.key, now, phase="over", previous=ticket.phase, reason="quiet long enough"))
    if ticket.acknowledged_at is None:
        return [*over, Resolved(ticket.key, now, resolution="self-recovered")]
    code: Resolution = "fixed" if ticket.disrupted_at is not None else "prevented"
    return [*over, ResolutionProposed(ticket.key, now, resolution=code)] if over else []


def _closes_by_itself(ticket: Ticket) -> bool:
    """Resolved, and nobody has to confirm it: a reporter does, and whoever handled a critical disruption records
    cause, fix and prevention."""
    critical = ticket.tier == "L3" and ticket.priority == "P1" and ticket.disrupted_at is not None
    return ticket.state == "resolved" and ticket.source != "report" and not critical


def next_due(ticket: Ticket, quiet_period: int, close_after: int) -> int | None:
    """When :func:`ending` has something to say next; None: never, as things are. Stored with the ticket, so that
    leaving a state deletes what was due in it."""
    due: list[int] = []
    if _closes_by_itself(ticket) and ticket.resolved_at is not None:
        due.append(ticket.resolved_at + close_after)
    if ticket.state not in ENDED:
        if ticket.quiet_since is not None and not (ticket.phase == "over" and ticket.acknowledged_at is not None):
            due.append(ticket.quiet_since + quiet_period)
        due += [clock.due_at for clock in ticket.clocks if clock.state == "running"]
    return min(due, default=None)
