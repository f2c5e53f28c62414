"""The evidence as the chart needs it: finite, thinned, in one display unit, with the axis' ends and ticks.

Evidence was kept by whatever detector found the symptom, maybe by an older release: lists of different lengths, NaN and
infinities are cases here, not errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detector.nouns import Evidence, Symptom
from detector.words import number, unit_of

_MOST_POINTS = 480  # two for each pixel column of a phone's chart say no more
_FAR = 1e300


@dataclass(frozen=True, slots=True)
class Scale:
    """Display unit: a stored value times ``factor`` is in ``word`` (``GiB``, ``ms``, ``%`` or empty)."""

    factor: float
    word: str

    def label(self, value: float) -> str:
        """``value``, already in this unit, as a label."""
        return f"{number(value)} {self.word}".rstrip()


@dataclass(frozen=True, slots=True)
class Prepared:
    """``history`` (ms, value), ``band`` (ms, lower, upper), ``outside`` (ms, value), ``forecast`` (ms, low, likely,
    high), in display units; ``x`` and ``y`` are the axes' ends, ``from_zero`` whether ``y`` starts there."""

    scale: Scale
    history: tuple[tuple[int, float], ...]
    band: tuple[tuple[int, float, float], ...]
    outside: tuple[tuple[int, float], ...]
    forecast: tuple[tuple[int, float, float, float], ...]
    limit: float | None
    x: tuple[int, int]
    y: tuple[float, float]
    ticks: tuple[float, ...]
    from_zero: bool


_UNIT = re.compile(r"[A-Za-z%°µ/][A-Za-z0-9%°µ/ .-]{0,15}")


def unit(symptom: Symptom) -> str:
    """The evidence's unit, or the one that the metric's name declares; empty for what does not look like a unit,
    because it becomes part of the axis' expression."""
    evidence = symptom.evidence
    said = evidence.unit if evidence is not None else ""
    return said if _UNIT.fullmatch(said) else unit_of(symptom.metric)


def prepare(symptom: Symptom, now: int) -> Prepared | None:
    """None when no finite sample was kept: then there is nothing to draw."""
    evidence = symptom.evidence
    if evidence is None:
        return None
    samples = _samples(evidence)
    if not samples:
        return None
    scale = scale_for(unit(symptom), _magnitude(samples, evidence.limit))
    history = tuple((at, value * scale.factor) for at, value, _, _ in thinned(samples))
    band = tuple((at, low * scale.factor, high * scale.factor) for at, _, low, high in samples if low <= high)
    outside = tuple(
        (at, value * scale.factor) for at, value, low, high in samples if low <= high and not low <= value <= high
    )
    limit = evidence.limit * scale.factor if evidence.limit is not None and _is_finite(evidence.limit) else None
    x = _times(samples, evidence, symptom, now)
    forecast = _forecast(evidence, history[-1], scale, x[1])
    y, from_zero = _ends(unit(symptom), history, band, forecast, limit)
    ticks = nice_ticks(*y)
    return Prepared(scale, history, _every(band), outside[-_MOST_POINTS:], forecast, limit, x, y, ticks, from_zero)


def _is_finite(*values: float) -> bool:
    return all(math.isfinite(value) and abs(value) < _FAR for value in values)


def _samples(evidence: Evidence) -> list[tuple[int, float, float, float]]:
    """(ms, value, lower, upper) of finite values in order of time; lower > upper where there is no band."""
    lower = _like(evidence.lower, len(evidence.at))
    upper = _like(evidence.upper, len(evidence.at))
    rows = (
        (at, value, low, high) if _is_finite(low, high) else (at, value, 1.0, 0.0)
        for at, value, low, high in zip(evidence.at, evidence.value, lower, upper, strict=False)
        if _is_finite(value)
    )
    return sorted(rows)


def _like(values: Sequence[float], length: int) -> Sequence[float]:
    return values if len(values) == length else (math.nan,) * length


def thinned(samples: Sequence[tuple[int, float, float, float]]) -> list[tuple[int, float, float, float]]:
    """At most about ``_MOST_POINTS`` samples: of each stretch the lowest and the highest, so that no spike is lost;
    first and last always."""
    if len(samples) <= _MOST_POINTS:
        return list(samples)
    width = math.ceil(len(samples) * 2 / _MOST_POINTS)
    kept = {samples[0], samples[-1]}
    for start in range(0, len(samples), width):
        stretch = samples[start : start + width]
        kept.add(min(stretch, key=lambda s: s[1]))
        kept.add(max(stretch, key=lambda s: s[1]))
    return sorted(kept)


def _every(band: tuple[tuple[int, float, float], ...]) -> tuple[tuple[int, float, float], ...]:
    """The band moves slowly: every n-th point of a long one draws the same."""
    step = math.ceil(len(band) / _MOST_POINTS) if band else 1
    return band if step <= 1 else (*band[::step], band[-1])


def _magnitude(samples: Iterable[tuple[int, float, float, float]], limit: float | None) -> float:
    size = max(abs(value) for _, value, _, _ in samples)
    return max(size, abs(limit)) if limit is not None and _is_finite(limit) else size


def scale_for(unit: str, magnitude: float) -> Scale:
    """The unit in which ``magnitude`` has one to four digits before the point."""
    match unit:
        case "bytes" | "bytes/s":
            step = min(6, max(0, int(math.log2(magnitude) / 10))) if magnitude >= 1 else 0
            return Scale(1024.0**-step, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")[step] + unit[5:])
        case "seconds" | "milliseconds":
            size = magnitude if unit == "seconds" else magnitude / 1000
            base = 1.0 if unit == "seconds" else 1e-3
            for below, factor, word in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (180, 1, "s"), (10_800, 1 / 60, "min")):
                if size < below:
                    return Scale(base * factor, word)
            return Scale(base / 3600, "h") if size < 259_200 else Scale(base / 86_400, "days")
        case "ratio":
            return Scale(100.0, "%")
        case "percent":
            return Scale(1.0, "%")
        case "celsius":
            return Scale(1.0, "°C")
    for above, word in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if magnitude >= above:
            return Scale(1 / above, f"{word} {unit}".rstrip())
    return Scale(1.0, unit)


def _times(
    samples: Sequence[tuple[int, float, float, float]], evidence: Evidence, symptom: Symptom, now: int
) -> tuple[int, int]:
    """From the first sample to the end of the forecast, which takes at most two thirds of the picture."""
    first, last = samples[0][0], samples[-1][0]
    # A page that is read days later shows the evidence, not the days since.
    seen = min(max(now, last), last + (last - first) // 4) if now > last else last
    ends = [point[0] for point in evidence.forecast]
    if symptom.impact is not None:
        ends = [min(max(ends, default=last), symptom.impact.latest + (symptom.impact.latest - last) // 10)]
        ends.append(symptom.impact.likely + (symptom.impact.likely - last) // 10)
    end = max([seen, *ends]) if ends else seen
    end = min(end, last + 2 * max(last - first, 60_000))
    return first, max(end, first + 60_000)


def _forecast(
    evidence: Evidence, last: tuple[int, float], scale: Scale, end: int
) -> tuple[tuple[int, float, float, float], ...]:
    """The fan from the last sample on, one point beyond the picture's end included, so that it does not stop short."""
    points = sorted(p for p in evidence.forecast if len(p) == 4 and _is_finite(*p[1:]) and p[0] > last[0])
    inside = [p for p in points if p[0] <= end] + [p for p in points if p[0] > end][:1]
    if not inside:
        return ()
    at, value = last
    fan = [(at, value, value, value)]
    for at, *three in inside:
        low, likely, high = sorted(three)
        fan.append((at, low * scale.factor, likely * scale.factor, high * scale.factor))
    return tuple(fan)


def _ends(
    unit: str,
    history: Sequence[tuple[int, float]],
    band: Sequence[tuple[int, float, float]],
    forecast: Sequence[tuple[int, float, float, float]],
    limit: float | None,
) -> tuple[tuple[float, float], bool]:
    """The value axis' ends: all of history and limit; of forecast and band what does not dwarf them. From zero for
    counts and ratios, and for all that is not negative unless it would be a flat line at the top."""
    core = [value for _, value in history] + ([limit] if limit is not None else [])
    low, high = min(core), max(core)
    room = (high - low or abs(high) or 1.0) * 0.5
    loose = [likely for _, _, likely, _ in forecast] + [v for _, *ends in band for v in ends]
    low = min([low, *(max(v, low - room) for v in loose)])
    high = max([high, *(min(v, high + room) for v in loose)])
    # What cannot be negative is not drawn as if it could: the fan of free space ends at none.
    if low < 0 <= min(core):
        low = 0.0
    counted = unit not in ("bytes", "bytes/s", "seconds", "milliseconds", "celsius")
    if low >= 0 and (counted or (high - low) > 0.15 * high):
        low = 0.0
    margin = (high - low or abs(high) or 1.0) * 0.08
    from_zero = low == 0.0
    return (low if from_zero else low - margin, high + margin), from_zero


def tick_labels(ticks: tuple[float, ...], word: str) -> list[str]:
    """Ticks with as many decimals as their step needs, no fewer: 70.5, 70.75, 71.00 is not 70.5, 70.8, 71."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = 0
    while decimals < 9 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6 * step * 10**decimals:
        decimals += 1
    return [f"{tick + 0.0:,.{decimals}f} {word}".rstrip() for tick in ticks]


def nice_ticks(low: float, high: float, wanted: int = 4) -> tuple[float, ...]:
    """About ``wanted`` round numbers between ``low`` and ``high``."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return (low,)
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{i * step:.12g}") for i in range(first, min(last, first + 20) + 1))
