"""The nouns that every room speaks: frozen values without behaviour.

Times are ``int`` milliseconds since the Unix epoch, UTC, everywhere in the program (the columns of the
database included); RFC 3339 and people's wording are made at the edge. Upstairs (arrays) the times are event
time, downstairs (rows) wall time; in a replay they are one and the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
LabelSet = tuple[tuple[str, str], ...]
"""Label pairs sorted by name, ``__name__`` among them, no empty values."""

Phase = Literal["predicted", "disrupting", "recovering", "over"]
State = Literal["logged", "triaged", "diagnosing", "waiting", "resolved", "closed", "reopened", "merged"]
Kind = Literal["undecided", "incident", "request"]
Source = Literal["detected", "alert", "report"]
DetectorName = Literal["rule", "forecast", "anomaly", "silence", "group", "alert"]
Mode = Literal["shadow", "ticket", "page"]
Priority = Literal["P1", "P2", "P3", "P4"]
Tier = Literal["L1", "L2", "L3"]
Level = Literal["high", "medium", "low"]
Wait = Literal["user", "supplier", "change"]
Relation = Literal[
    "related", "caused-by", "causes", "follows", "followed-by", "split-from", "split-into", "problem"
]  # fmt: skip
ProblemState = Literal["open", "known-error", "closed"]
PublicStatus = Literal["investigating", "identified", "monitoring", "resolved"]
"""What the public is told of an incident, in Statuspage's words."""
Resolution = Literal[
    "fixed", "prevented", "self-recovered", "false-alarm", "not-worth-waking", "duplicate", "known-error",
    "declined", "unknown",
]  # fmt: skip


# --- arrays ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Born:
    """A series id first used by the batch that carries it.

    ``target`` names where the series comes from (series of one target share their timestamps and therefore a
    cohort); ``type`` is the OpenMetrics type where known, else ``""``.
    """

    id: int
    labels: LabelSet
    target: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One arrival, described completely: it can be journaled here and read by another process.

    ``series`` int32[n], ``at`` int64[n] (ms), ``value`` float64[n]; a stale marker is the NaN
    0x7ff0000000000002. ``gone`` int32[k]: ids released from the index before this batch; ``born`` may use them
    again. Order within the arrays is the order of arrival.
    """

    source: str
    series: Ids
    at: Times
    value: Values
    born: tuple[Born, ...] = ()
    gone: Ids = field(default_factory=lambda: np.empty(0, np.int32))


@dataclass(frozen=True, slots=True)
class Impact:
    """When the disruption is expected, ms: an interval and its likely point, earliest <= likely <= latest."""

    earliest: int
    likely: int
    latest: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the chart draws, kept with the ticket beyond the ring.

    ``at`` and ``value`` are the samples around the symptom; ``lower``/``upper`` the expected band at the same
    times (or empty); ``limit`` the line the series must not cross; the forecast is (ms, low, likely, high) points.
    """

    at: tuple[int, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    limit: float | None = None
    forecast: tuple[tuple[int, float, float, float], ...] = ()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Symptom:
    """An early or present sign of trouble on one label set.

    ``id`` derives from detector, labels and onset (:func:`symptom_id`), so that a replay finds the same symptom
    again. ``kind`` says what it is about (``exhaustion``, ``latency``, ``errors``, ``traffic``, ``absence``,
    ``anomaly``, ``down``, ...; rules and alerts: from the label ``kind``, else ``threshold``). ``name`` is the
    alert's or rule's name, or the metric's. ``item`` names the resource that runs out (``instance mountpoint``,
    pod, database) or is empty. ``score`` is -log10 p (0 where the detector has none). ``disruption``: users are
    hurt already. ``annotations`` are text from the rule or alert, already expanded: hostile text, escape it.
    """

    id: str
    detector: DetectorName
    kind: str
    name: str
    service: str
    labels: Mapping[str, str]
    metric: str
    score: float
    value: float | None
    lower: float | None
    upper: float | None
    first_at: int
    last_at: int
    active: bool
    summary: str
    category: str | None = None
    severity: str | None = None
    item: str = ""
    disruption: bool = False
    impact: Impact | None = None
    evidence: Evidence | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What modes are set for: detector, kind and metric; rules and alerts by their name."""
        if self.detector in ("rule", "alert"):
            return f"{self.detector}/{self.name}"
        return f"{self.detector}/{self.kind}/{self.metric}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one ``advance`` found: symptoms that are new or changed, in a stable order."""

    upto: int
    symptoms: tuple[Symptom, ...] = ()
    recorded: int = 0
    late: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()


# --- what comes in ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of an Alertmanager or a Prometheus. Its episode is (fingerprint, starts_at).

    ``expires_at``: when it counts as over if neither repeated nor resolved. ``receiver``/``group_key`` are empty
    for API v2.
    """

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    status: Literal["firing", "resolved"]
    starts_at: int
    ends_at: int | None
    expires_at: int | None
    received_at: int
    generator_url: str = ""
    group_key: str = ""
    receiver: str = ""
    external_url: str = ""


@dataclass(frozen=True, slots=True)
class Reporter:
    name: str
    contact: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a person told the desk, in their words. ``security`` restricts it from its first byte.

    ``channel``: page | json | mail | call. ``mail``: the Message-ID that it came by; ``follows``: the ticket that it
    speaks of; ``told_at`` (ms): when the person told it, where that was before it arrived.
    """

    description: str
    received_at: int
    reporter: Reporter | None = None
    title: str = ""
    service: str = ""
    kind: Kind = "undecided"
    security: bool = False
    idempotency_key: str = ""
    channel: str = ""
    mail: str = ""
    follows: str | None = None
    told_at: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Something was changed on ``service`` at ``at`` (ms), as another program says; no service: it concerns all.
    ``dedup_key``: the same for a repetition of it. Foreign text: escape it."""

    service: str
    at: int
    summary: str
    source: str = ""
    link: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    received_at: int = 0
    dedup_key: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of what it matches from ``starts_at`` to ``ends_at`` (ms). ``matchers``: (name, operator, value),
    all of which must match. ``covers`` predictions: when users are hurt they are told all the same."""

    id: str
    matchers: tuple[tuple[str, str, str], ...]
    starts_at: int
    ends_at: int
    updated_at: int
    created_by: str = ""
    comment: str = ""
    covers: Literal["all", "predictions"] = "all"


# --- rows ---------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Notification:
    """A message owed to one channel, as claimed from the outbox.

    ``dedup_key`` is the same for every message of one ticket on one channel (its thread, PagerDuty's dedup_key);
    ``idempotency_key`` is the message's own: a receiver that has seen it may drop it. ``event``: opened | worse |
    changed | acknowledged | resolved | help | change | report | test. ``urgency``: page | notify. ``thread``: the
    receipt of the thread's first message on that channel, if any. ``recipient``: the person who is called; of a letter,
    to whom, with ``text``: what a person wrote in it. ``also``: tickets of further calls that this one stands for.
    ``memo``: (subject, text) of a message to a person that is about no ticket.
    """

    id: int
    ticket: Ticket
    channel: str
    event: str
    urgency: Literal["page", "notify"]
    reason: str
    dedup_key: str
    idempotency_key: str
    created_at: int
    not_before: int
    attempts: int
    thread: str = ""
    recipient: str = ""
    text: str = ""
    also: tuple[Ticket, ...] = ()
    memo: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A page of one person on ``channel``, ``delay`` ms after it was owed, unless somebody has the ticket by then."""

    channel: str
    who: str
    delay: int = 0


# What became of one attempt to deliver a notification, for the outbox to keep. ``reason`` is a short code from a closed
# list (it becomes a metric label), never text of the other side.


@dataclass(frozen=True, slots=True)
class Sent:
    """Delivered. ``receipt`` is the receiver's word for it (an id, a dedup_key), at most 255 characters, or empty."""

    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not delivered; try again at ``at`` (ms)."""

    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Never to be delivered: refused for good, or given up after the last retry. Stays visible as a dead letter."""

    reason: str


Outcome = Sent | Retry | Dead


# --- from rows back to arrays -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Control:
    """The desk's word to the models, journaled like a batch. ``kind``: freeze | thaw | feedback; a frozen series is
    scored but not learned from."""

    kind: Literal["freeze", "thaw", "feedback"]
    labels: tuple[LabelSet, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
