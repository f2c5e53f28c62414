"""The status page as data: Atlassian's Statuspage v2 documents and an Atom feed, made of what was published. Pure.

https://metastatuspage.com/api: what reads a Statuspage reads this. Nothing else of a ticket is in it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from detector.clock import rfc3339
from detector.incidents.mute import Maintenance
from detector.nouns import Ticket
from detector.tickets.public import (
    IMPACT,
    ComponentStatus,
    Day,
    component_status,
    components_of,
    history,
    over,
    started,
    uptime,
    worst,
)
from detector.words import DAY, in_calendar

DAYS = 90
SHOWN = 50
"""Incidents in `incidents.json` and in the feed, as Statuspage has it."""
ATOM = "http://www.w3.org/2005/Atom"
_INDICATORS = {
    "operational": ("none", "All systems operational"), "under_maintenance": ("none", "Under maintenance"),
    "degraded_performance": ("minor", "Degraded performance"), "partial_outage": ("major", "Partial outage"),
    "major_outage": ("critical", "Major outage"),
}  # fmt: skip
_LABEL = "service"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Component:
    """One service as the public sees it."""

    name: str
    status: ComponentStatus
    since: int
    days: Sequence[Day]
    uptime: float

    @property
    def id(self) -> str:
        return hashlib.sha256(f"component\0{self.name}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the page, the documents and the feed show. Times in ms."""

    name: str
    url: str
    now: int
    components: Sequence[Component]
    incidents: Sequence[Ticket]
    """Published ones of the last 90 days, newest first."""
    maintenance: Sequence[tuple[Maintenance, int, int]]

    @property
    def unresolved(self) -> list[Ticket]:
        return [ticket for ticket in self.incidents if over(ticket) is None]

    @property
    def updated_at(self) -> int:
        return max((ticket.public[-1].at for ticket in self.incidents), default=0)

    @property
    def indicator(self) -> tuple[str, str]:
        """Statuspage's indicator and the sentence for people: the worst of the components."""
        return _INDICATORS[worst(component.status for component in self.components)]


def facts(
    name: str, url: str, names: Sequence[str], tickets: Sequence[Ticket],
    maintenance: Sequence[tuple[Maintenance, int, int]], now: int,
) -> Facts:  # fmt: skip
    """``names``: the components that are always shown; what is published beside them is shown while it lasts."""
    lasting = [ticket for ticket in tickets if over(ticket) is None]
    extra = sorted({c for ticket in lasting for c in components_of(ticket)} - set(names))
    active = {c for window, low, high in maintenance if low <= now < high for c in maintained(window)}
    components = []
    for component in (*names, *extra):
        own = [ticket for ticket in lasting if component in components_of(ticket)]
        status = worst(component_status(ticket) for ticket in own)
        if status == "operational" and component in active:
            status = "under_maintenance"
        since = max((ticket.public[-1].at for ticket in own), default=0)
        days = history(component, tickets, now, DAYS)
        components.append(Component(component, status, since, days, uptime(days, now)))
    return Facts(name, url, now, components, tickets, maintenance)


def maintained(window: Maintenance) -> list[str]:
    """The components that a window names: its matchers for the label ``service`` with one value."""
    return [matcher.value for matcher in window.matchers if matcher.name == _LABEL and matcher.op == "="]


# --- documents --------------------------------------------------------------------------------------------------------


def documents(found: Facts) -> dict[str, dict[str, Any]]:
    """Every document by its path below ``/status/api/v2/``."""
    page = {"page": _page(found)}
    indicator, description = found.indicator
    status = {"status": {"indicator": indicator, "description": description}}
    components = [_component(component, place) for place, component in enumerate(found.components, 1)]
    incidents = [_incident(ticket, found) for ticket in found.incidents[:SHOWN]]
    unresolved = [_incident(ticket, found) for ticket in found.unresolved[:SHOWN]]
    planned = [_maintenance(window, low, high, found) for window, low, high in found.maintenance]
    upcoming = [one for one in planned if one["status"] == "scheduled"]
    active = [one for one in planned if one["status"] == "in_progress"]
    return {
        "summary.json": page
        | {"components": components, "incidents": unresolved, "scheduled_maintenances": [*active, *upcoming]}
        | status,
        "status.json": page | status,
        "components.json": page | {"components": components},
        "incidents.json": page | {"incidents": incidents},
        "incidents/unresolved.json": page | {"incidents": unresolved},
        "scheduled-maintenances.json": page | {"scheduled_maintenances": planned},
        "scheduled-maintenances/upcoming.json": page | {"scheduled_maintenances": upcoming},
        "scheduled-maintenances/active.json": page | {"scheduled_maintenances": active},
    }


def _page(found: Facts) -> dict[str, Any]:
    id = hashlib.sha256(f"page\0{found.name}".encode()).hexdigest()[:12]
    return {"id": id, "name": found.name, "url": f"{found.url}/status", "time_zone": "Etc/UTC",
            "updated_at": _time(found.updated_at or found.now)}  # fmt: skip


def _component(component: Component, place: int) -> dict[str, Any]:
    return {
        "id": component.id, "name": component.name, "status": component.status, "description": None,
        "position": place, "created_at": None, "updated_at": _time(component.since) if component.since else None,
        "showcase": True, "group_id": None, "group": False, "only_show_if_degraded": False,
    }  # fmt: skip


def _incident(ticket: Ticket, found: Facts) -> dict[str, Any]:
    updates = [
        {
            "id": f"{ticket.key}-{number}", "incident_id": ticket.key, "status": update.status, "body": update.body,
            "created_at": _time(update.at), "updated_at": _time(update.at), "display_at": _time(update.at),
        }
        for number, update in enumerate(ticket.public, 1)
    ]  # fmt: skip
    monitoring = next((u.at for u in ticket.public if u.status == "monitoring"), None)
    ended = over(ticket)
    affected = set(components_of(ticket))
    return {
        "id": ticket.key, "name": ticket.public_title, "status": ticket.public[-1].status,
        "impact": IMPACT.get(ticket.priority, "minor"), "created_at": _time(ticket.public[0].at),
        "updated_at": _time(ticket.public[-1].at), "started_at": _time(started(ticket)),
        "monitoring_at": _time(monitoring) if monitoring is not None else None,
        "resolved_at": _time(ended) if ended is not None else None, "shortlink": f"{found.url}/status#{ticket.key}",
        "incident_updates": updates[::-1],
        "components": [_component(c, place) for place, c in enumerate(found.components, 1) if c.name in affected],
    }  # fmt: skip


def _maintenance(window: Maintenance, low: int, high: int, found: Facts) -> dict[str, Any]:
    state = "completed" if high <= found.now else "in_progress" if low <= found.now else "scheduled"
    named = maintained(window)
    return {
        "id": window_id(window, low), "name": window.reason, "status": state, "impact": "maintenance",
        "scheduled_for": _time(low), "scheduled_until": _time(high), "created_at": _time(low),
        "updated_at": _time(low), "shortlink": f"{found.url}/status", "incident_updates": [],
        "components": [_component(c, place) for place, c in enumerate(found.components, 1) if c.name in named],
    }  # fmt: skip


def webhook(found: Facts, unsubscribe: str) -> dict[str, Any]:
    """What every message to a subscriber's webhook begins with:
    https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/"""
    indicator, description = found.indicator
    page = _page(found)
    told = {"id": page["id"], "status_indicator": indicator, "status_description": description}
    meta = {"unsubscribe": unsubscribe, "documentation": f"{found.url}/status", "generated_at": _time(found.now)}
    return {"meta": meta, "page": told}


def incident(ticket: Ticket, found: Facts) -> dict[str, Any]:
    """A published ticket as a webhook tells it."""
    return _incident(ticket, found) | {"backfilled": False, "impact_override": None, "page_id": _page(found)["id"]}


def maintenance(id: str, found: Facts) -> dict[str, Any] | None:
    """A window that was announced; None where there is no such one any more."""
    known = (_maintenance(window, low, high, found) for window, low, high in found.maintenance)
    return next((one for one in known if one["id"] == id), None)


def window_id(window: Maintenance, low: int) -> str:
    return f"{window.name}-{low}"


def feed(found: Facts) -> bytes:
    """RFC 4287: one entry for each incident, with all that was said of it."""
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _text(root, "id", f"{found.url}/status")
    _text(root, "title", found.name)
    _text(root, "updated", _time(found.updated_at or found.now))
    ElementTree.SubElement(root, f"{{{ATOM}}}link", rel="self", href=f"{found.url}/status/feed.atom")
    ElementTree.SubElement(root, f"{{{ATOM}}}link", rel="alternate", href=f"{found.url}/status")
    author = ElementTree.SubElement(root, f"{{{ATOM}}}author")
    _text(author, "name", found.name)
    for ticket in found.incidents[:SHOWN]:
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        _text(entry, "id", f"{found.url}/status#{ticket.key}")
        _text(entry, "title", ticket.public_title)
        _text(entry, "published", _time(ticket.public[0].at))
        _text(entry, "updated", _time(ticket.public[-1].at))
        ElementTree.SubElement(entry, f"{{{ATOM}}}link", href=f"{found.url}/status#{ticket.key}")
        said = [f"{_time(u.at)} {u.status}: {u.body}" for u in reversed(ticket.public)]
        _text(entry, "content", "\n\n".join(said)).set("type", "text")
    ElementTree.register_namespace("", ATOM)
    made: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _text(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}")
    # What XML 1.0 cannot hold must not make the feed unreadable.
    element.text = _NOT_XML.sub("\ufffd", text)
    return element


def _time(at: int) -> str:
    return rfc3339(in_calendar(at))


RECENT = 14 * DAY
"""How far back the page lists what is over."""
