"""The life of a ticket: what each change makes of it, and what is due by the clock. Pure.

``fold`` is the only place that says what a change means; the stored ticket is the fold of its timeline. What people
may do is in :mod:`detector.tickets.acts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from detector.nouns import (
    SYSTEM,
    Absorbed,
    Acknowledged,
    AcknowledgementExpired,
    ActionAnswered,
    ActionRun,
    ActionTaken,
    Answered,
    Asked,
    Assigned,
    BreachJudged,
    Bridge,
    BridgeEnded,
    BridgeOpened,
    Categorised,
    CauseRecorded,
    Change,
    Checked,
    ClockBreached,
    ClockMet,
    ClockStarted,
    ClockState,
    ClockWarned,
    Closed,
    Decided,
    Escalated,
    FixApplied,
    ForecastChanged,
    HelpAsked,
    Hypothesis,
    HypothesisSettled,
    HypothesisStated,
    Impact,
    Link,
    Linked,
    Merged,
    Mode,
    Muted,
    Offered,
    Opened,
    PageDeferred,
    PageReleased,
    PhaseChanged,
    PreventionDeclined,
    PreventionDone,
    Prioritised,
    Priority,
    PublicDrafted,
    PublicUpdate,
    Published,
    Question,
    Reopened,
    Replied,
    Resolution,
    ResolutionProposed,
    Resolved,
    Resumed,
    Returned,
    Routed,
    ServiceRestored,
    SolutionUsed,
    State,
    Symptom,
    SymptomJoined,
    SymptomRefreshed,
    SymptomsMoved,
    Ticket,
    Tier,
    Triaged,
    Unmuted,
    Used,
    Waiting,
)

ENDED: frozenset[State] = frozenset({"resolved", "closed", "merged"})
TIERS: tuple[Tier, ...] = get_args(Tier)
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the quietest to the loudest."""
LONGEST_TEXT = 10_000
REPORTER = "reporter"
"""Who reported, in the timeline: a name that a person might also bear is no proof."""
NEVER: Mapping[Priority, int] = {}
MOST_DAMPED = 3
"""Doublings of the quiet period."""
HypothesisState = Literal["stated", "confirmed", "rejected"]


def fold(ticket: Ticket | None, change: Change) -> Ticket:
    """The ticket after ``change``; ``ticket`` is None before it was opened."""
    after = _fold(ticket, change)
    return after if change.who in (SYSTEM.name, REPORTER) else replace(after, last_step_at=change.at)


def _fold(ticket: Ticket | None, change: Change) -> Ticket:
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
            critical = ticket.critical or (tier == TIERS[-1] and ticket.breach is None)
            return replace(ticket, tier=tier, team=team, runbook=runbook or ticket.runbook, critical=critical)
        case Categorised(who=who, category=category):
            return replace(ticket, category=category, category_by=who)
        case Prioritised(who=who, priority=priority, reason=reason):
            said = f"set by {who}" + (f": {reason}" if reason else "")
            return replace(ticket, priority=priority, priority_by=who, priority_reason=said)
        case Decided(kind=kind):
            # What was only a fallback follows the kind.
            fallback = ticket.category in ("other", "request") and ticket.category_by is None
            return replace(ticket, kind=kind, category=None if fallback else ticket.category)
        case ClockStarted(clock=name, due_at=due, warn_at=warn):
            known = next((c for c in ticket.clocks if c.name == name), None)
            warned = known is not None and known.warned and known.due_at >= due
            return _with_clock(ticket, ClockState(name, due, "running", warn, warned))
        case ClockWarned(clock=name):
            clocks = tuple(replace(c, warned=True) if c.name == name else c for c in ticket.clocks)
            return replace(ticket, clocks=clocks)
        case ClockMet(clock=name):
            return _clock_state(ticket, name, "met")
        case ClockBreached(clock=name):
            missed = (*ticket.missed, *({name} - set(ticket.missed)))
            return replace(_clock_state(ticket, name, "breached"), missed=missed)
        case Acknowledged(at=at, assignee=assignee):
            # Whoever reported it has no answer yet: only a person's reply is one.
            answered = ticket.first_response_at or (at if ticket.source != "report" else None)
            return replace(
                _undeferred(_going_on(ticket, at), at), state="diagnosing", assignee=assignee, declined=(),
                acknowledged_at=at, first_response_at=answered, offered_to=None, offered_at=None,
            )  # fmt: skip
        case AcknowledgementExpired():
            return replace(ticket, state="triaged", assignee=None, acknowledged_at=None)
        case Returned(who=who):
            declined = (*_without(ticket.declined, who), who)
            back: State = "triaged" if ticket.waiting is None else "waiting"
            return replace(
                ticket, state=back, assignee=None, acknowledged_at=None, declined=declined, offered_to=None,
                offered_at=None,
            )  # fmt: skip
        case HelpAsked(person=person):
            responders = (*_without(ticket.responders, person), person)
            return replace(ticket, responders=responders, declined=_without(ticket.declined, person))
        case Offered(at=at, to=to):
            return replace(ticket, offered_to=to, offered_at=at)
        case PageDeferred():
            return _deferred(ticket, change)
        case PageReleased(at=at):
            return _undeferred(ticket, at)
        case Assigned(assignee=assignee):
            return replace(ticket, assignee=assignee, offered_to=None, offered_at=None)
        case Escalated(tier=tier):
            # Who is waited for stays the same: a clock that hands it on brings no answer.
            state: State = "triaged" if ticket.waiting is None else "waiting"
            return replace(
                ticket, tier=tier, assignee=None, acknowledged_at=None, state=state, offered_to=None, offered_at=None
            )
        case Waiting(at=at, reason=reason):
            still = _standing(ticket, at, "resolution")
            return replace(still, state="waiting", waiting=reason, waiting_since=at)
        case Resumed(at=at):
            held = ticket.acknowledged_at is not None
            return replace(_going_on(ticket, at), state="diagnosing" if held else "triaged")
        case Muted(at=at, by=by, reason=reason, until=until):
            heard = _undeferred(ticket, at)
            still = heard if ticket.muted_since is not None else _standing(heard, at, "response", "resolution")
            since = ticket.muted_since if ticket.muted_since is not None else at
            return replace(still, muted_since=since, muted_until=until, muted_by=by, muted_why=reason)
        case Unmuted(at=at):
            return _heard(ticket, at)
        case Replied(at=at):
            return replace(ticket, first_response_at=ticket.first_response_at or at)
        case Linked(to=to, how=how):
            return replace(ticket, links=(*ticket.links, Link(to, how)))
        case SymptomsMoved(at=at, symptoms=ids):
            left = tuple(symptom for symptom in ticket.symptoms if symptom.id not in ids)
            firsts = [symptom.first_at for symptom in left]
            return replace(
                ticket, symptoms=left, first_symptom_at=min(firsts), quiet_since=_quiet_since(ticket, left, at)
            )
        case Asked(questions=texts):
            first = len(ticket.questions) + 1
            fresh = tuple(Question(number, text) for number, text in enumerate(texts, first))
            return replace(ticket, questions=(*ticket.questions, *fresh))
        case Answered(at=at, answers=answers, solved=solved):
            told = (replace(q, answer=answers.get(q.number, q.answer)) for q in ticket.questions)
            return replace(ticket, questions=tuple(told), confirmed_at=at if solved else ticket.confirmed_at)
        case SolutionUsed(used=key, helped=helped):
            others = tuple(used for used in ticket.used if used.key != key)
            return replace(ticket, used=(*others, Used(key, helped)))
        case BridgeOpened():
            number = ticket.bridge.number + 1 if ticket.bridge is not None else 1
            call = Bridge(number, change.link, change.dial_in, change.begins, change.ends, change.attendees)
            return replace(ticket, bridge=call)
        case BridgeEnded(text=text):
            return replace(ticket, bridge=replace(ticket.bridge, outcome=text) if ticket.bridge is not None else None)
        case ActionRun(at=at, who=who, name=name, before=before):
            return _acted(replace(ticket, actions=(*ticket.actions, ActionTaken(name, at, who))), at, before)
        case ActionAnswered(name=name, ok=ok, said=said):
            return replace(ticket, actions=_answered(ticket.actions, name, ok, said))
        case PreventionDone(at=at, before=before):
            return _acted(ticket, at, before)
        case PreventionDeclined(text=text):
            return replace(ticket, prevention_declined=text)
        case PublicDrafted(at=at, who=who, status=status, title=title, body=body):
            draft = PublicUpdate(at, status, body, who) if body else None
            return replace(ticket, draft=draft, public_title=title or ticket.public_title)
        case Published(at=at, who=who, status=status, title=title, body=body, components=components):
            return replace(
                ticket, public=(*ticket.public, PublicUpdate(at, status, body, who)), draft=None,
                public_title=title or ticket.public_title, public_components=components or ticket.public_components,
            )  # fmt: skip
        case HypothesisStated(number=number, text=text):
            return replace(ticket, hypotheses=(*ticket.hypotheses, Hypothesis(number, text)))
        case HypothesisSettled(number=number, holds=holds):
            word: Literal["confirmed", "rejected"] = "confirmed" if holds else "rejected"
            settled = (replace(h, state=word) if h.number == number else h for h in ticket.hypotheses)
            return replace(ticket, hypotheses=tuple(settled))
        case FixApplied(at=at):
            return replace(ticket, fix_applied_at=at)
        case ServiceRestored(at=at):
            return replace(ticket, restored_at=at)
        case CauseRecorded(cause=cause, fix=fix, prevention=prevention):
            return replace(ticket, cause=cause, fix=fix, prevention=prevention)
        case BreachJudged(verdict=verdict):
            return replace(ticket, breach=verdict)
        case Checked(item=item):
            return replace(ticket, checklist=(*ticket.checklist, item))
        case Resolved(at=at, resolution=resolution):
            return replace(
                _undeferred(_heard(_going_on(ticket, at), at), at), state="resolved", resolution=resolution,
                resolved_at=at,
                restored_at=ticket.restored_at or ticket.quiet_since or at,
                phase="over" if ticket.phase is not None else None,
            )  # fmt: skip
        case Closed(at=at):
            return replace(ticket, state="closed", closed_at=at)
        case Reopened():
            return replace(
                ticket, state="reopened", resolved_at=None, closed_at=None, resolution=None, restored_at=None,
                acknowledged_at=None, assignee=None, quiet_since=None, reopenings=ticket.reopenings + 1,
                confirmed_at=None, declined=(), responders=(),
            )  # fmt: skip
        case Merged(at=at, into=into):
            return replace(_undeferred(_heard(_going_on(ticket, at), at), at), state="merged", merged_into=into)
        case _:  # Noted, Joined, Informed, Answered, ResolutionProposed, Delivered: facts that only the timeline holds
            return ticket


def _acted(ticket: Ticket, at: int, before: Impact | None) -> Ticket:
    """Somebody acted on a prediction: the forecast at the first time is kept, to hold what follows against it."""
    if ticket.prevented_at is not None:
        return ticket
    return replace(ticket, prevented_at=at, prevention_before=before)


def _answered(actions: tuple[ActionTaken, ...], name: str, ok: bool, said: str) -> tuple[ActionTaken, ...]:
    result: Literal["succeeded", "failed"] = "succeeded" if ok else "failed"
    return tuple(
        replace(one, result=result, said=said) if one.name == name and one.result == "running" else one
        for one in actions
    )


def _opened(change: Opened) -> Ticket:
    return Ticket(
        key=change.key, version=0, kind=change.kind, state="logged", source=change.source, service=change.service,
        opened_at=change.at, mode=change.mode, phase=change.phase, title=change.title, description=change.description,
        reporter=change.reporter, restricted=change.restricted, first_symptom_at=change.first_symptom_at,
        reported_at=change.reported_at, disrupted_at=change.at if change.phase == "disrupting" else None,
        breach="suspected" if change.restricted else None,
        links=(Link(change.follows, "follows"),) if change.follows else (),
    )  # fmt: skip


def _standing(ticket: Ticket, at: int, *names: str) -> Ticket:
    """These clocks stand still from ``at`` on."""
    for name in names:
        ticket = _clock_state(ticket, name, "paused", only="running")
    return replace(ticket, still_since=ticket.still_since if ticket.still_since is not None else at)


def _going_on(ticket: Ticket, at: int) -> Ticket:
    """Nobody is waited for any more; the resolution clock goes on where it stood, unless it is muted as well."""
    if ticket.waiting_since is None:
        return ticket
    return _running(replace(ticket, waiting=None, waiting_since=None), at)


def _heard(ticket: Ticket, at: int) -> Ticket:
    """People are told of it again; the response clock goes on where it stood."""
    if ticket.muted_since is None:
        return ticket
    stood = max(0, at - ticket.muted_since)
    heard = replace(
        ticket, muted_since=None, muted_until=None, muted_by=(), muted_why="", muted_ms=ticket.muted_ms + stood,
        silent=(*ticket.silent, (ticket.muted_since, at)),
    )  # fmt: skip
    return _running(_moved(heard, "response", stood), at)


def _running(ticket: Ticket, at: int) -> Ticket:
    """The resolution clock runs again, once neither a wait nor a silence holds it: where both overlap, that counts
    once."""
    if ticket.still_since is None or ticket.waiting_since is not None or ticket.muted_since is not None:
        return ticket
    stood = max(0, at - ticket.still_since)
    moved = replace(
        ticket, still_since=None, paused_ms=ticket.paused_ms + stood, still=(*ticket.still, (ticket.still_since, at))
    )
    return _moved(moved, "resolution", stood)


def _deferred(ticket: Ticket, change: PageDeferred) -> Ticket:
    """Nobody is told at night: the response clock stands still as well."""
    since = ticket.deferred_since if ticket.deferred_since is not None else change.at
    return replace(
        _clock_state(ticket, "response", "paused", only="running"), deferred_since=since, deferred_until=change.until,
        wakes_at=change.wakes_at, deferred_why=change.reason,
    )  # fmt: skip


def _undeferred(ticket: Ticket, at: int) -> Ticket:
    """Its pages wait no longer; the response clock goes on where it stood."""
    if ticket.deferred_since is None:
        return ticket
    stood = max(0, at - ticket.deferred_since)
    paging = replace(
        ticket, deferred_since=None, deferred_until=None, wakes_at=None, deferred_why="",
        deferred_ms=ticket.deferred_ms + stood, silent=(*ticket.silent, (ticket.deferred_since, at)),
    )  # fmt: skip
    return _moved(paging, "response", stood)


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _moved(ticket: Ticket, name: str, stood: int) -> Ticket:
    """A paused clock runs again, with its times later by what it stood still."""
    clocks = tuple(
        replace(c, state="running", due_at=c.due_at + stood, warn_at=c.warn_at + stood)
        if c.name == name and c.state == "paused"
        else c
        for c in ticket.clocks
    )
    return replace(ticket, clocks=clocks)


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


def _clock_state(ticket: Ticket, name: str, state: Any, only: str = "") -> Ticket:
    clocks = (replace(c, state=state) if c.name == name and only in ("", c.state) else c for c in ticket.clocks)
    return replace(ticket, clocks=tuple(clocks))


# --- the end, by itself ---------------------------------------------------------------------------------------------


def damped(ticket: Ticket, quiet_period: int) -> int:
    """The quiet period (ms) of a ticket that came back before: twice as long each time, so that what flaps is one open
    ticket and not a message every ten minutes."""
    return quiet_period << min(ticket.reopenings, MOST_DAMPED)


def ending(
    ticket: Ticket, now: int, quiet_period: int, close_after: int, holds: Mapping[Priority, int] = NEVER
) -> list[Change]:
    """What is due by the clock: the end of the quiet period, closure, breaches, an acknowledgement that ``holds`` (ms
    by priority) no longer."""
    changes: list[Change] = []
    quiet_period = damped(ticket, quiet_period)
    if _closes_by_itself(ticket) and ticket.resolved_at is not None and now >= ticket.resolved_at + close_after:
        changes.append(Closed(ticket.key, now, text="nothing came back"))
    elif ticket.state not in ENDED and ticket.quiet_since is not None and now >= ticket.quiet_since + quiet_period:
        changes += _quiet(ticket, now)
    if ticket.state not in ENDED and not any(isinstance(change, Resolved) for change in changes):
        changes += _late(ticket, now)
        expires = _expires(ticket, holds)
        if expires is not None and now >= expires:
            changes.append(AcknowledgementExpired(ticket.key, now, assignee=ticket.assignee or ""))
    return changes


def _expires(ticket: Ticket, holds: Mapping[Priority, int]) -> int | None:
    """When the acknowledgement ends unless its holder takes a step: not while somebody else has the next word, nor once
    all is quiet."""
    held = ticket.state == "diagnosing" and ticket.acknowledged_at is not None and ticket.phase != "over"
    if not held or ticket.priority is None or ticket.priority not in holds:
        return None
    return (ticket.last_step_at or ticket.acknowledged_at or 0) + holds[ticket.priority]


def _late(ticket: Ticket, now: int) -> list[Change]:
    """Clocks warn before they are missed; the next tier gets what was missed, told what is known so far."""
    changes: list[Change] = []
    for clock in ticket.clocks:
        if clock.state != "running":
            continue
        if now >= clock.due_at:
            changes.append(ClockBreached(ticket.key, now, clock=clock.name, due_at=clock.due_at))
        elif not clock.warned and now >= clock.warn_at > 0:
            changes.append(ClockWarned(ticket.key, now, clock=clock.name, due_at=clock.due_at))
    # A word that is owed to the public does not move with the ticket.
    missed = [change.clock for change in changes if isinstance(change, ClockBreached) and change.clock != "update"]
    higher = TIERS[TIERS.index(ticket.tier) + 1 :] if ticket.tier is not None else ()
    if missed and higher and ticket.mode != "shadow":
        text = f"The {' and '.join(missed)} target was missed. {handover(ticket)}"
        changes.append(Escalated(ticket.key, now, tier=higher[0], previous=ticket.tier, summary=text))
    return changes


def handover(ticket: Ticket) -> str:
    """What the next tier should know: tried, excluded, next; from the ticket's facts."""
    tried = "Fix applied, not restored" if ticket.fix_applied_at and not ticket.restored_at else "No fix applied yet"
    by_state = {state: [h.text for h in ticket.hypotheses if h.state == state] for state in get_args(HypothesisState)}
    parts = [f"Tried: {tried}."]
    for state, word in (("rejected", "Excluded"), ("confirmed", "Confirmed"), ("stated", "Next: find out whether")):
        if by_state[state]:
            parts.append(f"{word}: {'; '.join(by_state[state])}.")
    if not by_state["stated"]:
        parts.append(f"Next: the runbook {ticket.runbook}." if ticket.runbook else "Next: nothing is stated.")
    return " ".join(parts)[:LONGEST_TEXT]


def _quiet(ticket: Ticket, now: int) -> list[Change]:
    """Nobody took it: it recovered by itself. Somebody did: it is theirs to confirm. A prediction that did not come
    true was prevented where somebody acted on it, and else recovered by itself."""
    over: list[Change] = []
    if ticket.phase != "over":
        over.append(PhaseChanged(ticket.key, now, phase="over", previous=ticket.phase, reason="quiet long enough"))
    if ticket.acknowledged_at is None:
        return [*over, Resolved(ticket.key, now, resolution="self-recovered")]
    acted = ticket.prevented_at is not None or ticket.fix_applied_at is not None
    code: Resolution = "fixed" if ticket.disrupted_at is not None else "prevented" if acted else "self-recovered"
    return [*over, ResolutionProposed(ticket.key, now, resolution=code)] if over else []


def owes_cause(ticket: Ticket) -> bool:
    """Whether cause, fix and prevention have to be recorded before it is closed: it went to L3 directly. One that
    recovered by itself stays resolved until then."""
    nothing = ticket.resolution in ("false-alarm", "not-worth-waking", "duplicate", "declined")
    return ticket.critical and not nothing and not (ticket.cause and ticket.fix and ticket.prevention)


def _closes_by_itself(ticket: Ticket) -> bool:
    """Resolved, and nobody has to confirm it: a reporter does, and L3 records what was behind a critical one."""
    return ticket.state == "resolved" and ticket.source != "report" and not owes_cause(ticket)


def next_due(ticket: Ticket, quiet_period: int, close_after: int, holds: Mapping[Priority, int] = NEVER) -> int | None:
    """When :func:`ending` has something to say next; None: never, as things are. Stored with the ticket, so that
    leaving a state deletes what was due in it."""
    due: list[int] = []
    if _closes_by_itself(ticket) and ticket.resolved_at is not None:
        due.append(ticket.resolved_at + close_after)
    if ticket.state not in ENDED:
        if ticket.quiet_since is not None and not (ticket.phase == "over" and ticket.acknowledged_at is not None):
            due.append(ticket.quiet_since + damped(ticket, quiet_period))
        due += [at for at in (ticket.muted_until, ticket.deferred_until) if at is not None]
        if (expires := _expires(ticket, holds)) is not None:
            due.append(expires)
        running = [clock for clock in ticket.clocks if clock.state == "running"]
        due += [clock.due_at if clock.warned or not clock.warn_at else clock.warn_at for clock in running]
    return min(due, default=None)
