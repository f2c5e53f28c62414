"""The shapes of the desk's JSON, for the OpenAPI document and for what comes in.

What goes out is made by :mod:`detector.web.record`; a test holds the two equal.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from detector.nouns import (
    DetectorName,
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
from detector.nouns import Wait as WaitReason
from detector.web.body import Body, Line, Text

# --- what goes out -------------------------------------------------------------------------------------------------

Time = str
"""RFC 3339, UTC."""


class Expected(BaseModel):
    lower: float | None
    upper: float | None


class SymptomModel(BaseModel):
    id: str
    detector: DetectorName
    kind: str
    metric: str
    labels: dict[str, str]
    first_seen_at: Time
    last_seen_at: Time
    active: bool
    score: float | None
    value: float | None
    expected: Expected | None
    time_to_impact_seconds: int | None
    summary: str


class ImpactModel(BaseModel):
    users: Level | None
    business: Level | None


class ReporterModel(BaseModel):
    name: str
    contact: str
    language: str


class AffectedModel(BaseModel):
    service: str
    items: list[str]
    how: Literal["origin", "impacted"]


class ClockModel(BaseModel):
    name: str
    due_at: Time
    state: Literal["running", "paused", "met", "breached"]


class HypothesisModel(BaseModel):
    number: int
    text: str
    state: Literal["stated", "confirmed", "rejected"]


class LinkModel(BaseModel):
    key: str
    how: Relation


class QuestionModel(BaseModel):
    number: int
    text: str
    answer: str


class UsedModel(BaseModel):
    key: str
    helped: bool


class BridgeModel(BaseModel):
    link: str
    dial_in: str
    begins_at: Time
    ends_at: Time
    attendees: list[str]
    outcome: str


class ActionModel(BaseModel):
    name: str
    at: Time
    who: str
    result: Literal["running", "succeeded", "failed"]
    said: str


class ForecastModel(BaseModel):
    earliest: Time
    likely: Time
    latest: Time


class ResponseModel(BaseModel):
    at: Time
    before: ForecastModel | None = Field(description="The forecast when somebody first acted.")
    after: ForecastModel | None = Field(description="The forecast as it is.")
    effect: Literal["prevented", "self-recovered", "not helped", "open"]


class PublicModel(BaseModel):
    at: Time
    status: PublicStatus
    body: str


class MutedModel(BaseModel):
    since: Time
    until: Time | None
    by: list[str]
    reason: str


class DeferredModel(BaseModel):
    since: Time
    until: Time | None
    wakes_at: Time | None = Field(description="From then on it would wake somebody after all.")
    reason: str


class ChangeModel(BaseModel):
    at: Time
    service: str | None
    summary: str
    source: str
    link: str | None
    details: dict[str, str]


class Changes(BaseModel):
    items: list[ChangeModel]


class EntryModel(BaseModel):
    at: Time
    who: str
    what: str
    data: dict[str, Any]


class Incident(BaseModel):
    """An incident, as JSON."""

    key: str
    kind: Kind
    phase: Phase | None
    state: State
    source: Source
    title: str
    description: str | None
    reporter: ReporterModel | None
    service: str
    category: str | None
    priority: Priority | None
    priority_reason: str
    impact: ImpactModel
    urgency: Level | None
    tier: Tier | None
    team: str | None
    assignee: str | None
    waiting: str | None
    restricted: bool
    mode: Mode
    first_symptom_at: Time | None
    reported_at: Time | None
    opened_at: Time
    predicted_disruption_at: Time | None
    predicted_disruption_between: list[Time] | None
    disrupted_at: Time | None
    acknowledged_at: Time | None
    first_response_at: Time | None
    fix_applied_at: Time | None
    restored_at: Time | None
    resolved_at: Time | None
    closed_at: Time | None
    resolution: Resolution | None
    merged_into: str | None
    symptoms: list[SymptomModel]
    affected: list[AffectedModel]
    similar: list[dict[str, Any]]
    clocks: list[ClockModel]
    hypotheses: list[HypothesisModel]
    cause: str
    fix: str
    prevention: str
    breach: Literal["suspected", "confirmed", "dismissed"] | None
    checklist: list[str]
    links: list[LinkModel]
    questions: list[QuestionModel]
    solutions_used: list[UsedModel]
    bridge: BridgeModel | None
    actions: list[ActionModel]
    response: ResponseModel | None = Field(description="What was done about a prediction, and whether it helped.")
    public: list[PublicModel] = Field(description="What the public was told.")
    muted: MutedModel | None = Field(description="Nobody is told of it: silenced, in maintenance, or inhibited.")
    responders: list[str] = Field(description="Who was asked to help.")
    offered_to: str | None = Field(description="The holder's shift is over: who may take it.")
    deferred: DeferredModel | None = Field(description="A prediction whose pages wait for the day shift.")
    changes: list[ChangeModel] = Field(description="In the two hours before the first sign; of one incident only.")
    held_seconds: dict[str, int] = Field(description="How long each tier has had it.")
    timeline: list[EntryModel]


class IncidentPage(BaseModel):
    items: list[Incident]
    next: str | None


class ServiceModel(BaseModel):
    name: str
    team: str | None
    criticality: str
    depends_on: list[str]
    runbook: str
    catalogued: bool = Field(description="False: seen on an incident, without an entry in the catalogue.")
    open: int = Field(description="Open incidents.")


class Services(BaseModel):
    items: list[ServiceModel]


class OnCallModel(BaseModel):
    team: str
    people: list[str]
    channels: list[str]


class ScheduleModel(BaseModel):
    name: str
    zone: str
    people: list[str] = Field(description="On call now.")
    since: Time
    until: Time = Field(description="The next change.")
    next: list[str] = Field(description="Who is on call then; nobody: a gap.")


class FindingModel(BaseModel):
    kind: str
    text: str


class OnCall(BaseModel):
    items: list[OnCallModel]
    schedules: list[ScheduleModel]
    problems: list[FindingModel] = Field(description="What would keep a page from reaching somebody.")


class ShiftTicket(BaseModel):
    key: str
    title: str
    service: str
    priority: Priority | None
    state: State
    resolution: Resolution | None
    assignee: str | None
    offered_to: str | None


class ShiftReport(BaseModel):
    """What happened in one shift; the tickets as they are now."""

    schedule: str
    start: Time
    end: Time
    people: list[str]
    opened: list[ShiftTicket]
    ended: list[ShiftTicket]
    open: list[ShiftTicket]
    pages: int
    wakes: int = Field(description="Of those pages, outside working hours.")


class SentTest(BaseModel):
    channel: str
    sent: bool
    error: str


class SentTests(BaseModel):
    items: list[SentTest]


# --- what comes in -------------------------------------------------------------------------------------------------


class Ack(Body):
    """Whoever asks holds it."""


class NotMine(Body):
    reason: Text = Field(min_length=1, description="Whoever is called next reads it.")


class Help(Body):
    person: Line = Field(description="Who is called as well.")
    text: Text = ""


class SendTest(Body):
    person: Line = Field(description="Who is called, on each of their channels.")


class Assign(Body):
    assignee: Line | None = Field(None, description="null: nobody holds it any more.")


class Escalate(Body):
    tier: Tier | None = Field(None, description="Default: one up.")
    summary: Text = Field("", description="Tried, excluded, next.")


class Note(Body):
    text: Text = Field(min_length=1)


class Resolve(Body):
    resolution: Resolution = "fixed"
    text: Text = ""
    force: bool = Field(False, description="Resolve although symptoms are active; their return reopens it later.")


class Close(Body):
    text: Text = ""


class Reopen(Body):
    reason: Text = ""


class Merge(Body):
    into: Line = Field(description="The key of the incident that goes on.")


class Decide(Body):
    kind: Literal["incident", "request"]


class Categorise(Body):
    category: Line = Field(description="One of those that are configured.")


class Prioritise(Body):
    priority: Priority
    reason: Text = Field(min_length=1)


class Wait(Body):
    reason: WaitReason
    text: Text = ""


class Resume(Body):
    reason: Text = ""


class Reply(Body):
    text: Text = Field(min_length=1)


class Inform(Body):
    tier: Tier
    text: Text = ""


class LinkTo(Body):
    to: Line = Field(description="The key of an incident or a problem.")
    how: Literal["related", "caused-by", "causes"] = "related"


class Split(Body):
    symptoms: list[Line] = Field(min_length=1, max_length=500, description="Ids of those that have another cause.")
    reason: Text = ""


class Replay(Body):
    since: Time = Field(description="RFC 3339: changes from then on.")


class Replayed(BaseModel):
    messages: int


class OpenProblem(Body):
    title: Line
    service: Line | None = Field(None, description="Default: it concerns all.")
    category: Line | None = None
    cause: Text = ""
    workaround: Text = ""


class ChangeProblem(Body):
    version: int = Field(description="The one that was read: an older one is refused.")
    title: Line | None = None
    state: ProblemState | None = None
    cause: Text | None = None
    workaround: Text | None = None


class ProblemModel(BaseModel):
    key: str
    version: int
    title: str
    state: ProblemState
    service: str
    category: str
    cause: str
    workaround: str
    opened_at: Time
    opened_by: str
    changed_at: Time | None
    changed_by: str


class ProblemPage(BaseModel):
    items: list[ProblemModel]


class Ask(Body):
    questions: list[Line] | None = Field(None, max_length=20, description="Default: the basic ones of its category.")


class Use(Body):
    solution: Line = Field(description="The key of the past incident whose solution was tried.")
    helped: bool = True
    text: Text = ""


class OpenBridge(Body):
    link: Line | None = Field(None, description="Of a video call.")
    dial_in: Line | None = Field(None, description="A number and a code.")
    at: Time | None = Field(None, description="When it begins, RFC 3339; default: now.")
    minutes: int = Field(60, ge=5, le=720)
    attendees: list[Line] = Field([], max_length=30, description="Names or addresses; the reporter is among them.")
    text: Text = ""


class EndBridge(Body):
    text: Text = Field(min_length=1)


class Run(Body):
    name: Line = Field(description="One of the actions that are proposed.")
    confirmed: bool = Field(False, description="What it will do was read, and it shall be done.")


class Prevent(Body):
    text: Text = Field(min_length=1)


class Decline(Body):
    text: Text = Field(min_length=1)


class Draft(Body):
    status: PublicStatus
    body: Text = Field(min_length=1)
    title: Line | None = None


class Publish(Body):
    """What is left out is taken from the draft."""

    status: PublicStatus | None = None
    body: Text | None = None
    title: Line | None = None
    components: list[Line] | None = Field(None, max_length=50)


class Hypothesise(Body):
    text: Line = Field(min_length=1)


class Settle(Body):
    number: int = Field(ge=1, le=10_000)
    holds: bool = Field(False, description="True: confirmed. False: rejected.")
    text: Text = ""


class Fix(Body):
    text: Text = Field(min_length=1, description="What was applied.")


class Restore(Body):
    text: Text = ""
    force: bool = Field(False, description="Although symptoms are active.")


class Record(Body):
    """Together with what was recorded before, all three have to be there."""

    cause: Text = ""
    fix: Text = ""
    prevention: Text = ""


class Judge(Body):
    verdict: Literal["confirmed", "dismissed"]
    text: Text = Field(min_length=1, description="What was found.")


class Check(Body):
    item: Line
    text: Text = ""


class ReportingPerson(Body):
    name: str = Field(max_length=200)
    contact: str = Field("", max_length=320)
    language: str = Field("", max_length=35)


class ReportBody(Body):
    """As :mod:`detector.ingest.receive` reads it; here only for the document."""

    description: str = Field(min_length=1, max_length=20_000)
    title: str = Field("", max_length=200)
    service: str = Field("", max_length=200)
    kind: Kind = "undecided"
    security: bool = Field(False, description="Confidential: seen by nobody but those who look into breaches.")
    reporter: ReportingPerson | None = None
    channel: Literal["json", "call"] = Field(
        "json", description="call: whoever sends it logs it for the reporter, whose name is needed then.")  # fmt: skip


class Reported(BaseModel):
    key: str
    url: str
