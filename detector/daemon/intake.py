"""Arrivals on their way to router and pipeline: what they raise becomes 503, what they took is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from detector.daemon.driver import Driver
from detector.heart import Taken
from detector.ingest.alertmanager import Shown
from detector.ingest.decode import Rejected
from detector.ingest.events_v2 import Event
from detector.ingest.receive import Unavailable
from detector.ingest.scrape import ScrapeResult
from detector.mailbox import Overloaded
from detector.nouns import Alert, ChangeEvent, Report, Viewer
from detector.pipeline import Busy, NotAllowed, Pipeline, StorageError
from detector.router import Router
from detector.series.segments import JournalFull
from detector.telemetry import Telemetry

log = logging.getLogger(__name__)

EVENTS = Viewer("events-v2", restricted=True)
"""Who acknowledges what another tool's event says is acknowledged there."""


class DaemonIntake:
    """The daemon's side of ``ingest.receive.Intake``, and the scraper's sink."""

    def __init__(self, router: Router, pipeline: Pipeline, driver: Driver, telemetry: Telemetry) -> None:
        self.closed: str | None = "starting"
        """Why nothing is taken at the moment; None: everything is."""
        self.full: str | None = None
        """Why samples cannot be made durable, while they cannot."""
        self._router = router
        self._pipeline = pipeline
        self._driver = driver
        self._telemetry = telemetry

    def now(self) -> int:
        return self._driver.now()

    async def samples(self, kind: str, body: bytes, source: str) -> Taken | Rejected:
        self._open()
        try:
            taken = await self._router.ingest(kind, body, source)
        except Overloaded as error:
            self._telemetry.rejected.labels("overloaded").inc()
            raise Unavailable(str(error), error.retry_after) from None
        except JournalFull as error:
            self.full = str(error)
            self._telemetry.rejected.labels("journal-full").inc()
            raise Unavailable(f"samples cannot be made durable: {error}", 10) from None
        await self._counted(taken, source)
        return taken

    async def scraped(self, result: ScrapeResult) -> None:
        """A scrape; raises what keeps it from being durable, which loses this scrape and not the loop."""
        await self._counted(await self._router.scraped(result), "scrape")

    async def _counted(self, taken: Taken | Rejected, source: str) -> None:
        if isinstance(taken, Rejected):
            self._telemetry.rejected.labels(taken.reason).inc()
            return
        self.full = None
        self._driver.arrived(source)
        self._telemetry.ingested.labels(source).inc(taken.stored)
        for reason, count in taken.rejected.items():
            self._telemetry.rejected.labels(reason).inc(count)
        for advance in taken.advances:
            await self._driver.found(advance)

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        self._open()
        try:
            await self._pipeline.alerts(alerts, self.now())
        except (Busy, StorageError) as error:
            self._telemetry.alerts.labels(source, "refused").inc(len(alerts))
            raise Unavailable(str(error) or "too many alerts wait to be decided") from None
        self._driver.arrived(source)
        self._telemetry.alerts.labels(source, "stored").inc(len(alerts))

    async def report(self, report: Report, who: str = "reporter") -> str:
        self._open()
        try:
            return (await self._pipeline.report(report, who)).key
        except StorageError as error:
            raise Unavailable(f"the report could not be stored: {error}", 5) from None

    async def event(self, event: Event) -> None:
        """A PagerDuty event. A second trigger is the first one's alert with newer words; what nobody triggered is
        nothing to resolve."""
        known = self._pipeline.ledger.firing_alert(event.fingerprint)
        if event.action == "trigger" and event.alert is not None:
            labels = known.labels if known is not None else event.alert.labels
            await self.alerts([replace(event.alert, labels=labels)], "events-v2")
        elif known is not None and event.action == "resolve":
            now = self.now()
            over = replace(known, status="resolved", ends_at=now, expires_at=None, received_at=now)
            await self.alerts([over], "events-v2")
        elif known is not None and (ticket := self._pipeline.ticket_of(known)) is not None:
            try:
                await self._pipeline.act(ticket.key, "ack", EVENTS, now=self.now())
            except NotAllowed:
                log.info("%s is held already: the acknowledgement of an event changes nothing", ticket.key)
            except StorageError as error:
                raise Unavailable(str(error), 5) from None

    async def changed(self, change: ChangeEvent) -> None:
        self._open()
        try:
            await self._pipeline.changes.add(change)
        except StorageError as error:
            raise Unavailable(f"the change could not be stored: {error}", 5) from None

    def services(self) -> Sequence[str]:
        return tuple(self._pipeline.policy.catalogue.entries)

    def firing(self) -> Iterable[Shown]:
        for alert, hushed in self._pipeline.alerts_firing(self.now()):
            silenced = (hushed.by,) if hushed is not None and hushed.kind == "silenced" else ()
            inhibited = (hushed.by,) if hushed is not None and hushed.kind == "inhibited" else ()
            yield Shown(alert, silenced, inhibited)

    def _open(self) -> None:
        if self.closed is not None:
            raise Unavailable(self.closed, 2)
