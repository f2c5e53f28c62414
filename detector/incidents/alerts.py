"""Alerts as symptoms: the same noun as what the product sees itself, so that both join one incident."""

from __future__ import annotations

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


def disrupts(labels: Mapping[str, str], matchers: Sequence[Sequence[Matcher]]) -> bool:
    """Whether these labels say that users are hurt already."""
    return any(every(group, labels) for group in matchers)


def alert_symptom(alert: Alert, catalogue: Catalogue, options: IncidentOptions) -> Symptom:
    """The symptom that an alert's episode is; its id comes from label set and start, so that replicas agree."""
    labels = alert.labels
    name = labels.get("alertname", "alert")
    summary = next((text for key in _SUMMARY if (text := alert.annotations.get(key))), name)
    kind = labels.get("kind") or "threshold"
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
        category=labels.get("category") or CATEGORY_OF_KIND.get(kind),
        severity=labels.get("severity"),
        item=item_of(labels),
        disruption=disrupts(labels, options.disruption),
        annotations=alert.annotations,
    )


def missing_watchdog(alert: Alert, catalogue: Catalogue, now: int) -> Symptom:
    """The symptom that an always-firing alert has stopped to come: alerts may no longer arrive."""
    labels = {name: value for name, value in alert.labels.items() if name != "severity"}
    return Symptom(
        id=symptom_id("silence", labels, alert.starts_at),
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


def item_of(labels: Mapping[str, str]) -> str:
    """The resource that an alert names, where it names one that runs out: a mount point, a pod, a database."""
    for name in ("mountpoint", "device", "persistentvolumeclaim", "datname", "database", "pod"):
        if value := labels.get(name):
            instance = labels.get("instance", "") if name in ("mountpoint", "device") else labels.get("namespace", "")
            return f"{instance} {value}".strip()
    return ""
