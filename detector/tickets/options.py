"""How the desk works, as configured; every default is the shipped behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from detector.nouns import Level, Priority, Tier
from detector.options import Duration, HostPattern, Options, ms
from detector.tickets.prevention import ResponseOptions
from detector.tickets.public import Templates
from detector.worktime import WorkingHours

Matrix = Mapping[Level, Mapping[Level, Priority]]

SHIPPED_MATRIX: dict[Level, dict[Level, Priority]] = {
    "high": {"high": "P1", "medium": "P2", "low": "P3"},
    "medium": {"high": "P2", "medium": "P3", "low": "P4"},
    "low": {"high": "P3", "medium": "P4", "low": "P4"},
}

SHIPPED_EXPIRY: dict[Priority, int] = {"P1": ms("30m")}

SHIPPED_FIX: dict[str, int] = {
    "availability": ms("1h"), "errors": ms("2h"), "latency": ms("2h"), "traffic": ms("1h"), "saturation": ms("2h"),
    "capacity": ms("2h"), "capacity/disk": ms("3h"), "capacity/memory": ms("1h"), "monitoring": ms("1h"),
    "security": ms("4h"), "other": ms("2h"),
}  # fmt: skip

DEFAULT_CATEGORIES = (
    "availability", "errors", "latency", "traffic", "saturation", "capacity/disk", "capacity/memory", "capacity/cpu",
    "capacity/file-descriptors", "capacity/connections", "capacity/queue", "monitoring", "security/data-breach",
    "request", "other",
)  # fmt: skip


class CategoryRule(Options):
    """Category of tickets whose symptom has these labels (exact values), where the symptom brings none itself."""

    labels: dict[str, str]
    category: str


class RoutingRule(Options):
    """Where a ticket goes: the first rule that fits decides; without conditions it fits all."""

    priorities: tuple[Priority, ...] = ()
    categories: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    within: Duration | None = None
    """Only when the disruption is there or expected within this time."""
    tier: Tier
    team: str | None = None
    """Default: the team that owns the service."""


SHIPPED_ROUTING = (
    RoutingRule(categories=("security/data-breach",), tier="L3"),
    RoutingRule(priorities=("P1",), tier="L3"),
    RoutingRule.model_validate({"priorities": ["P2"], "within": "1h", "tier": "L3"}),
    RoutingRule(priorities=("P2",), tier="L2"),
    RoutingRule(tier="L1"),
)


class Targets(Options):
    """A time for each priority."""

    P1: Duration
    P2: Duration
    P3: Duration
    P4: Duration

    def of(self, priority: Priority) -> int:
        """ms for the priority."""
        target: int = getattr(self, priority)
        return target


def targets(*texts: str) -> Targets:
    """Targets from four durations, P1 first."""
    return Targets.model_validate(dict(zip(("P1", "P2", "P3", "P4"), texts, strict=True)))


class ClockOptions(Options):
    """Time from opening to a first response (detected: to acknowledgement; reported: to a person's reply) and to the
    solution, per priority."""

    response: Targets = targets("5m", "15m", "1h", "3h")
    reported_response: Targets = targets("1h", "90m", "2h", "3h")
    resolution: Targets = targets("4h", "12h", "24h", "72h")
    update: Targets = targets("30m", "1h", "4h", "1d")
    """From one word to the public to the next, while an incident disrupts or is on the status page."""
    regulator: Duration = ms("72h")
    """From the suspicion of a data breach to the regulator's notification (GDPR Art. 33)."""
    calendars: dict[str, WorkingHours] = Field(default_factory=dict)
    """Working hours by name,"""
    calendar: dict[Priority, str] = Field(default_factory=dict)
    """and the one by which response and solution of a priority are counted; without one they count at any hour."""

    @model_validator(mode="after")
    def _known(self) -> ClockOptions:
        for priority, name in self.calendar.items():
            if name not in self.calendars:
                known = ", ".join(self.calendars) or "none"
                raise ValueError(f"clocks.calendar: {priority} is counted by {name!r}; calendars has {known}")
        return self

    def hours(self, priority: Priority) -> WorkingHours | None:
        """The calendar of the priority; None: at any hour."""
        name = self.calendar.get(priority)
        return None if name is None else self.calendars[name]


class Communication(Options):
    """What the public is told, and by whom."""

    status_page: bool = True
    """Whether /status is served, to everybody."""
    name: str = Field("Service status", min_length=1, max_length=100)
    components: tuple[str, ...] = ()
    """Services that the status page shows; default: those of the catalogue."""
    review: Literal["nobody", "anybody", "another"] = "anybody"
    """Who publishes: the detector by itself, a person, or a person other than the one who wrote it."""
    templates: Templates = Templates()
    allowed_hosts: tuple[HostPattern, ...] = Field((), max_length=1000)
    """Where webhooks of subscribers may be: host names, or *.example.org for what lies below it and has a public
    address. Default: nowhere."""


class RetentionOptions(Options):
    """How long what is over is kept; without a time, for ever. Open tickets, what they name, and what may still be
    reopened always stay."""

    closed: Duration | None = None
    """Closed tickets, with their symptoms, timeline and messages, and those that were merged into them."""
    shadow: Duration | None = None
    """The same for those in mode shadow; default: as `closed`."""
    breaches: Duration | None = None
    """The same for what is or was a suspected data breach: the register (GDPR Art. 33(5)) is made of them."""
    outbox: Duration | None = None
    """Messages about tickets that ended, after they were sent or given up."""
    alerts: Duration | None = None
    """Alerts that resolved: the ledger, and what `detector why` tells of them."""
    changes: Duration | None = None
    """Deployments and the like."""
    audit: Duration | None = None
    """The audit log."""


class TicketOptions(Options):
    """The desk."""

    database: str | None = None
    """SQLAlchemy address such as postgresql+asyncpg://...; default: SQLite in the data directory."""
    matrix: dict[Level, dict[Level, Priority]] = Field(default_factory=lambda: SHIPPED_MATRIX)
    """Priority by impact, then urgency."""
    categories: tuple[CategoryRule, ...] = ()
    routing: tuple[RoutingRule, ...] = ()
    """Before the shipped rules: P1, and P2 within the hour, to L3; other P2 to L2; the rest to L1."""
    clocks: ClockOptions = ClockOptions()
    ack_expires: dict[Priority, Duration] = Field(default_factory=lambda: dict(SHIPPED_EXPIRY))
    """An acknowledgement without a step by a person for so long is over, and paging resumes."""
    communication: Communication = Communication()
    questions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """What a reporter is asked first, by category (or the part before its slash); before the shipped ones."""
    response: ResponseOptions = ResponseOptions()
    """Runbooks with their steps and actions."""
    retention: RetentionOptions = RetentionOptions()
    usual_fix: dict[str, Duration] = Field(default_factory=dict)
    """How long a fix usually takes, by category or by what stands before its slash; over the shipped ones. A prediction
    that leaves so much time after the next working hour wakes nobody (``oncall.working_hours``)."""
    close_after: Duration = ms("1d")
    """A resolved detected ticket closes by itself after it."""

    @property
    def fixes(self) -> Mapping[str, int]:
        """ms that a fix usually takes, by category."""
        return {**SHIPPED_FIX, **self.usual_fix}
