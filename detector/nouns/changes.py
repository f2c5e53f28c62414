"""The facts about a ticket: each is timeline entry, audit record, event and trigger of messages in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detector.nouns.arrays import Impact, Symptom
from detector.nouns.arrivals import Reporter
from detector.nouns.terms import (
    Kind,
    Level,
    Mode,
    Phase,
    Priority,
    PublicStatus,
    Relation,
    Resolution,
    Source,
    Tier,
    Wait,
)
from detector.nouns.tickets import Affected


@dataclass(frozen=True, slots=True)
class Change:
    """A fact about one ticket: timeline entry, audit record, SSE event and the trigger of messages in one."""

    key: str
    at: int
    who: str = "detector"


@dataclass(frozen=True, slots=True)
class Opened(Change):
    """A new ticket; ``key`` may be a placeholder (``new-1``) that the desk replaces by the number it gives."""

    kind: Kind = "incident"
    source: Source = "detected"
    service: str = ""
    mode: Mode = "page"
    phase: Phase | None = "predicted"
    title: str = ""
    description: str | None = None
    reporter: Reporter | None = None
    restricted: bool = False
    first_symptom_at: int | None = None
    reported_at: int | None = None
    idempotency_key: str = ""
    follows: str | None = None
    channel: str = ""
    mail: str = ""


@dataclass(frozen=True, slots=True)
class SymptomJoined(Change):
    """A symptom became part of the ticket, or one of its symptoms has news (``new`` tells which)."""

    symptom: Symptom = field(kw_only=True)
    new: bool = True
    mode: Mode | None = None
    affected: tuple[Affected, ...] | None = None


@dataclass(frozen=True, slots=True)
class PhaseChanged(Change):
    phase: Phase = "predicted"
    previous: Phase | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ForecastChanged(Change):
    impact: Impact | None = None


@dataclass(frozen=True, slots=True)
class Triaged(Change):
    category: str = "other"
    priority: Priority = "P3"
    priority_reason: str = ""
    impact_users: Level = "medium"
    impact_business: Level = "medium"
    urgency: Level = "medium"
    previous: Priority | None = None


@dataclass(frozen=True, slots=True)
class Routed(Change):
    tier: Tier = "L1"
    team: str | None = None
    reason: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class ClockStarted(Change):
    clock: str = "response"
    due_at: int = 0
    warn_at: int = 0


@dataclass(frozen=True, slots=True)
class ClockWarned(Change):
    """Three quarters of the time are gone; or, with ``expected_at`` (ms), the tier's backlog will take until then."""

    clock: str = "response"
    due_at: int = 0
    expected_at: int | None = None


@dataclass(frozen=True, slots=True)
class ClockMet(Change):
    clock: str = "response"


@dataclass(frozen=True, slots=True)
class ClockBreached(Change):
    clock: str = "response"
    due_at: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledged(Change):
    assignee: str = ""


@dataclass(frozen=True, slots=True)
class AcknowledgementExpired(Change):
    """Whoever held it has taken no step for too long: it pages again."""

    assignee: str = ""


@dataclass(frozen=True, slots=True)
class Returned(Change):
    """It is not theirs, they say: the next one is called at once."""

    assignee: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HelpAsked(Change):
    """A person is called as well; whoever holds the ticket keeps it."""

    person: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Joined(Change):
    """Who was asked to help does."""


@dataclass(frozen=True, slots=True)
class Offered(Change):
    """The shift of whoever holds it has ended: the next one may take it, until then it stays with them."""

    assignee: str = ""
    to: str = ""
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class PageDeferred(Change):
    """Nobody is woken for it: its pages wait ``until`` (ms) the day begins, unless its forecast comes nearer;
    ``wakes_at``: from then on it would wake somebody after all."""

    until: int = 0
    wakes_at: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PageReleased(Change):
    """It pages again."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Assigned(Change):
    assignee: str | None = None


@dataclass(frozen=True, slots=True)
class Escalated(Change):
    tier: Tier = "L2"
    previous: Tier | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Noted(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class Waiting(Change):
    """Somebody else has the next word; the resolution clock stands still, for this reason."""

    reason: Wait = "user"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Resumed(Change):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Muted(Change):
    """All that holds it open is silenced or inhibited: nobody is told, and its clocks stand still. ``by``: silences,
    maintenance windows, or what inhibits; ``until``: when (ms) the first of them ends, where that is known."""

    by: tuple[str, ...] = ()
    reason: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Unmuted(Change):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decided(Change):
    """The first line's word on what it is."""

    kind: Kind = "incident"
    previous: Kind = "undecided"


@dataclass(frozen=True, slots=True)
class Replied(Change):
    """A person's answer that the reporter can read."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Answered(Change):
    """What the reporter said, and the answers to questions by their numbers; ``solved``: that it is. ``mail``: the
    Message-ID that it came by."""

    text: str = ""
    answers: Mapping[int, str] = field(default_factory=dict)
    solved: bool = False
    mail: str = ""


@dataclass(frozen=True, slots=True)
class Linked(Change):
    to: str = ""
    how: Relation = "related"


@dataclass(frozen=True, slots=True)
class SymptomsMoved(Change):
    """These symptoms (by their ids) have another cause: they go on in the ticket ``to``."""

    to: str = ""
    symptoms: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Asked(Change):
    questions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SolutionUsed(Change):
    """A past solution that was offered was tried."""

    used: str = ""
    helped: bool = True
    text: str = ""


@dataclass(frozen=True, slots=True)
class BridgeOpened(Change):
    link: str = ""
    dial_in: str = ""
    begins: int = 0
    ends: int = 0
    attendees: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class BridgeEnded(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class ActionRun(Change):
    """An action of a runbook is run; ``body`` is what is sent, ``before`` the forecast at that moment."""

    name: str = ""
    says: str = ""
    body: str = ""
    before: Impact | None = None


@dataclass(frozen=True, slots=True)
class ActionAnswered(Change):
    name: str = ""
    ok: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class PreventionDone(Change):
    """A person did what keeps a prediction from coming true; ``before`` is the forecast at that moment."""

    text: str = ""
    before: Impact | None = None


@dataclass(frozen=True, slots=True)
class PreventionDeclined(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class Informed(Change):
    """A tier was told; the ticket stays where it is."""

    tier: Tier = "L2"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Categorised(Change):
    category: str = ""
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Prioritised(Change):
    priority: Priority = "P3"
    previous: Priority | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PublicDrafted(Change):
    """A word to the public that waits for a person; no body: it is withdrawn."""

    status: PublicStatus = "investigating"
    title: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class Published(Change):
    status: PublicStatus = "investigating"
    title: str = ""
    body: str = ""
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HypothesisStated(Change):
    number: int = 1
    text: str = ""


@dataclass(frozen=True, slots=True)
class HypothesisSettled(Change):
    number: int = 1
    holds: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class FixApplied(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class ServiceRestored(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class CauseRecorded(Change):
    """What was behind it, what mended it, and what keeps it from coming back."""

    cause: str = ""
    fix: str = ""
    prevention: str = ""


@dataclass(frozen=True, slots=True)
class BreachJudged(Change):
    verdict: Literal["confirmed", "dismissed"] = "confirmed"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Checked(Change):
    """An item of the data breach's checklist is done."""

    item: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Resolved(Change):
    resolution: Resolution = "unknown"
    text: str = ""


@dataclass(frozen=True, slots=True)
class ResolutionProposed(Change):
    """Every symptom has been quiet for the quiet period and a person holds the ticket: theirs to confirm."""

    resolution: Resolution = "self-recovered"


@dataclass(frozen=True, slots=True)
class Closed(Change):
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reopened(Change):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Merged(Change):
    into: str = ""


@dataclass(frozen=True, slots=True)
class Absorbed(Change):
    """The ticket took in another one (``source``) with its symptoms and what they affect. The symptoms' own entries
    stay in the timeline of the other, so that what arrived stands in one timeline only."""

    source: str = ""
    symptoms: tuple[Symptom, ...] = ()
    mode: Mode | None = None
    affected: tuple[Affected, ...] | None = None


@dataclass(frozen=True, slots=True)
class SymptomRefreshed(Change):
    """Newer values and evidence of a symptom that is as it was: for the record and its chart, no timeline entry."""

    symptom: Symptom = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Delivered(Change):
    """A message about the ticket reached its channel (or never will: ``result`` is ``sent``, ``dead``)."""

    channel: str = ""
    result: str = "sent"
    reason: str = ""
    receipt: str = ""
