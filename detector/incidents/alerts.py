"""Alerts as symptoms: the same noun as what the product sees itself, so that both join one incident."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from detector.incidents.catalogue import Catalogue
from detector.incidents.matchers import Matcher, every
from detector.incidents.options import IncidentOptions
from detector.nouns import Alert, Symptom
from detector.series.identity import symptom_id

_SUMMARY = ("summary", "message", "description")
_LONGEST = 500

CATEGORY_OF_KIND = {
    "down": "availability", "absence": "monitoring", "exhaustion": "saturation", "latency": "latency",
    "errors": "errors", "traffic": "traffic",
}  # fmt: skip


CATEGORY_OF_WORD = {
    "disk": "capacity/disk", "filesystem": "capacity/disk", "volume": "capacity/disk", "inodes": "capacity/disk",
    "memory": "capacity/memory", "oom": "capacity/memory", "heap": "capacity/memory", "cpu": "capacity/cpu",
    "connections": "capacity/connections", "queue": "capacity/queue", "descriptor": "capacity/file-descriptors",
    "latency": "latency", "slow": "latency", "duration": "latency", "error": "errors", "errors": "errors",
    "failing": "errors", "failed": "errors", "down": "availability", "unreachable": "availability",
    "unavailable": "availability", "crash": "availability", "looping": "availability", "ready": "availability",
    "absent": "monitoring", "missing": "monitoring", "scrape": "monitoring", "load": "saturation",
    "throttling": "saturation", "saturation": "saturation", "traffic": "traffic", "requests": "traffic",
}  # fmt: skip

_DISKS = ("mountpoint", "persistentvolumeclaim")
_PLACES = (*_DISKS, "volume", "device", "container", "name", "queue", "topic", "pool", "datname", "database", "db",
           "area", "id")  # fmt: skip
"""Labels that name a resource, most telling first: those of rules and forecasts, so that their items meet."""
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+")


def disrupts(labels: Mapping[str, str], matchers: Sequence[Sequence[Matcher]]) -> bool:
    """Whether these labels say that users are hurt already."""
    return any(every(group, labels) for group in matchers)


def alert_symptom(alert: Alert, catalogue: Catalogue, options: IncidentOptions) -> Symptom:
    """The symptom that an alert's episode is; its id comes from label set and start, so that replicas agree."""
    labels = alert.labels
    name = labels.get("alertname", "alert")
    summary = next((text for key in _SUMMARY if (text := alert.annotations.get(key))), name)
    kind = labels.get("kind") or "threshold"
    category = labels.get("category") or category_of(labels, kind, name)
    return Symptom(
        id=symptom_id("alert", labels, alert.starts_at),
        detector="alert",
        kind=kind,
        name=name,
        service=catalogue.service_of(labels),
        labels=labels,
        metric="",
        score=0.0,
        value=None,
        lower=None,
        upper=None,
        first_at=alert.starts_at,
        last_at=alert.received_at,
        active=alert.status == "firing",
        summary=summary[:_LONGEST],
        category=category,
        severity=labels.get("severity"),
        item=item_of(labels, kind, category or ""),
        disruption=disrupts(labels, options.disruption),
        annotations=alert.annotations,
    )


def missing_watchdog(alert: Alert, catalogue: Catalogue, now: int) -> Symptom:
    """The symptom that an always-firing alert has stopped to come: alerts may no longer arrive."""
    labels = {name: value for name, value in alert.labels.items() if name != "severity"}
    return Symptom(
        # Its absence is one symptom, whichever start the next one brings: its return must find it.
        id=symptom_id("silence", labels, 0),
        detector="silence",
        kind="absence",
        name=labels.get("alertname", "Watchdog"),
        service=catalogue.service_of(labels),
        labels=labels,
        metric="",
        score=0.0,
        value=None,
        lower=None,
        upper=None,
        first_at=now,
        last_at=now,
        active=True,
        summary="The alert that always fires has stopped coming: alerts may not arrive any more.",
        category="monitoring",
        annotations=alert.annotations,
    )


def category_of(labels: Mapping[str, str], kind: str, name: str) -> str | None:
    """What an alert that brings no category is about: by its kind, by the place it names, by the words of its name
    (``KubePersistentVolumeFillingUp``, ``NodeMemoryHighUtilization``); None where nothing says so."""
    if any(labels.get(place) for place in _DISKS):
        return "capacity/disk"
    if (category := CATEGORY_OF_KIND.get(kind)) is not None:
        return category
    words = [word.lower() for word in _WORD.findall(name)]
    return next((category for word in words if (category := CATEGORY_OF_WORD.get(word))), None)


def item_of(labels: Mapping[str, str], kind: str, category: str) -> str:
    """The resource that an alert names, where it is about one that runs out: in the words that rules and forecasts use
    for it, so that they meet."""
    runs_out = kind in ("exhaustion", "forecast") or category.startswith("capacity/")
    if not runs_out:
        return ""
    where = [labels.get("namespace", ""), labels["pod"]] if labels.get("pod") else [labels.get("instance", "")]
    place = next((labels[name] for name in _PLACES if labels.get(name)), "")
    return " ".join(part for part in (*where, place) if part)
