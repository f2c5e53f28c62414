"""The ledger of alerts in memory: which episodes fire, until when they count, and what is news about them.

An alert's episode is (fingerprint, startsAt). Replicas and repeats of one episode are counted, not news. Decisions are
made with :meth:`Ledger.sort`, which changes nothing; what was committed is kept with :meth:`Ledger.keep`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from detector.incidents.alerts import alert_symptom, missing_watchdog
from detector.incidents.catalogue import Catalogue
from detector.incidents.options import IncidentOptions
from detector.nouns import Alert, Symptom

Key = tuple[str, int]

_LATE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode. ``result``: ticket | watchdog | severity-none | unknown-resolved."""

    alert: Alert
    result: str
    received: int
    expires_at: int | None
    symptom: Symptom | None = None
    news: bool = True
    stored: int = 0
    """How many of ``received`` were news of a ticket; the others were repeats, or turned away as ``result`` says."""


class Ledger:
    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._firing: dict[str, int] = {}
        self._next_expiry: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def firing(self) -> int:
        return len(self._firing)

    def firing_alert(self, fingerprint: str) -> Alert | None:
        start = self._firing.get(fingerprint)
        return self._entries[fingerprint, start].alert if start is not None else None

    def firing_alerts(self) -> list[Alert]:
        return [self._entries[print_, start].alert for print_, start in sorted(self._firing.items())]

    def sort(
        self, alerts: Iterable[Alert], catalogue: Catalogue, options: IncidentOptions, now: int
    ) -> dict[Key, Entry]:
        """What each alert is, the newest word on each episode last; several on one episode become one entry."""
        sorted_: dict[Key, Entry] = {}
        firing: dict[str, int] = {}
        for alert in alerts:
            start = self._start(alert, firing)
            key = (alert.fingerprint, start)
            before = sorted_.get(key) or self._entries.get(key)
            entry = _entry(replace(alert, starts_at=start), before, catalogue, options)
            if (pending := sorted_.get(key)) is not None and pending.news:
                entry = replace(entry, news=True)
                if entry.result == "watchdog":
                    entry = replace(entry, symptom=entry.symptom or pending.symptom)
            sorted_[key] = entry
            if alert.status == "firing":
                firing[alert.fingerprint] = start
        return sorted_

    def _start(self, alert: Alert, firing: dict[str, int]) -> int:
        """API v2 merges overlapping alerts of one label set, the earliest start wins; a webhook's start is final."""
        known = firing.get(alert.fingerprint, self._firing.get(alert.fingerprint))
        if alert.group_key or known is None:
            return alert.starts_at
        return min(known, alert.starts_at) if alert.starts_at < known else known

    def keep(self, entries: Iterable[Entry]) -> Counter[str]:
        """These were committed. Answers what became of what arrived since: ``stored`` changed a ticket,
        ``deduplicated`` repeats what was known, ``rejected`` was turned away as the entry's result says."""
        counts: Counter[str] = Counter()
        for entry in entries:
            alert = entry.alert
            known = self._entries.get((alert.fingerprint, alert.starts_at))
            arrived = entry.received - (known.received if known is not None else 0)
            stored = entry.stored - (known.stored if known is not None else 0)
            if entry.result == "ticket":
                counts["stored"] += stored
                counts["deduplicated"] += arrived - stored
            else:
                counts["rejected"] += arrived
            self._entries[alert.fingerprint, alert.starts_at] = replace(entry, news=False)
            if alert.status == "firing":
                self._firing[alert.fingerprint] = alert.starts_at
                if entry.expires_at is not None:
                    self._next_expiry = min(self._next_expiry or entry.expires_at, entry.expires_at)
            elif self._firing.get(alert.fingerprint) == alert.starts_at:
                del self._firing[alert.fingerprint]
        return counts

    def expired(self, now: int) -> list[Entry]:
        """Firing episodes that were neither repeated nor resolved in time."""
        if self._next_expiry is None or now < self._next_expiry:
            return []
        found = [self._entries[print_, start] for print_, start in self._firing.items()]
        over = [entry for entry in found if entry.expires_at is not None and entry.expires_at <= now]
        if not over:
            self._next_expiry = min((e.expires_at for e in found if e.expires_at is not None), default=None)
        return over

    def next_expiry(self) -> int | None:
        """When (ms) to look for expired episodes again; never later than the first of them expires."""
        return self._next_expiry

    def forget(self, before: int) -> None:
        """Drop what ended and was not heard of since ``before`` (ms)."""
        old = [
            key
            for key, entry in self._entries.items()
            if entry.alert.status != "firing" and entry.alert.received_at < before
        ]
        for key in old:
            del self._entries[key]


def _entry(alert: Alert, before: Entry | None, catalogue: Catalogue, options: IncidentOptions) -> Entry:
    received = (before.received if before else 0) + 1
    stored = before.stored if before else 0
    if alert.labels.get("alertname") == options.watchdog.alertname:
        return _watchdog(alert, received, catalogue, options)
    if alert.labels.get("severity") == "none":
        return Entry(alert, "severity-none", received, _expiry(alert, options), news=False)
    if before is None and alert.status == "resolved":
        return Entry(alert, "unknown-resolved", received, None, news=False)
    if before is not None and before.result == "unknown-resolved" and alert.status == "resolved":
        return replace(before, received=received, news=False)
    if before is not None and _is_late(alert, before):
        return replace(before, received=received, news=False)
    symptom = alert_symptom(alert, catalogue, options)
    news = before is None or before.result != "ticket" or before.alert.status != alert.status
    return Entry(alert, "ticket", received, _expiry(alert, options), symptom, news, stored + news)


def _is_late(alert: Alert, before: Entry) -> bool:
    """A firing that a slower replica of the Alertmanager still sends of an episode which has just resolved: the replica
    will never send that it is over, because the others have. An episode that expired comes back whenever it likes."""
    return (
        alert.status == "firing"
        and before.alert.status == "resolved"
        and before.expires_at is None
        and alert.received_at - before.alert.received_at <= _LATE_MS
    )


def _watchdog(alert: Alert, received: int, catalogue: Catalogue, options: IncidentOptions) -> Entry:
    """It opens nothing while it comes, and ends what its absence has opened. An Alertmanager that says it is resolved
    says that it stopped coming."""
    if alert.status == "resolved":
        missing = missing_watchdog(alert, catalogue, alert.received_at)
        return Entry(alert, "watchdog", received, None, missing, news=True)
    late = options.watchdog.expiry
    expires = alert.received_at + late if late else _expiry(alert, options)
    back = replace(missing_watchdog(alert, catalogue, alert.received_at), active=False)
    return Entry(alert, "watchdog", received, expires, back, news=True)


def _expiry(alert: Alert, options: IncidentOptions) -> int | None:
    if alert.status == "resolved":
        return None
    return alert.expires_at if alert.expires_at is not None else alert.received_at + options.alert_expiry


def end_of(entry: Entry, catalogue: Catalogue, options: IncidentOptions, now: int) -> Sequence[Symptom]:
    """What an episode that expired says: it is over; a watchdog that stopped coming is a symptom of its own."""
    if entry.result == "watchdog":
        return (missing_watchdog(entry.alert, catalogue, now),)
    if entry.result != "ticket":
        return ()
    over = replace(entry.alert, status="resolved", received_at=now)
    return (alert_symptom(over, catalogue, options),)
