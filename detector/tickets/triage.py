"""Category, priority, tier and clocks: functions of the ticket's facts; computed again whenever the facts change."""

from __future__ import annotations

from dataclasses import dataclass

from detector.nouns import Change, Level, Routed, Ticket, Triaged
from detector.tickets.clocks import clocks
from detector.tickets.options import DEFAULT_CATEGORIES, SHIPPED_ROUTING, RoutingRule, TicketOptions

HOUR = 3_600_000
DAY = 24 * HOUR
_STAY = 1.25
"""A forecast that wavers around a bound does not change the urgency to and fro: it falls only well beyond."""
LEVELS: tuple[Level, ...] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the catalogue knows of a service."""

    users: Level = "medium"
    business: Level = "medium"
    team: str | None = None
    runbook: str = ""


def triage(ticket: Ticket, facts: ServiceFacts, options: TicketOptions, now: int) -> list[Change]:
    """What category, priority, tier, team and clocks should be now, as far as it differs from what they are."""
    changes: list[Change] = []
    triaged = _triaged(ticket, facts, options, now)
    if _differs(ticket, triaged):
        changes.append(triaged)
    routed = _routed(ticket, triaged, facts, options, now)
    # A person's escalation is not undone by a change of the facts: a ticket only ever rises.
    if ticket.tier is None or (routed.tier > ticket.tier and triaged.priority != ticket.priority):
        changes.append(routed)
    return [*changes, *clocks(ticket, triaged.priority, triaged.category, options.clocks, now)]


def category(ticket: Ticket, options: TicketOptions) -> str:
    """A person's word, else the symptoms' own category (the one that is closest to people first), else a rule's, else
    ``other``."""
    if ticket.category_by is not None and ticket.category is not None:
        return ticket.category
    if ticket.restricted:
        return "security/data-breach"
    for symptom in sorted(ticket.symptoms, key=lambda s: (not s.disruption, s.detector == "anomaly", s.first_at)):
        if symptom.category:
            return symptom.category
        for rule in options.categories:
            if all(symptom.labels.get(name) == value for name, value in rule.labels.items()):
                return rule.category
    return ticket.category or ("other" if ticket.kind != "request" else "request")


def urgency(ticket: Ticket, now: int) -> tuple[Level, str]:
    """High: the disruption is there or expected within the hour; medium: within a day, or unknown; low: later."""
    if ticket.phase == "disrupting":
        return "high", "users are hurt"
    if ticket.impact is None or ticket.phase == "recovering":
        return "medium", "no time to impact is known" if ticket.phase != "recovering" else "recovering"
    left = ticket.impact.likely - now
    if left <= HOUR * (_STAY if ticket.urgency == "high" else 1):
        return "high", "disruption expected within the hour"
    if left <= DAY * (_STAY if ticket.urgency == "medium" else 1):
        return "medium", "disruption expected within a day"
    return "low", "disruption expected later than in a day"


def next_urgency(ticket: Ticket, now: int) -> int | None:
    """When (ms) the urgency rises by time alone, because the forecast disruption comes nearer."""
    if ticket.impact is None or ticket.phase != "predicted" or ticket.state in ("resolved", "closed", "merged"):
        return None
    return min((at for at in (ticket.impact.likely - DAY, ticket.impact.likely - HOUR) if at > now), default=None)


def _triaged(ticket: Ticket, facts: ServiceFacts, options: TicketOptions, now: int) -> Triaged:
    level, why = urgency(ticket, now)
    impact = max(facts.users, facts.business, key=LEVELS.index)
    priority = options.matrix[impact][level]
    reason = f"{impact} impact, {level} urgency: {why}"
    if ticket.symptoms and all(s.severity == "info" for s in ticket.symptoms):
        priority, reason = "P4", "for information only (severity info)"
    if ticket.priority_by is not None and ticket.priority is not None:
        priority, reason = ticket.priority, ticket.priority_reason
    return Triaged(
        ticket.key, now, category=category(ticket, options), priority=priority, priority_reason=reason,
        impact_users=facts.users, impact_business=facts.business, urgency=level, previous=ticket.priority,
    )  # fmt: skip


def _differs(ticket: Ticket, triaged: Triaged) -> bool:
    # An open ticket keeps a category that was set, unless it was the fallback: people route by it.
    return (
        ticket.priority != triaged.priority
        or ticket.urgency != triaged.urgency
        or ticket.category is None
        or (ticket.category == "other" and triaged.category != "other")
    )


def _routed(ticket: Ticket, triaged: Triaged, facts: ServiceFacts, options: TicketOptions, now: int) -> Routed:
    for rule in (*options.routing, *SHIPPED_ROUTING):
        if _fits(rule, ticket, triaged, now):
            return Routed(
                ticket.key, now, tier=rule.tier, team=rule.team or facts.team, reason=_why(rule, triaged),
                runbook=_runbook(ticket) or facts.runbook,
            )  # fmt: skip
    raise AssertionError("the last shipped rule fits all")


def _runbook(ticket: Ticket) -> str:
    """What the rule or alert brings is closer to the trouble than what the catalogue says of the whole service."""
    texts = (s.annotations.get(name, "") for s in ticket.symptoms for name in ("runbook_url", "runbook"))
    return next((text for text in texts if text), "")


def _fits(rule: RoutingRule, ticket: Ticket, triaged: Triaged, now: int) -> bool:
    if rule.priorities and triaged.priority not in rule.priorities:
        return False
    if rule.categories and triaged.category not in rule.categories:
        return False
    if rule.services and ticket.service not in rule.services:
        return False
    if rule.within is not None and ticket.phase != "disrupting":
        return ticket.impact is not None and ticket.impact.likely - now <= rule.within
    return True


def _why(rule: RoutingRule, triaged: Triaged) -> str:
    named = [name for name in ("priorities", "categories", "services", "within") if getattr(rule, name)]
    return f"{triaged.priority}, {triaged.category}" if named else "everything else"


__all__ = ["DEFAULT_CATEGORIES", "ServiceFacts", "category", "next_urgency", "triage", "urgency"]
