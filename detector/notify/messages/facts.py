"""An incident as JSON, for those who read with a program: the names and shape that the API documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from detector.clock import rfc3339
from detector.notify.messages.headline import title
from detector.nouns import Symptom, Ticket, TimelineEntry
from detector.words import in_calendar


def incident(ticket: Ticket, timeline: Sequence[TimelineEntry] = ()) -> dict[str, Any]:
    """The facts of ``ticket`` under the API's names, times as RFC 3339, JSON throughout (no NaN).

    Everything is in it: whether the reader may see a restricted ticket is the caller's to ask.
    """
    impact = ticket.impact
    return {
        "key": ticket.key, "kind": ticket.kind, "phase": ticket.phase, "state": ticket.state, "source": ticket.source,
        "title": title(ticket), "description": ticket.description,
        "reporter": {"name": ticket.reporter.name, "contact": ticket.reporter.contact,
                     "language": ticket.reporter.language} if ticket.reporter else None,
        "service": ticket.service, "category": ticket.category,
        "priority": ticket.priority, "priority_reason": ticket.priority_reason,
        "impact": {"users": ticket.impact_users, "business": ticket.impact_business}, "urgency": ticket.urgency,
        "tier": ticket.tier, "team": ticket.team, "assignee": ticket.assignee, "waiting": ticket.waiting,
        "restricted": ticket.restricted, "mode": ticket.mode,
        "first_symptom_at": _time(ticket.first_symptom_at), "reported_at": _time(ticket.reported_at),
        "opened_at": _time(ticket.opened_at),
        "predicted_disruption_at": _time(impact.likely) if impact else None,
        "predicted_disruption_between": [_time(impact.earliest), _time(impact.latest)] if impact else None,
        "disrupted_at": _time(ticket.disrupted_at), "acknowledged_at": _time(ticket.acknowledged_at),
        "first_response_at": _time(ticket.first_response_at), "fix_applied_at": _time(ticket.fix_applied_at),
        "restored_at": _time(ticket.restored_at), "resolved_at": _time(ticket.resolved_at),
        "closed_at": _time(ticket.closed_at), "resolution": ticket.resolution, "merged_into": ticket.merged_into,
        "symptoms": [_symptom(s) for s in ticket.symptoms],
        "affected": [{"service": a.service, "items": list(a.items), "how": a.how} for a in ticket.affected],
        "similar": [dict(s) for s in ticket.similar],
        "clocks": [{"name": c.name, "due_at": _time(c.due_at), "state": c.state} for c in ticket.clocks],
        "hypotheses": [{"number": h.number, "text": h.text, "state": h.state} for h in ticket.hypotheses],
        "cause": ticket.cause, "fix": ticket.fix, "prevention": ticket.prevention,
        "breach": ticket.breach, "checklist": list(ticket.checklist),
        "links": [{"key": link.key, "how": link.how} for link in ticket.links],
        "questions": [{"number": q.number, "text": q.text, "answer": q.answer} for q in ticket.questions],
        "solutions_used": [{"key": u.key, "helped": u.helped} for u in ticket.used],
        "bridge": {"link": ticket.bridge.link, "dial_in": ticket.bridge.dial_in,
                   "begins_at": _time(ticket.bridge.begins), "ends_at": _time(ticket.bridge.ends),
                   "attendees": list(ticket.bridge.attendees), "outcome": ticket.bridge.outcome}
        if ticket.bridge is not None else None,
        "actions": [{"name": a.name, "at": _time(a.at), "who": a.who, "result": a.result, "said": a.said}
                    for a in ticket.actions],
        "public": [{"at": _time(u.at), "status": u.status, "body": u.body} for u in ticket.public],
        "muted": {"since": _time(ticket.muted_since), "until": _time(ticket.muted_until), "by": list(ticket.muted_by),
                  "reason": ticket.muted_why} if ticket.muted_since is not None else None,
        "responders": list(ticket.responders), "offered_to": ticket.offered_to,
        "deferred": {"since": _time(ticket.deferred_since), "until": _time(ticket.deferred_until),
                     "wakes_at": _time(ticket.wakes_at), "reason": ticket.deferred_why}
        if ticket.deferred_since is not None else None,
        "timeline": [{"at": _time(e.at), "who": e.who, "what": e.what, "data": dict(e.data)} for e in timeline],
    }  # fmt: skip


def _symptom(symptom: Symptom) -> dict[str, Any]:
    impact = symptom.impact
    return {
        "id": symptom.id, "detector": symptom.detector, "kind": symptom.kind, "metric": symptom.metric,
        "labels": dict(symptom.labels), "first_seen_at": _time(symptom.first_at),
        "last_seen_at": _time(symptom.last_at), "active": symptom.active, "score": _finite(symptom.score),
        "value": _finite(symptom.value),
        "expected": {"lower": _finite(symptom.lower), "upper": _finite(symptom.upper)}
        if symptom.lower is not None or symptom.upper is not None else None,
        "time_to_impact_seconds": max(0, impact.likely - symptom.last_at) // 1000 if impact else None,
        "summary": symptom.summary,
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(in_calendar(at))
