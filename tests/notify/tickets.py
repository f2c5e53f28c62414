"""Tickets for the tests of this room: a disk that fills, a service that fails, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from detector.nouns import ClockState, Evidence, Impact, Notification, Symptom, Ticket

NOW = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC, a Wednesday
MINUTE, HOUR = 60_000, 3_600_000


def at(text: str) -> int:
    """``03:40`` on the day of NOW, UTC, as ms."""
    hours, minutes = text.split(":")
    return NOW - NOW % 86_400_000 + int(hours) * HOUR + int(minutes) * MINUTE


def impact(earliest: str, likely: str, latest: str) -> Impact:
    return Impact(at(earliest), at(likely), at(latest))


def symptom(**changes: Any) -> Symptom:
    base = Symptom(
        "0123456789abcdef", "forecast", "exhaustion", "node_filesystem_avail_bytes", "checkout",
        {"mountpoint": "/data"}, "node_filesystem_avail_bytes", 0.0, 3e8, None, None, NOW - 10 * MINUTE, NOW, True,
        "Free space on /data falls",
    )  # fmt: skip
    return replace(base, **changes)


def errors(share: float = 0.12, **changes: Any) -> Symptom:
    return symptom(
        detector="rule", kind="errors", name="ErrorRatio", metric="http_requests:error_ratio",
        labels={"code": "5xx"}, value=share, summary="Requests fail",
        evidence=Evidence((NOW,), (share,), unit="ratio"), **changes,
    )  # fmt: skip


def ticket(*symptoms: Symptom, **changes: Any) -> Ticket:
    soonest = min((s.impact for s in symptoms if s.impact), key=lambda i: i.likely, default=None)
    base = Ticket(
        "INC-42", 3, "incident", "triaged", "detected", "checkout", NOW - 5 * MINUTE, "page", phase="predicted",
        category="capacity/disk", priority="P1", tier="L3", team="storage", impact=soonest,
        first_symptom_at=NOW - 10 * MINUTE, symptoms=symptoms,
        clocks=(ClockState("response", NOW + 5 * MINUTE, "running"),),
    )  # fmt: skip
    return replace(base, **changes)


def filling(**changes: Any) -> Ticket:
    """The example of the documentation, on the day of NOW."""
    soon = impact("11:25", "11:40", "12:05")
    return ticket(symptom(impact=soon), **changes)


def notification(about: Ticket, **changes: Any) -> Notification:
    base = Notification(
        7, about, "ops", "opened", "page", "opened", f"{about.key}/ops", f"{about.key}/ops/1", NOW - 400, NOW - 400, 0
    )
    return replace(base, **changes)
