"""What the metrics say of tickets: counted as they are committed, so that a scrape costs nothing."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import Gauge

from detector.incidents.board import OPEN
from detector.nouns import Opened, PhaseChanged, Resolved, Ticket
from detector.telemetry import Telemetry
from detector.tickets.desk import Committed


class Counts:
    """Of open tickets by where they are, and of what happened."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._shown: dict[str, list[Gauge]] = {}

    def committed(self, committed: Committed, categories: Collection[str]) -> None:
        """No metric tells that a restricted ticket exists, and none counts shadows."""
        ticket = committed.ticket
        if ticket.restricted or ticket.mode == "shadow":
            return
        for change in committed.changes:
            match change:
                case Opened():
                    # Categories come from labels, too: a metric must not grow with what senders think of.
                    category = ticket.category if ticket.category in categories else "other"
                    self._telemetry.opened.labels(
                        ticket.priority or "", category, ticket.tier or "", ticket.source
                    ).inc()
                case PhaseChanged(phase="disrupting", previous="predicted"):
                    self._telemetry.lead.observe(max(0, change.at - ticket.opened_at) / 1000)
                case Resolved(resolution=resolution):
                    self._telemetry.outcomes.labels(resolution).inc()

    def put(self, ticket: Ticket) -> None:
        """Count the ticket where it is now and no longer where it was: a commit must not cost what is open."""
        shown: list[Gauge] = []
        if ticket.state in OPEN and ticket.mode != "shadow" and not ticket.restricted:
            shown.append(self._telemetry.open.labels(ticket.state, ticket.priority or "", ticket.tier or ""))
            shown += [self._telemetry.clocks.labels(clock.name, clock.state) for clock in ticket.clocks]
        for gauge in self._shown.pop(ticket.key, ()):
            gauge.dec()
        for gauge in shown:
            gauge.inc()
        if shown:
            self._shown[ticket.key] = shown
