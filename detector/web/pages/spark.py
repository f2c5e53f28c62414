"""The sparkline of a board row: the last samples of the telling symptom, its forecast and its limit, as SVG paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from detector.charts.specs import telling
from detector.nouns import Symptom

WIDTH, HEIGHT = 108, 26
_POINTS = 36
_INSET = 2.0


@dataclass(frozen=True, slots=True)
class Spark:
    """``d`` attributes in a box of WIDTH x HEIGHT; ``limit`` is a height or None."""

    history: str
    forecast: str
    limit: float | None


def spark(symptoms: Sequence[Symptom]) -> Spark | None:
    """The picture, or None where no symptom has evidence of two finite samples."""
    symptom = telling(symptoms)
    evidence = symptom.evidence if symptom is not None else None
    if evidence is None:
        return None
    pairs = zip(evidence.at, evidence.value, strict=False)
    samples = [(at, value) for at, value in pairs if math.isfinite(value)]
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return None
    samples = _thinned(samples)
    last = samples[-1][0]
    # The future gets at most as much room as the past: a limit that is days away would flatten the line.
    horizon = last + (last - samples[0][0])
    forecast = [
        (at, likely) for at, _, likely, _ in evidence.forecast if last < at <= horizon and math.isfinite(likely)
    ]
    limit = evidence.limit if evidence.limit is not None and math.isfinite(evidence.limit) else None
    line = [*samples, *forecast]
    values = [value for _, value in line] + ([limit] if limit is not None else [])
    low, high = min(values), max(values)
    first, end = line[0][0], max(line[-1][0], last + 1)
    height = (high - low) or 1.0

    def x(at: int) -> float:
        return round(_INSET + (WIDTH - 2 * _INSET) * (at - first) / (end - first), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _INSET - (HEIGHT - 2 * _INSET) * ((value - low) / height), 1)

    def path(points: Sequence[tuple[int, float]]) -> str:
        return "M" + "L".join(f"{x(at):g} {y(value):g}" for at, value in points)

    return Spark(path(samples), path([samples[-1], *forecast]) if forecast else "", None if limit is None else y(limit))


def _thinned(samples: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most about :data:`_POINTS` points, each the mean of its share; the newest one is kept as it is."""
    size = -(-len(samples) // _POINTS)
    if size == 1:
        return samples
    *rest, last = samples
    groups = [rest[i : i + size] for i in range(0, len(rest), size)]
    return [(g[-1][0], math.fsum(v / len(g) for _, v in g)) for g in groups] + [last]
