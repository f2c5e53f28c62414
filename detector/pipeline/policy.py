"""What decisions follow, and what keeps one from being made."""

from __future__ import annotations

from dataclasses import dataclass, field

from detector.incidents.catalogue import Catalogue
from detector.incidents.mute import NoiseOptions
from detector.incidents.options import IncidentOptions
from detector.nouns import Level, Ticket
from detector.oncall.options import OnCallOptions
from detector.tickets.allowed import NoSuchTicket
from detector.tickets.options import TicketOptions
from detector.tickets.triage import LEVELS, ServiceFacts


class Busy(Exception):
    """Too many posts wait for the desk: answer 503 with Retry-After."""

    retry_after = 2


@dataclass(frozen=True)
class Policy:
    """What decisions follow; replaced as a whole by a reload."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    incidents: IncidentOptions = field(default_factory=IncidentOptions)
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    tickets: TicketOptions = field(default_factory=TicketOptions)
    oncall: OnCallOptions = field(default_factory=OnCallOptions)

    def facts(self, ticket: Ticket) -> ServiceFacts:
        """What the catalogue knows of the ticket's service; the impact is that of the most critical one affected."""
        own = self.catalogue.entry(ticket.service)
        services = {ticket.service, *(affected.service for affected in ticket.affected)}
        known = [entry for service in services if (entry := self.catalogue.entry(service)) is not None]
        users: list[Level] = [entry.users or entry.criticality for entry in known]
        business: list[Level] = [entry.business or entry.criticality for entry in known]
        if own is None:
            # A service that nobody described counts as medium beside those that are.
            users, business = [*users, "medium"], [*business, "medium"]
        team, runbook = (own.team, own.runbook) if own is not None else (None, "")
        return ServiceFacts(max(users, key=LEVELS.index), max(business, key=LEVELS.index), team, runbook)


__all__ = ["Busy", "NoSuchTicket", "Policy"]
