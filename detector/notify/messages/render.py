"""From a claimed notification to a :class:`Message`: pure, so that the same notification says the same in every attempt
made at the same time, and a test can read it."""

from __future__ import annotations

import json
from datetime import tzinfo
from typing import Any

from detector.clock import rfc3339
from detector.notify.messages.facts import incident
from detector.notify.messages.formats import Draft, as_html, as_markdown, as_text
from detector.notify.messages.headline import LENGTH, headline, title
from detector.notify.messages.message import Message, Severity
from detector.notify.messages.story import leading
from detector.nouns import Notification, Symptom, Ticket
from detector.words import clock, cut, in_calendar, plain, quantity, unit_of, within

_SEVERITY: dict[str | None, Severity] = {"P1": "critical", "P2": "error", "P3": "warning", "P4": "info"}
_EVIDENCE_LINES = 3


def render(notification: Notification, now: int, external_url: str, zone: tzinfo, act: str = "") -> Message:
    """Word ``notification`` at ``now`` (ms) for readers in ``zone``.

    ``external_url``: where the web pages are reached, as configured; empty: no link. ``act``: the address that opens it
    to the person who is called.
    """
    if notification.memo is not None:
        return memo(notification, *notification.memo, external_url)
    if notification.also:
        return together(notification, now, external_url, zone, act)
    ticket = notification.ticket
    subject = headline(ticket, now, zone)
    link = f"{external_url.rstrip('/')}/incidents/{ticket.key}" if external_url else ""
    draft = Draft(
        subject=subject,
        meaning="" if ticket.restricted else _meaning(notification, now, zone),
        evidence=() if ticket.restricted else _evidence(ticket, now, zone),
        runbook="" if ticket.restricted or _is_over(ticket) else _runbook(ticket),
        key=plain(ticket.key, 40),
        link=link,
        act=act,
    )
    return Message(
        subject=subject,
        title="Restricted" if ticket.restricted else title(ticket),
        text=as_text(draft),
        html=as_html(draft),
        markdown=as_markdown(draft),
        link=link,
        dedup_key=notification.dedup_key,
        idempotency_key=notification.idempotency_key,
        event=notification.event,
        urgency=notification.urgency,
        severity=_SEVERITY.get(ticket.priority, "warning"),
        created_at=notification.created_at,
        key=draft.key,
        service="restricted" if ticket.restricted else plain(ticket.service, 200),
        category="" if ticket.restricted else plain(ticket.category or "", 100),
        over=_is_over(ticket),
        thread=notification.thread,
        facts=_masked(ticket) if ticket.restricted else incident(ticket),
        changes=_changes(notification),
        act=act,
    )


def together(notification: Notification, now: int, external_url: str, zone: tzinfo, act: str = "") -> Message:
    """Many calls of one person in one message: every ticket by its headline, the most urgent first."""
    tickets = sorted((notification.ticket, *notification.also), key=lambda t: (t.priority or "P9", t.opened_at, t.key))
    first = tickets[0]
    count = f"{len(tickets)} incidents need you: "
    subject = cut(count + headline(first, now, zone), LENGTH)
    lines = tuple(f"{plain(ticket.key, 40)} {headline(ticket, now, zone)}" for ticket in tickets)
    link = external_url.rstrip("/")
    meaning = "They came within a minute; this is the one message for all of them."
    draft = Draft(subject, meaning, lines, "", "board", link, act, "Acknowledge all")
    return Message(
        subject, subject, as_text(draft), as_html(draft), as_markdown(draft), link, notification.dedup_key,
        notification.idempotency_key, notification.event, notification.urgency,
        _SEVERITY.get(first.priority, "warning"), notification.created_at, key=plain(first.key, 40),
        service="several", category="", facts={"key": first.key, "title": subject, "keys": [t.key for t in tickets]},
        act=act,
    )  # fmt: skip


def memo(notification: Notification, subject: str, text: str, external_url: str) -> Message:
    """A message that is about no ticket: a subject, and lines that are only text."""
    subject = plain(subject, LENGTH)
    lines = tuple(plain(line, 500) for line in text.splitlines() if line.strip())
    link = f"{external_url.rstrip('/')}/oncall" if external_url else ""
    draft = Draft(subject, "", lines, "", "on call", link)
    return Message(
        subject, subject, as_text(draft), as_html(draft), as_markdown(draft), link, notification.dedup_key,
        notification.idempotency_key, notification.event, "notify", "info", notification.created_at, key="oncall",
        service="detector", category="monitoring", over=True, facts={"key": "oncall", "title": subject},
    )  # fmt: skip


def trial_message(channel: str, now: int, external_url: str, act: str = "") -> Message:
    """What ``send_test`` sends: it says that it is a test, and nobody has to do anything; with ``act`` they are asked
    to say that it arrived."""
    subject = cut(f"Test: the detector reaches {plain(channel, 60)}", LENGTH)
    link = external_url.rstrip("/")
    meaning = "Nothing is wrong" + (": please say that this arrived." if act else " and nothing is to be done.")
    draft = Draft(subject, meaning, (), "", "detector", link, act, "It arrived")
    key = f"test-{plain(channel, 60)}-{now}"
    return Message(
        subject, subject, as_text(draft), as_html(draft), as_markdown(draft), link, key, key, "test", "notify", "info",
        now, key="test", service="detector", category="monitoring", facts={"key": "test", "title": subject}, act=act,
    )  # fmt: skip


def _changes(notification: Notification) -> tuple[dict[str, Any], ...]:
    """What a commit changed, with the times as the API writes them."""
    if notification.event != "change":
        return ()
    return tuple({**fact, "at": rfc3339(in_calendar(fact["at"]))} for fact in json.loads(notification.text))


def _masked(ticket: Ticket) -> dict[str, Any]:
    """Of a restricted ticket: that it exists and where it stands."""
    return {"key": ticket.key, "kind": ticket.kind, "state": ticket.state, "restricted": True, "title": "Restricted"}


def _is_over(ticket: Ticket) -> bool:
    return ticket.phase == "over" or ticket.state in ("resolved", "closed", "merged")


def _meaning(notification: Notification, now: int, zone: tzinfo) -> str:
    """The second line: why this message now, what it means, who holds it."""
    ticket = notification.ticket
    parts = []
    reason = plain(notification.reason, 200)
    if reason and notification.event in ("worse", "changed", "help"):
        parts.append(reason[:1].upper() + reason[1:].rstrip(".") + ".")
    parts.append(_state(ticket, now, zone))
    if not _is_over(ticket):
        parts.append(_holder(ticket, now, zone))
    return " ".join(part for part in parts if part)


def _state(ticket: Ticket, now: int, zone: tzinfo) -> str:
    if ticket.state == "merged":
        return f"Goes on in {plain(ticket.merged_into or 'another ticket', 40)}."
    if _is_over(ticket):
        ended = ticket.resolved_at or ticket.restored_at or ticket.quiet_since
        since = f" since {clock(ended, now, zone)}" if ended is not None else ""
        return f"Nothing is left to do{since}."
    if ticket.phase == "predicted":
        if ticket.impact is None:
            return "Users are not hurt yet."
        return f"Users are not hurt yet; at this rate they will be {within(ticket.impact, now)}."
    if ticket.phase == "disrupting":
        return "Users are hurt now."
    if ticket.phase == "recovering":
        return "Its symptoms are quiet; it is over when they stay so."
    return f"Reported by {plain(ticket.reporter.name, 60)}." if ticket.reporter else "Reported by a person."


def _holder(ticket: Ticket, now: int, zone: tzinfo) -> str:
    where = " ".join(part for part in (ticket.tier or "", plain(ticket.team or "", 60)) if part)
    if ticket.assignee:
        return f"{plain(ticket.assignee, 60)} holds it" + (f" ({where})." if where else ".")
    due = next((c.due_at for c in ticket.clocks if c.name == "response" and c.state == "running"), None)
    respond = f", respond by {clock(due, now, zone)}" if due is not None else ""
    return f"Nobody holds it yet{f' ({where})' if where else ''}{respond}."


def _evidence(ticket: Ticket, now: int, zone: tzinfo) -> tuple[str, ...]:
    """At most three lines, the leading symptom first, then in the order they began; how many more there are, if any."""
    lead = leading(ticket)
    if lead is None:
        words = plain(ticket.description or "", 300)
        return (words,) if words else ()
    others = sorted((s for s in ticket.symptoms if s is not lead), key=lambda s: (not s.active, s.first_at, s.id))
    shown = [lead, *others][:_EVIDENCE_LINES]
    lines = list(dict.fromkeys(_line(symptom, now, zone) for symptom in shown))
    if left := len(ticket.symptoms) - len(shown):
        lines[-1] = f"{cut(lines[-1], 230)} (and {left} more)"
    return tuple(lines)


def _line(symptom: Symptom, now: int, zone: tzinfo) -> str:
    said = plain(symptom.summary, 200) or plain(symptom.name or symptom.metric, 120)
    unit = symptom.evidence.unit if symptom.evidence is not None and symptom.evidence.unit else unit_of(symptom.metric)
    value = (
        f", {quantity(symptom.value, plain(unit, 20))}" if symptom.value is not None and not _has_digit(said) else ""
    )
    ended = "" if symptom.active else ", ended"
    return f"{said}{value}, since {clock(symptom.first_at, now, zone)}{ended}"


def _has_digit(text: str) -> bool:
    return any(char.isdigit() for char in text)


def _runbook(ticket: Ticket) -> str:
    if ticket.runbook:
        return plain(ticket.runbook, 500)
    lead = leading(ticket)
    if lead is None:
        return ""
    return next(
        (text for name in ("runbook_url", "runbook") if (text := plain(lead.annotations.get(name, ""), 500))), ""
    )
