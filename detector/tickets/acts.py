"""What people may do to a ticket. Pure: the ticket as it is, who, when and what for; the changes that it makes.

What cannot be done raises NotAllowed with the reason and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from detector.nouns import (
    Absorbed,
    Acknowledged,
    Affected,
    Answered,
    Assigned,
    BreachJudged,
    Categorised,
    CauseRecorded,
    Change,
    Checked,
    Closed,
    Decided,
    Escalated,
    FixApplied,
    HypothesisSettled,
    HypothesisStated,
    Informed,
    Joined,
    Kind,
    Merged,
    Noted,
    Opened,
    Prioritised,
    Priority,
    PublicDrafted,
    PublicStatus,
    Published,
    Reopened,
    Replied,
    Report,
    Resolution,
    Resolved,
    Resumed,
    ServiceRestored,
    Ticket,
    Tier,
    Wait,
    Waiting,
)
from detector.tickets import calling, prevention, relations, talk
from detector.tickets.allowed import NotAllowed, cut_line, cut_text
from detector.tickets.allowed import alive as _alive
from detector.tickets.lifecycle import ENDED, LONGEST_TEXT, MODES, REPORTER, TIERS, handover, owes_cause
from detector.tickets.public import MOST_UPDATES, STATUSES, components_of

Verdict = Literal["confirmed", "dismissed"]
CHECKLIST = ("contain", "assess", "notify-regulator", "notify-people", "review")
"""What a confirmed data breach needs done (GDPR Art. 33 and 34)."""


def opening(key: str, report: Report, who: str) -> Opened:
    """The ticket that a person's words open; ``who`` wrote them down."""
    return Opened(
        key, report.received_at, who, kind=report.kind, source="report", service=report.service or "unknown",
        mode="ticket", phase=None, title=report.title, description=report.description, reporter=report.reporter,
        restricted=report.security, reported_at=report.received_at if report.told_at is None else report.told_at,
        idempotency_key=report.idempotency_key, follows=report.follows, channel=report.channel, mail=report.mail,
    )  # fmt: skip


def acknowledge(ticket: Ticket, who: str, now: int) -> list[Change]:
    """Take the ticket: paging stops. Whoever holds it may do so again, to end the pages of what became worse since; to
    whom it was offered at the end of a shift, takes it over; who was asked to help says so by it."""
    _alive(ticket, "acknowledged")
    if ticket.acknowledged_at is not None and ticket.assignee not in (None, who) and ticket.offered_to != who:
        if who in ticket.responders:
            return [Joined(ticket.key, now, who)]
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
    """To ``tier``, or one up, never empty-handed: without a summary, what the ticket knows is handed over."""
    _alive(ticket, "escalated")
    current = ticket.tier or "L1"
    above = TIERS[TIERS.index(current) + 1 :]
    if not above:
        raise NotAllowed(f"{ticket.key} is with L3 already, the highest tier")
    target = tier or above[0]
    if target not in above:
        raise NotAllowed(f"{ticket.key} is with {current}; it can be escalated to {' or '.join(above)}")
    return [
        Escalated(ticket.key, now, who, tier=target, previous=current, summary=cut_text(summary) or handover(ticket))
    ]


def note(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: write it into {ticket.merged_into}")
    if not text.strip():
        raise NotAllowed("a note needs a text")
    return [Noted(ticket.key, now, who, text=text[:LONGEST_TEXT])]


def resolve(
    ticket: Ticket, who: str, now: int, resolution: Resolution = "fixed", text: str = "", force: bool = False
) -> list[Change]:
    """With a code of the closed list. A ticket whose symptoms are active asks first (``force``)."""
    _alive(ticket, "resolved")
    if resolution not in get_args(Resolution):
        raise NotAllowed(f"{resolution!r} is no resolution; allowed: {', '.join(get_args(Resolution))}")
    if resolution not in ("false-alarm", "not-worth-waking", "duplicate"):
        _quiet(ticket, force)
    return [Resolved(ticket.key, now, who, resolution=resolution, text=text[:LONGEST_TEXT])]


def close(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    if ticket.state == "closed":
        return []
    if ticket.state != "resolved":
        raise NotAllowed(f"{ticket.key} is {ticket.state}: resolve it first, with a resolution code")
    if owes_cause(ticket):
        raise NotAllowed(f"{ticket.key} was critical and with L3: record cause, fix and prevention before it is closed")
    if ticket.breach == "suspected":
        raise NotAllowed(f"{ticket.key} is a suspected data breach: confirm or dismiss it before it is closed")
    missing = [item for item in CHECKLIST if item not in ticket.checklist] if ticket.breach == "confirmed" else []
    if missing:
        raise NotAllowed(f"{ticket.key} is a confirmed data breach; still to be done: {', '.join(missing)}")
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


# --- the process of one ticket --------------------------------------------------------------------------------------


def decide(ticket: Ticket, who: str, now: int, kind: Kind = "incident") -> list[Change]:
    """Incident or request; number, timeline and clocks stay."""
    _alive(ticket, "decided")
    if kind not in ("incident", "request"):
        raise NotAllowed(f"a ticket is an incident or a request, not {kind!r}")
    if kind == "request" and ticket.symptoms:
        raise NotAllowed(f"{ticket.key} has symptoms: it is an incident")
    if kind == ticket.kind:
        return []
    return [Decided(ticket.key, now, who, kind=kind, previous=ticket.kind)]


def categorise(ticket: Ticket, who: str, now: int, category: str = "") -> list[Change]:
    """By hand; facts do not change it any more. That the category exists is the caller's to check."""
    _alive(ticket, "categorised")
    if not category.strip():
        raise NotAllowed("a category has a name")
    if category == ticket.category and ticket.category_by is not None:
        return []
    return [Categorised(ticket.key, now, who, category=category.strip(), previous=ticket.category)]


def prioritise(ticket: Ticket, who: str, now: int, priority: Priority | None = None, reason: str = "") -> list[Change]:
    """By hand, with the reason; facts do not change it any more."""
    _alive(ticket, "prioritised")
    if priority is None or priority not in get_args(Priority):
        raise NotAllowed(f"{priority!r} is no priority; allowed: {', '.join(get_args(Priority))}")
    if not reason.strip():
        raise NotAllowed("a priority that is set by hand needs a reason")
    return [Prioritised(ticket.key, now, who, priority=priority, previous=ticket.priority, reason=cut_text(reason))]


def wait(ticket: Ticket, who: str, now: int, reason: Wait | None = None, text: str = "") -> list[Change]:
    """For the user, a supplier or a change: the resolution clock stands still meanwhile."""
    _alive(ticket, "put to wait")
    if reason is None or reason not in get_args(Wait):
        raise NotAllowed(f"a ticket waits for {', '.join(get_args(Wait))}, not for {reason!r}")
    if ticket.waiting == reason:
        return []
    return [Waiting(ticket.key, now, who, reason=reason, text=cut_text(text))]


def resume(ticket: Ticket, who: str, now: int, reason: str = "") -> list[Change]:
    _alive(ticket, "resumed")
    if ticket.waiting is None:
        raise NotAllowed(f"{ticket.key} does not wait for anybody")
    return [Resumed(ticket.key, now, who, reason=cut_text(reason))]


def reply(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """To the reporter; the first one stops the response clock."""
    if ticket.reporter is None:
        raise NotAllowed(f"{ticket.key} was reported by nobody: write a note")
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: reply on {ticket.merged_into}")
    if not text.strip():
        raise NotAllowed("a reply needs a text")
    return [Replied(ticket.key, now, who, text=cut_text(text))]


def confirm(ticket: Ticket, who: str, now: int, solved: bool = True, text: str = "") -> list[Change]:
    """The reporter says whether it is solved: then it is closed, unless the desk owes a record, or opened again."""
    if ticket.state != "resolved":
        raise NotAllowed(f"{ticket.key} is {ticket.state}: only what is resolved is confirmed")
    if not solved:
        return [Reopened(ticket.key, now, who, reason=cut_text(text) or "the reporter says that it is not solved")]
    changes: list[Change] = [Answered(ticket.key, now, who, text=cut_text(text) or "It is solved.", solved=True)]
    try:
        return [*changes, *close(ticket, who, now, text="the reporter says that it is solved")]
    except NotAllowed:
        return changes


def inform(ticket: Ticket, who: str, now: int, tier: str = "", text: str = "") -> list[Change]:
    """Tell a tier; the ticket stays where it is."""
    _alive(ticket, "reported to another tier")
    if tier not in TIERS:
        raise NotAllowed(f"{tier!r} is no tier; allowed: {', '.join(TIERS)}")
    word: Tier = tier
    return [Informed(ticket.key, now, who, tier=word, text=cut_text(text))]


def draft(
    ticket: Ticket, who: str, now: int, status: PublicStatus | None = None, body: str = "", title: str = ""
) -> list[Change]:
    """A word to the public that waits until somebody publishes it."""
    word = _public(ticket, status, body)
    return [PublicDrafted(ticket.key, now, who, status=word, title=cut_line(title), body=cut_text(body))]


def publish(
    ticket: Ticket, who: str, now: int, status: PublicStatus | None = None, body: str = "", title: str = "",
    components: Sequence[str] = (), another: bool = False,
) -> list[Change]:  # fmt: skip
    """Tell the public: what is given, else the draft. ``another``: somebody else must have written it."""
    waiting = ticket.draft
    if another and (waiting is None or waiting.by == who):
        raise NotAllowed("somebody else publishes what you wrote: save it as a draft")
    if another and (body or status):
        raise NotAllowed("the draft is published as it was reviewed: change it by a new draft")
    if waiting is not None:
        status, body = status or waiting.status, body or waiting.body
    word = _public(ticket, status, body)
    names = tuple(dict.fromkeys(cut_line(name) for name in components if name.strip())) or components_of(ticket)
    heading = cut_line(title) or ticket.public_title or f"{ticket.service} is disrupted"
    return [Published(ticket.key, now, who, status=word, title=heading, body=cut_text(body), components=names)]


def _public(ticket: Ticket, status: PublicStatus | None, body: str) -> PublicStatus:
    """The status, where the public may be told of this ticket at all."""
    if ticket.restricted or ticket.breach is not None:
        raise NotAllowed(f"{ticket.key} is confidential: the status page does not show it")
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: tell the public of {ticket.merged_into}")
    if len(ticket.public) >= MOST_UPDATES:
        raise NotAllowed(f"{ticket.key} has {MOST_UPDATES} public updates already")
    if status is None or status not in STATUSES:
        raise NotAllowed(f"the public is told one of: {', '.join(STATUSES)}")
    if not body.strip():
        raise NotAllowed("say what the public should know")
    return status


def hypothesis(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """What may be the cause."""
    _alive(ticket, "investigated")
    if not text.strip():
        raise NotAllowed("a hypothesis needs a text")
    return [HypothesisStated(ticket.key, now, who, number=len(ticket.hypotheses) + 1, text=text.strip()[:500])]


def settle(ticket: Ticket, who: str, now: int, number: int = 0, holds: bool = False, text: str = "") -> list[Change]:
    """A hypothesis is confirmed or rejected."""
    _alive(ticket, "investigated")
    known = next((h for h in ticket.hypotheses if h.number == number), None)
    if known is None:
        numbers = ", ".join(str(h.number) for h in ticket.hypotheses) or "none yet"
        raise NotAllowed(f"{ticket.key} has no hypothesis {number}; there are: {numbers}")
    if known.state == ("confirmed" if holds else "rejected"):
        return []
    return [HypothesisSettled(ticket.key, now, who, number=number, holds=holds, text=cut_text(text))]


def apply_fix(ticket: Ticket, who: str, now: int, text: str = "") -> list[Change]:
    """A step with its own time; whether it helped is another."""
    _alive(ticket, "fixed")
    if not text.strip():
        raise NotAllowed("say what was applied")
    return [FixApplied(ticket.key, now, who, text=cut_text(text))]


def restore(ticket: Ticket, who: str, now: int, text: str = "", force: bool = False) -> list[Change]:
    """The service works again; the symptoms are asked first (``force``)."""
    _alive(ticket, "restored")
    _quiet(ticket, force)
    return [ServiceRestored(ticket.key, now, who, text=cut_text(text))]


def record(ticket: Ticket, who: str, now: int, cause: str = "", fix: str = "", prevention: str = "") -> list[Change]:
    """What was behind it, what mended it, what keeps it from coming back; all three."""
    if ticket.state == "merged":
        raise NotAllowed(f"{ticket.key} is merged: record it on {ticket.merged_into}")
    given = {"cause": cause or ticket.cause, "fix": fix or ticket.fix, "prevention": prevention or ticket.prevention}
    if missing := [name for name, text in given.items() if not text.strip()]:
        raise NotAllowed(f"cause, fix and prevention belong together; missing: {', '.join(missing)}")
    return [CauseRecorded(ticket.key, now, who, **{name: cut_text(text) for name, text in given.items()})]


def judge(ticket: Ticket, who: str, now: int, verdict: Verdict | None = None, text: str = "") -> list[Change]:
    """A suspected data breach is confirmed or dismissed, by a named person, with the reason."""
    if ticket.breach is None:
        raise NotAllowed(f"{ticket.key} is no suspected data breach")
    if verdict is None or verdict not in get_args(Verdict):
        raise NotAllowed(f"a suspicion is confirmed or dismissed, not {verdict!r}")
    if not text.strip():
        raise NotAllowed("say what was found")
    if ticket.breach == verdict:
        return []
    return [BreachJudged(ticket.key, now, who, verdict=verdict, text=cut_text(text))]


def check(ticket: Ticket, who: str, now: int, item: str = "", text: str = "") -> list[Change]:
    """An item of the data breach's checklist is done."""
    if ticket.breach is None:
        raise NotAllowed(f"{ticket.key} is no data breach: it has no checklist")
    if item not in CHECKLIST:
        raise NotAllowed(f"{item!r} is not on the checklist: {', '.join(CHECKLIST)}")
    if item in ticket.checklist:
        return []
    return [Checked(ticket.key, now, who, item=item, text=cut_text(text))]


__all__ = ["ACTIONS", "CHECKLIST", "REPORTER", "NotAllowed"]

Action = Callable[..., list[Change]]
ACTIONS: dict[str, Action] = {
    "ack": acknowledge, "assign": assign, "escalate": escalate, "note": note, "resolve": resolve, "close": close,
    "reopen": reopen, "merge": merge, "decide": decide, "categorise": categorise, "prioritise": prioritise,
    "wait": wait, "resume": resume, "reply": reply, "inform": inform, "hypothesis": hypothesis, "settle": settle,
    "fix": apply_fix, "restore": restore, "record": record, "judge": judge, "check": check,
    "answer": talk.answer, "confirm": confirm, "draft": draft, "publish": publish, "ask": talk.ask, "use": talk.use,
    "bridge": talk.bridge, "end-bridge": talk.end_bridge, "run": prevention.run, "answered-action": prevention.answered,
    "link": relations.link, "split": relations.split, "prevent": prevention.prevent, "decline": prevention.decline,
    "not-mine": calling.give_back, "help": calling.ask_help,
}  # fmt: skip


def _quiet(ticket: Ticket, force: bool) -> None:
    active = [s for s in ticket.symptoms if s.active]
    if active and not force:
        names = ", ".join(sorted({s.name for s in active})[:5])
        raise NotAllowed(f"{ticket.key} still has {len(active)} active symptoms ({names}): wait, or say it with force")
