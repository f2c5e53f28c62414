"""The ticket, what it is made of, and who looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from detector.nouns.arrays import Impact, Symptom
from detector.nouns.arrivals import Reporter
from detector.nouns.terms import (
    Kind,
    Level,
    Mode,
    Phase,
    Priority,
    ProblemState,
    PublicStatus,
    Relation,
    Resolution,
    Source,
    State,
    Tier,
)


@dataclass(frozen=True, slots=True)
class ClockState:
    """One clock of a ticket. ``state``: running | paused | met | breached. A breached clock may still be met late.
    ``warn_at``: when three quarters of the time are gone; ``warned``: and that was said."""

    name: str
    due_at: int
    state: Literal["running", "paused", "met", "breached"]
    warn_at: int = 0
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may be the cause: stated, then confirmed or rejected. ``number`` counts from 1 inside the ticket."""

    number: int
    text: str
    state: Literal["stated", "confirmed", "rejected"] = "stated"


@dataclass(frozen=True, slots=True)
class Link:
    """How this ticket stands to ``key``."""

    key: str
    how: Relation


@dataclass(frozen=True, slots=True)
class Problem:
    """What is behind incidents; as a known error with a work-around until it is gone. No service: it concerns all."""

    key: str
    version: int
    title: str
    opened_at: int
    opened_by: str
    state: ProblemState = "open"
    service: str = ""
    category: str = ""
    cause: str = ""
    workaround: str = ""
    changed_at: int | None = None
    changed_by: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What the reporter was asked, and said; ``number`` counts from 1 inside the ticket."""

    number: int
    text: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Used:
    """A past solution (of the ticket or known error ``key``) that was tried."""

    key: str
    helped: bool


@dataclass(frozen=True, slots=True)
class Bridge:
    """A call about the ticket, from ``begins`` to ``ends`` (ms); ``outcome``: what came of it, once it did."""

    number: int
    link: str
    dial_in: str
    begins: int
    ends: int
    attendees: tuple[str, ...] = ()
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class ActionTaken:
    """An action of a runbook that was run, and what came back."""

    name: str
    at: int
    who: str
    result: Literal["running", "succeeded", "failed"] = "running"
    said: str = ""


@dataclass(frozen=True, slots=True)
class PublicUpdate:
    """One word to the public, ``by`` whom: published, or a draft that waits for it."""

    at: int
    status: PublicStatus
    body: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Affected:
    service: str
    items: tuple[str, ...] = ()
    how: Literal["origin", "impacted"] = "origin"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One aggregate: an incident is the ticket's symptoms and phase, not a second record.

    ``version`` counts commits; a change made against an older version is refused. ``title`` is empty unless a person
    gave one: the headline is made from the facts at the edge. ``paused_ms``: how long the resolution clock has stood
    still in all, without what lasts since ``still_since``; ``muted_ms``: how long nobody was told of it, the same for
    the response clock. ``category_by``, ``priority_by``: the person whose word it is; facts do not change it any more.
    ``last_step_at``: when a person last did something. ``checklist``: what is done of a data breach's. ``critical``: it
    went to L3 directly. ``confirmed_at``: when the reporter said that it is solved. ``missed``: the clocks that were.
    ``prevented_at``: when somebody first acted on a prediction; ``prevention_before``: the forecast as it was then.
    ``declined``: who said that it is not theirs; ``responders``: who was asked to help. ``still``, ``silent``: the
    spans (ms) in which the resolution and the response clock stood still, for those that count working time only.
    ``deferred_*``: its pages wait for the day shift; ``wakes_at``: from when on (ms) it would wake somebody after all.
    """

    key: str
    version: int
    kind: Kind
    state: State
    source: Source
    service: str
    opened_at: int
    mode: Mode
    phase: Phase | None = None
    title: str = ""
    description: str | None = None
    reporter: Reporter | None = None
    category: str | None = None
    priority: Priority | None = None
    priority_reason: str = ""
    impact_users: Level | None = None
    impact_business: Level | None = None
    urgency: Level | None = None
    tier: Tier | None = None
    team: str | None = None
    assignee: str | None = None
    waiting: str | None = None
    waiting_since: int | None = None
    still_since: int | None = None
    paused_ms: int = 0
    muted_since: int | None = None
    muted_until: int | None = None
    muted_by: tuple[str, ...] = ()
    muted_why: str = ""
    muted_ms: int = 0
    restricted: bool = False
    first_symptom_at: int | None = None
    reported_at: int | None = None
    impact: Impact | None = None
    disrupted_at: int | None = None
    acknowledged_at: int | None = None
    last_step_at: int | None = None
    first_response_at: int | None = None
    fix_applied_at: int | None = None
    restored_at: int | None = None
    quiet_since: int | None = None
    resolved_at: int | None = None
    closed_at: int | None = None
    resolution: Resolution | None = None
    merged_into: str | None = None
    reopenings: int = 0
    runbook: str = ""
    category_by: str | None = None
    priority_by: str | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    cause: str = ""
    fix: str = ""
    prevention: str = ""
    breach: Literal["suspected", "confirmed", "dismissed"] | None = None
    checklist: tuple[str, ...] = ()
    public: tuple[PublicUpdate, ...] = ()
    public_title: str = ""
    public_components: tuple[str, ...] = ()
    draft: PublicUpdate | None = None
    links: tuple[Link, ...] = ()
    confirmed_at: int | None = None
    missed: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    used: tuple[Used, ...] = ()
    bridge: Bridge | None = None
    critical: bool = False
    actions: tuple[ActionTaken, ...] = ()
    prevented_at: int | None = None
    prevention_before: Impact | None = None
    prevention_declined: str = ""
    declined: tuple[str, ...] = ()
    responders: tuple[str, ...] = ()
    offered_to: str | None = None
    offered_at: int | None = None
    still: tuple[tuple[int, int], ...] = ()
    silent: tuple[tuple[int, int], ...] = ()
    deferred_since: int | None = None
    deferred_until: int | None = None
    wakes_at: int | None = None
    deferred_why: str = ""
    deferred_ms: int = 0
    symptoms: tuple[Symptom, ...] = ()
    affected: tuple[Affected, ...] = ()
    similar: tuple[Mapping[str, Any], ...] = ()
    clocks: tuple[ClockState, ...] = ()


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """``what`` names the fact (the change's class in kebab case), ``data`` holds it; sentences are made at the edge."""

    at: int
    who: str
    what: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads or acts. Every read of tickets takes one; ``restricted``: may see restricted tickets."""

    name: str
    restricted: bool = False


SYSTEM = Viewer("detector", restricted=True)
