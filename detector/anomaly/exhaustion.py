"""What a forecast says to people: the symptom with its times, its evidence and its sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly import legs, trend
from detector.anomaly.resources import Resource
from detector.anomaly.scale import Samples, Scale
from detector.nouns import Evidence, Impact, Symptom
from detector.words import plain, quantity, span, unit_of

POINTS = 240
FAN = 8
FAR = 1e11  # ms; three years say enough
_NOUNS = {
    "capacity/disk": "space", "capacity/memory": "memory", "capacity/connections": "connections",
    "capacity/file-descriptors": "file descriptors", "capacity/queue": "queue", "capacity/cpu": "CPU",
    "latency": "latency",
}  # fmt: skip


def exhaustion(
    id: str, first_at: int, resource: Resource, scale: Scale, samples: Samples, fit: npt.NDArray[np.float64],
    s: legs.Legs, upto: int, told: Impact | None = None,
) -> Symptom:  # fmt: skip
    """The symptom that ``resource`` runs out as ``fit`` says (:mod:`trend`); ``samples`` are its own newest ones.

    ``told``: the times that were told before and stay, because the trend may be turning or has arrived and says
    nothing new about when.
    """
    last_at = int(s[legs.LAST_AT])
    impact = told or Impact(
        *(last_at + int(min(fit[column], FAR)) for column in (trend.EARLIEST, trend.LIKELY, trend.LATEST))
    )
    unit = unit_of(resource.metric)
    value = scale.value(float(s[legs.LAST]))
    before = sorted((scale.value(float(s[legs.BASE])), scale.value(max(_before(s, upto), float(s[legs.BASE]) + 0.02))))
    arrived = bool(s[legs.LAST] >= legs.EXHAUSTED)
    kind = "latency" if resource.category == "latency" else "exhaustion"
    return Symptom(
        id=id, detector="forecast", kind=kind, name=resource.metric, service=resource.service,
        labels=resource.labels, metric=resource.metric, score=_score(fit), value=value,
        lower=before[0], upper=before[1], first_at=first_at, last_at=last_at, active=True,
        summary=_sentence(resource, scale, value, unit, None if told else impact, last_at, arrived),
        category=resource.category, item=resource.item, impact=impact,
        evidence=_evidence(scale, samples, fit, unit, last_at, before),
    )  # fmt: skip


def _before(s: legs.Legs, upto: int) -> float:
    return float(legs.recovered(s[None, :], upto)[0])


def _score(fit: npt.NDArray[np.float64]) -> float:
    """-log10 of how often noise alone would have such a slope, at most 12."""
    error = (fit[trend.HIGH] - fit[trend.RECENT]) / 1.3
    if error <= 0.0:
        return 12.0
    p = 0.5 * math.erfc(fit[trend.RECENT] / error / math.sqrt(2.0))
    return 12.0 if p < 1e-12 else round(-math.log10(p), 2)


def _evidence(
    scale: Scale, samples: Samples, fit: npt.NDArray[np.float64], unit: str, last_at: int, before: list[float]
) -> Evidence:
    """The newest samples, what was usual before the rise as the expected band, the limit and the forecast's fan."""
    keep = np.unique(np.linspace(0, len(samples.at) - 1, min(POINTS, len(samples.at))).astype(np.int64))
    at, value = samples.at[keep], samples.value[keep]
    fine = np.isfinite(value)
    count = int(np.count_nonzero(fine))
    return Evidence(
        at=tuple(at[fine].tolist()), value=tuple(value[fine].tolist()), limit=scale.value(1.0), unit=unit,
        lower=(before[0],) * count, upper=(before[1],) * count,
        forecast=_fan(scale, fit, last_at),
    )  # fmt: skip


def _fan(scale: Scale, fit: npt.NDArray[np.float64], last_at: int) -> tuple[tuple[int, float, float, float], ...]:
    """From now to where the slowest line arrives, or to twice the likely time: (ms, low, likely, high)."""
    level = min(float(fit[trend.LEVEL]), 1.0)
    end = min(float(fit[trend.LATEST]), 2.0 * float(fit[trend.LIKELY]), FAR)
    points = []
    for k in range(FAN + 1):
        ahead = end * k / FAN
        ways = [min(level + (1.0 - level) * ahead / max(float(fit[c]), 1.0), 1.0)
                for c in (trend.LATEST, trend.LIKELY, trend.EARLIEST)]  # fmt: skip
        slow, likely, fast = (scale.value(way) for way in ways)
        points.append((last_at + int(ahead), min(slow, fast), likely, max(slow, fast)))
    return tuple(points)


def _sentence(
    resource: Resource, scale: Scale, value: float, unit: str, impact: Impact | None, now: int, arrived: bool
) -> str:
    where = plain(resource.item or resource.service, 120)
    limit, amount = quantity(scale.value(1.0), unit), quantity(value, unit)
    if resource.category == "latency":
        what, rise, end = f"Latency of {where}: slow answers take {amount}", " and rise", limit
    elif resource.falling:
        what, rise, end = f"{_noun(resource)} of {where}: {amount} left", " and falling", "used up"
    else:
        what, rise, end = f"{_noun(resource)} of {where}: {amount} of {limit}", " and rising", "used up"
    if impact is None:
        return f"{what}, at its limit" if arrived else f"{what}, no longer changing much"
    left = (max(at - now, 0) for at in (impact.likely, impact.earliest, impact.latest))
    likely, earliest, latest = (span(ms) for ms in left)
    return f"{what}{rise}, {end} in about {likely} ({earliest} to {latest})"


def _noun(resource: Resource) -> str:
    noun = _NOUNS.get(resource.category, plain(resource.metric, 80))
    return noun[0].upper() + noun[1:]


def packed(symptom: Symptom) -> dict[str, Any]:
    """A symptom as JSON-able values."""
    return asdict(symptom)


def unpacked(data: Mapping[str, Any]) -> Symptom:
    """What :func:`packed` gave, lists and tuples alike."""
    fields = dict(data)
    if fields.get("impact"):
        fields["impact"] = Impact(**fields["impact"])
    if fields.get("evidence"):
        e = dict(fields["evidence"])
        for name in ("at", "value", "lower", "upper"):
            e[name] = tuple(e[name])
        e["forecast"] = tuple(tuple(point) for point in e["forecast"])
        fields["evidence"] = Evidence(**e)
    return Symptom(**fields)
