"""What a backtest's incidents are worth against known faults: foreseen, missed, twice, without cause.

Pure: incidents as JSON (the shape of the API) and a :class:`Truth` in, the report's figures out. The rules of matching
are those of the interface: see :func:`judge`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.clock import parse_rfc3339

AFTER_DISRUPTION_MS = 3_600_000
DAY_MS = 86_400_000


class TruthError(Exception):
    """The truth file cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One known fault. ``disruption`` (ms) is None for one that hurt nobody; a benign one is no fault at all."""

    id: str
    service: str
    category: str
    onset: int
    disruption: int | None
    benign: bool


@dataclass(frozen=True, slots=True)
class Truth:
    faults: tuple[Fault, ...]
    also_acceptable_services: frozenset[str] = frozenset()
    warm_until: int | None = None


def read_truth(path: Path) -> Truth:
    """The truth of a recording; unknown keys are ignored. Raises :class:`TruthError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Truth(
            faults=tuple(_fault(item) for item in data["faults"]),
            also_acceptable_services=frozenset(data.get("also_acceptable_services", ())),
            warm_until=_time(data, "warm_until"),
        )
    except OSError as error:
        raise TruthError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise TruthError(f"{path}: the key {error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise TruthError(f"{path}: {error}") from None


def judge(incidents: Sequence[Mapping[str, Any]], truth: Truth, end: int, service_days: float) -> dict[str, Any]:
    """The report of one detector.

    An incident matches a fault that names its service (or one it affects; or the fault's category under one of the
    services that are also acceptable) and was opened between onset and one hour after the disruption (up to ``end``,
    ms, where there was none). The first match before the disruption foresees it, further matches are duplicates. What
    matches nothing, or a benign fault, is false, unless it names only acceptable services or came while models were
    cold.
    """
    real = [fault for fault in truth.faults if not fault.benign]
    matched: dict[str, list[int]] = {fault.id: [] for fault in real}
    false = 0
    for incident in sorted(incidents, key=lambda i: (i["opened_at"], i["key"])):
        opened = parse_rfc3339(incident["opened_at"])
        hits = [fault for fault in real if _matches(incident, fault, truth, opened, end)]
        if hits:
            # The fault that began last is the likelier cause of what was opened just now.
            matched[max(hits, key=lambda f: f.onset).id].append(opened)
        elif not _counts_as_neither(incident, truth, opened):
            false += 1
    by_fault = {fault.id: _lead(fault, matched[fault.id]) for fault in real}
    with_end = [fault for fault in real if fault.disruption is not None]
    leads = [by_fault[fault.id] or 0.0 for fault in with_end]
    shares = [(by_fault[f.id] or 0.0) * 1000 / max(1, (f.disruption or 0) - f.onset) for f in with_end]
    return {
        "faults": len(real),
        "foreseen": sum(1 for fault in real if _foreseen(fault, matched[fault.id])),
        "lead_seconds": {
            "median": statistics.median(leads) if leads else None,
            "least": min(leads) if leads else None,
            "by_fault": by_fault,
        },
        "lead_share_median": round(statistics.median(shares), 4) if shares else None,
        "duplicates": sum(max(0, len(times) - 1) for times in matched.values()),
        "false_incidents": false,
        "false_per_service_day": round(false / service_days, 6) if service_days > 0 else None,
    }


def _matches(incident: Mapping[str, Any], fault: Fault, truth: Truth, opened: int, end: int) -> bool:
    until = end if fault.disruption is None else fault.disruption + AFTER_DISRUPTION_MS
    if not fault.onset <= opened <= until:
        return False
    if fault.service in _services(incident):
        return True
    return incident["service"] in truth.also_acceptable_services and incident["category"] == fault.category


def _counts_as_neither(incident: Mapping[str, Any], truth: Truth, opened: int) -> bool:
    cold = truth.warm_until is not None and opened < truth.warm_until
    return cold or _services(incident) <= truth.also_acceptable_services


def _services(incident: Mapping[str, Any]) -> set[str]:
    return {incident["service"], *(affected["service"] for affected in incident.get("affected", ()))}


def _foreseen(fault: Fault, opened: Sequence[int]) -> bool:
    return bool(opened) and (fault.disruption is None or min(opened) < fault.disruption)


def _lead(fault: Fault, opened: Sequence[int]) -> float | None:
    """Seconds from the first incident to the disruption; None when it was missed."""
    if fault.disruption is None or not _foreseen(fault, opened):
        return None
    return (fault.disruption - min(opened)) / 1000


def _fault(item: Mapping[str, Any]) -> Fault:
    onset = _time(item, "onset")
    if onset is None:
        raise ValueError(f"the fault {item.get('id')!r} has no onset")
    return Fault(
        id=str(item["id"]),
        service=str(item["service"]),
        category=str(item["category"]),
        onset=onset,
        disruption=_time(item, "disruption"),
        benign=bool(item.get("benign", False)),
    )


def _time(item: Mapping[str, Any], key: str) -> int | None:
    value = item.get(key)
    return None if value is None else parse_rfc3339(value)
