"""What the public is told of a ticket: words for each phase, drafts that wait for a person, what a page shows. Pure.

Nothing of alerts, labels or notes goes out by itself: a public text is a configured template with the names of services
in it, or what a person wrote. A prediction stays internal until it disrupts or a person publishes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field, field_validator

from detector.nouns import Change, Priority, PublicDrafted, PublicStatus, Published, Ticket
from detector.options import Options

Impact = Literal["none", "minor", "major", "critical"]
ComponentStatus = Literal[
    "operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage"
]  # fmt: skip
COMPONENT_STATUSES: tuple[ComponentStatus, ...] = get_args(ComponentStatus)
"""From the best to the worst, as Statuspage names them."""
STATUSES: tuple[PublicStatus, ...] = get_args(PublicStatus)
IMPACT: Mapping[Priority | None, Impact] = {"P1": "critical", "P2": "major", "P3": "minor", "P4": "minor"}
_HURT: Mapping[Priority | None, ComponentStatus] = {"P1": "major_outage", "P2": "partial_outage"}
DAY_MS = 86_400_000
MOST_UPDATES = 200


class Templates(Options):
    """Words for each phase; ``{service}`` is the service's name, ``{components}`` all that are affected."""

    title: str = Field("{service} is disrupted", max_length=200)
    investigating: str = Field("We are looking into a disruption of {components}.", max_length=2000)
    identified: str = Field(
        "We have found the cause of the disruption of {components} and work on it.", max_length=2000
    )
    monitoring: str = Field("{components} works again; we watch whether it stays so.", max_length=2000)
    resolved: str = Field("The disruption of {components} is over.", max_length=2000)

    @field_validator("*")
    @classmethod
    def _known(cls, text: str) -> str:
        try:
            worded(text, "a", ("a",))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"only {{service}} and {{components}} can stand in it: {error}") from None
        return text


def worded(template: str, service: str, components: Sequence[str]) -> str:
    """The template with its two words; KeyError and the like for others."""
    return template.format_map({"service": service, "components": " and ".join(components) or service})


def components_of(ticket: Ticket) -> tuple[str, ...]:
    """What the public calls affected: as published, else the ticket's service and what it impacts."""
    if ticket.public_components:
        return ticket.public_components
    return tuple(dict.fromkeys((ticket.service, *(affected.service for affected in ticket.affected))))


def wanted(ticket: Ticket) -> PublicStatus | None:
    """What the public should hear next, judged by the ticket's facts; None: nothing new."""
    told = ticket.public[-1].status if ticket.public else None
    if told is None:
        return "investigating" if ticket.phase == "disrupting" and ticket.state not in ("resolved", "closed") else None
    if ticket.state in ("resolved", "closed"):
        return "resolved" if told != "resolved" else None
    if ticket.phase == "recovering":
        return "monitoring" if told in ("investigating", "identified") else None
    found = bool(ticket.cause) or any(h.state == "confirmed" for h in ticket.hypotheses)
    if ticket.phase == "disrupting" and told in ("monitoring", "resolved"):
        return "investigating"
    return "identified" if found and told == "investigating" else None


def communicate(ticket: Ticket, templates: Templates, review: bool, now: int) -> list[Change]:
    """A draft for what the public should hear next, or without ``review`` the word itself."""
    closed_off = ticket.restricted or ticket.mode != "page" or ticket.kind != "incident"
    if closed_off or ticket.muted_since is not None or len(ticket.public) >= MOST_UPDATES:
        return []
    status = wanted(ticket)
    if status is None or (ticket.draft is not None and ticket.draft.status == status):
        return []
    components = components_of(ticket)
    title = ticket.public_title or worded(templates.title, ticket.service, components)
    body = worded(getattr(templates, status), ticket.service, components)
    if review:
        return [PublicDrafted(ticket.key, now, status=status, title=title, body=body)]
    return [Published(ticket.key, now, status=status, title=title, body=body, components=components)]


# --- what a page shows ------------------------------------------------------------------------------------------------


def started(ticket: Ticket) -> int:
    """When (ms) it began for the public: when users were hurt, else when it was published."""
    first = ticket.public[0].at if ticket.public else ticket.opened_at
    return min(first, ticket.disrupted_at) if ticket.disrupted_at is not None else first


def over(ticket: Ticket) -> int | None:
    """When (ms) the public was told that it is over; None: it lasts."""
    last = ticket.public[-1] if ticket.public else None
    return last.at if last is not None and last.status == "resolved" else None


def component_status(ticket: Ticket) -> ComponentStatus:
    """How badly a public incident that lasts hurts what it affects."""
    if ticket.public and ticket.public[-1].status in ("monitoring", "resolved"):
        return "degraded_performance" if ticket.public[-1].status == "monitoring" else "operational"
    if ticket.disrupted_at is None and ticket.source != "report":
        return "degraded_performance"
    return _HURT.get(ticket.priority, "degraded_performance")


def worst(statuses: Iterable[ComponentStatus]) -> ComponentStatus:
    return max(statuses, key=COMPONENT_STATUSES.index, default="operational")


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a component: its worst status, and how many ms of it were not operational."""

    start: int
    status: ComponentStatus
    hurt_ms: int


def history(component: str, tickets: Iterable[Ticket], now: int, days: int) -> list[Day]:
    """The last ``days`` UTC days of a component up to today, oldest first. Overlapping incidents count once."""
    spans = [
        (started(t), over(t) or now, _HURT.get(t.priority, "degraded_performance"))
        for t in tickets
        if t.public and component in components_of(t)
    ]
    today = now // DAY_MS * DAY_MS
    found = []
    for number in range(days - 1, -1, -1):
        low = today - number * DAY_MS
        high = min(low + DAY_MS, now)
        inside = sorted((max(a, low), min(b, high), status) for a, b, status in spans if a < high and b > low)
        hurt, reached = 0, low
        for begin, end, _ in inside:
            hurt += max(0, end - max(begin, reached))
            reached = max(reached, end)
        found.append(Day(low, worst(status for _, _, status in inside), hurt))
    return found


def uptime(days: Sequence[Day], now: int) -> float:
    """Share of the time in ``days`` up to now in which the component was not hurt, 0 to 1."""
    total = sum(min(day.start + DAY_MS, now) - day.start for day in days)
    return 1 - sum(day.hurt_ms for day in days) / total if total > 0 else 1.0
