"""Which messages a commit owes to whom. Pure: the ticket before and after, the changes between, the channels' routes.

Each message has a name of its own inside the ticket (``slug``); the desk owes a name to a channel once, ever. So what
worsens twice pages once, a replay owes nothing anew, and two commits of one fact cannot tell anybody twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from detector.nouns import (
    Absorbed,
    Acknowledged,
    AcknowledgementExpired,
    Change,
    ClockBreached,
    ClockWarned,
    Escalated,
    HelpAsked,
    Informed,
    Joined,
    Merged,
    Muted,
    Offered,
    Opened,
    PageDeferred,
    PageReleased,
    PhaseChanged,
    Priority,
    Reopened,
    ResolutionProposed,
    Resolved,
    Returned,
    SymptomJoined,
    Ticket,
    Tier,
    Triaged,
    Unmuted,
)

Urgency = Literal["page", "notify"]
PAGED: frozenset[Priority] = frozenset({"P1", "P2"})


@dataclass(frozen=True, slots=True)
class Route:
    """Which messages a channel takes; no services: those of all."""

    channel: str
    urgencies: tuple[Urgency, ...] = ("page", "notify")
    tiers: tuple[Tier, ...] = ("L1", "L2", "L3")
    services: tuple[str, ...] = ()
    send_resolved: bool = True
    changes: bool = False
    """It is handed every change of every ticket, too: for programs that follow the desk."""

    def follows(self, ticket: Ticket) -> bool:
        """Whether it is handed the changes of this ticket; never those of a restricted one or a shadow."""
        hidden = ticket.restricted or ticket.mode == "shadow"
        return self.changes and not hidden and (not self.services or ticket.service in self.services)

    rings: bool = False
    """It cannot be told anything quietly (a telephone call): it takes pages only."""

    def takes(self, ticket: Ticket, urgency: Urgency, tier: Tier | None) -> bool:
        """Whether it is told of this ticket, by the tier that has it, or by one that is only informed."""
        return (
            urgency in self.urgencies
            and (tier is None or tier in self.tiers)
            and (not self.services or ticket.service in self.services)
        )


@dataclass(frozen=True, slots=True)
class Owed:
    """One message. ``told_only``: for channels that were told of the ticket before, whatever their route says.
    ``tier``: for the channels of this tier, whoever has the ticket. ``person``: for this person alone."""

    event: Literal["opened", "worse", "changed", "acknowledged", "resolved", "help", "change"]
    urgency: Urgency
    reason: str
    slug: str
    told_only: bool = False
    tier: Tier | None = None
    person: str = ""


def owed(before: Ticket | None, after: Ticket, changes: Sequence[Change]) -> list[Owed]:
    """The messages that ``changes`` owe; in shadow mode or while it is muted only those from person to person, and none
    that would tell of a restricted ticket.

    While its pages wait for the day, everything is told quietly. The first reason to speak wins: one commit, one
    message (and the end of it, where the same commit ends the ticket).
    """
    if after.restricted:
        return []
    if after.mode == "shadow" or after.muted_since is not None:
        return _personal(after, changes)
    pages = after.mode == "page" and after.priority in PAGED and after.deferred_since is None
    urgency: Urgency = "page" if pages else "notify"
    episode = f"{after.reopenings}"
    found: list[Owed] = []
    news = _news(before, after, changes)
    speaks = [Owed(event, urgency, reason, f"{episode}/{slug}") for event, reason, slug in news]
    found += [*speaks[:1], *_personal(after, changes)]
    for change in changes:
        match change:
            case Acknowledged(who=who):
                found.append(Owed("acknowledged", "notify", f"held by {who}", f"{episode}/ack/{change.at}", True))
            case PhaseChanged(phase="recovering") if not speaks:
                found.append(Owed("changed", "notify", "recovering", f"{episode}/recovering", True))
            case Informed(who=who, tier=tier, at=at):
                found.append(Owed("changed", "notify", f"{who} informs {tier}", f"{episode}/inform/{at}", tier=tier))
            case ClockWarned(clock=clock):
                slug = f"{episode}/warned-{clock}/{change.due_at}"
                found.append(Owed("changed", "notify", f"the {clock} target is near", slug, True))
            case ClockBreached(clock="update", due_at=due):
                slug = f"{episode}/breached-update/{due}"
                found.append(Owed("changed", "notify", "the public waits for an update", slug, True))
            case ResolutionProposed():
                found.append(Owed("changed", "notify", "quiet; to be confirmed", f"{episode}/proposed", True))
            case Resolved(resolution=resolution):
                found.append(Owed("resolved", "notify", resolution, f"{episode}/resolved/{change.at}", True))
            case Merged(into=into):
                found.append(Owed("resolved", "notify", f"merged into {into}", f"{episode}/merged", True))
    return found


def _personal(after: Ticket, changes: Sequence[Change]) -> list[Owed]:
    """From one person to another, through the desk."""
    found: list[Owed] = []
    for change in changes:
        slug = f"{after.reopenings}/{{}}/{change.at}/{{}}".format
        match change:
            case HelpAsked(who=who, person=person, text=text):
                reason = f"{who} asks for your help" + (f": {text}" if text else "")
                found.append(Owed("help", "page", reason, slug("help", person), person=person))
            case Offered(assignee=who, to=to):
                reason = f"the shift of {who} is over: will you take it?"
                found.append(Owed("changed", "notify", reason, slug("offered", to), person=to))
                reason = f"your shift is over: offered to {to}, yours until it is taken"
                found.append(Owed("changed", "notify", reason, slug("offered", who), person=who))
    return found


def _news(
    before: Ticket | None, after: Ticket, changes: Sequence[Change]
) -> list[tuple[Literal["opened", "worse"], str, str]]:
    news: list[tuple[Literal["opened", "worse"], str, str]] = []
    escalated: list[tuple[Literal["opened", "worse"], str, str]] = []
    for change in changes:
        match change:
            case Opened():
                news.append(("opened", "opened", "opened"))
            case Reopened(reason=reason):
                news.append(("opened", reason or "reopened", "opened"))
            case PageReleased(reason=reason, at=at) if after.mode == "page" and after.priority in PAGED:
                news.append(("worse", reason, f"released/{at}"))
            case Returned(who=who, reason=reason, at=at):
                news.append(("worse", f"{who} gives it back: {reason}", f"returned/{at}"))
            case Unmuted(reason=reason, at=at):
                news.append(("opened", reason, f"unmuted/{at}"))
            case PhaseChanged(phase="disrupting"):
                news.append(("worse", "users are hurt now", "disrupting"))
            case Triaged(priority=priority, previous=previous) if previous is not None and priority < previous:
                news.append(("worse", f"{previous} is now {priority}", priority))
            case Escalated(tier=tier):
                escalated.append(("worse", f"escalated to {tier}", f"escalated-{tier}"))
            case AcknowledgementExpired(assignee=who, at=at):
                news.append(("worse", f"{who or 'nobody'} has taken no step: who does?", f"expired/{at}"))
            case SymptomJoined(new=True) | Absorbed() if before is not None and _extent(after) > _extent(before):
                news.append(("worse", "more is affected", f"extent-{_extent(after)}"))
    # What happened to the service says more than who has it now, and both more than that time has passed.
    missed = [change.clock for change in changes if isinstance(change, ClockBreached) and change.clock != "update"]
    return [*news, *escalated, *(("worse", f"the {clock} target was missed", f"breached-{clock}") for clock in missed)]


def _extent(ticket: Ticket) -> int:
    """How far it reaches, in doublings of the items and services affected: 1, 2-3, 4-7, ..."""
    items = {symptom.item for symptom in ticket.symptoms if symptom.item}
    return max(len(items), len(ticket.affected)).bit_length()


def pending_pages_end(changes: Iterable[Change]) -> bool:
    """Whether pages of the ticket that were not sent yet are void: somebody has it, it is over, or nobody is to be
    told."""
    return any(
        isinstance(change, Acknowledged | Resolved | Merged | Muted | Returned | PageDeferred) for change in changes
    )


def helped(changes: Iterable[Change]) -> list[str]:
    """Who need not be called for help any more: they have said that they do."""
    return [change.who for change in changes if isinstance(change, Joined | Returned | Acknowledged)]
