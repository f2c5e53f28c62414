"""A robust trend and when it reaches 1: repeated medians in bins, Theil and Sen's slope, a bend where there is one.

Pure arrays: samples in, slope and times out. Windows are counted in samples of the series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Times, Values
from detector.series.compiled import compiled

BINS = 20
LEAST = 20
COARSE = 12.0  # granules: a rise of fewer is a staircase

(SLOPE, RECENT, BEND, SPREAD, LEVEL, STEPS, LOW, HIGH, LIKELY, EARLIEST, LATEST) = range(11)
WIDTH = 11
"""Columns of a fit: slope of all and of the recent half (share per ms), curvature's weight (its t value), residual
spread, level now, height in granules, 80 % bounds of the recent slope, ms from the last sample to share 1."""
NEVER = 1e15


@compiled
def fit(at: Times, share: Values, out: Values) -> bool:
    """Trend of one resource's samples (ascending, at least ``LEAST``) into ``out``; False if there is none."""
    n = len(at)
    if n < LEAST or at[n - 1] <= at[0]:
        return False
    bins = min(BINS, n // 2)
    t = np.empty(bins)
    f = np.empty(bins)
    end = at[n - 1]
    for b in range(bins):
        lo, hi = b * n // bins, (b + 1) * n // bins
        t[b] = np.median((at[lo:hi] - end).astype(np.float64))
        f[b] = np.median(share[lo:hi])
    granule = np.inf
    for i in range(1, n):
        change = abs(share[i] - share[i - 1])
        if 0.0 < change < granule:
            granule = change
    # The medians of three bins at either end: a single bin may hold outliers only.
    rise = (np.median(f[bins - 3 :]) - np.median(f[:3])) * (bins - 1) / (bins - 3)
    out[STEPS] = rise / granule if granule < np.inf else 0.0
    half = bins // 2
    if out[STEPS] < COARSE:
        # A staircase: most pairs of bins lie on one stair, and a median of slopes would say that nothing rises.
        half = bins // 3
        slope, recent = _least_squares(t, f, 0), _least_squares(t, f, half)
    else:
        slope, recent = _theil_sen(t, f, 0), _theil_sen(t, f, half)
    middle = np.median(f - slope * t)
    residual = np.abs(f - slope * t - middle)
    spread = 1.4826 * np.median(residual)
    # The level now, from the recent half: where the recent line passes through its medians.
    level = np.median(f[half:] - recent * t[half:])
    if not (np.isfinite(level) and np.isfinite(slope)):
        return False  # NaN is a value that a series may have
    out[SLOPE], out[RECENT], out[SPREAD], out[LEVEL] = slope, recent, spread, level
    curve, weight = _curvature(t, f)
    out[BEND] = weight
    # How well the recent slope is known: its bins' residual over the time they span.
    span = t[bins - 1] - t[half]
    noise = 1.4826 * np.median(np.abs(f[half:] - recent * t[half:] - level))
    error = 1.3 * max(noise, 0.25 * spread) * np.sqrt(12.0 / max(bins - half, 1)) / max(span, 1.0)
    out[LOW], out[HIGH] = recent - 1.3 * error, recent + 1.3 * error
    _times(out, curve if weight > 3.0 else 0.0)
    return True


@compiled
def _theil_sen(t: Values, f: Values, first: int) -> float:
    n = len(t) - first
    slopes = np.empty(n * (n - 1) // 2)
    k = 0
    for i in range(first, len(t)):
        for j in range(i + 1, len(t)):
            slopes[k] = (f[j] - f[i]) / max(t[j] - t[i], 1.0)
            k += 1
    return float(np.median(slopes[:k]))


@compiled
def _least_squares(t: Values, f: Values, first: int) -> float:
    u = t[first:] - np.mean(t[first:])
    return float(np.sum(u * f[first:])) / max(float(np.sum(u * u)), 1.0)


@compiled
def _curvature(t: Values, f: Values) -> tuple[float, float]:
    """The quadratic coefficient (share per ms^2) of a least-squares parabola through the bins, and its t value."""
    n = len(t)
    centre, width = float(np.mean(t)), max(float(np.std(t)), 1.0)
    u = (t - centre) / width
    # Orthogonal to constant and line.
    skew = float(np.mean(u * u * u)) / max(float(np.mean(u * u)), 1e-12)
    q = u * u - np.mean(u * u) - u * skew
    qq = float(np.sum(q * q))
    if qq <= 0.0:
        return 0.0, 0.0
    c = np.sum(q * f) / qq
    slope = np.sum(u * f) / np.sum(u * u)
    rest = f - np.mean(f) - slope * u - c * q
    error = np.sqrt(np.sum(rest * rest) / max(n - 3, 1) / qq) + 1e-15
    return c / (width * width), c / error


@compiled
def _times(out: Values, curve: float) -> None:
    left = max(1.0 - float(out[LEVEL]), 0.0)
    slope = float(out[RECENT])
    if slope < out[SLOPE]:
        # It has slowed down lately: half of that is believed, what fills up does so in fits and starts.
        slope = 0.5 * (slope + float(out[SLOPE]))
    likely = left / slope if slope > 0.0 else NEVER
    if curve > 0.0 and slope > 0.0:
        # It accelerates: half of the bend is believed, since nothing does so for ever.
        a = 0.5 * curve
        likely = 2.0 * left / (slope + np.sqrt(slope * slope + 4.0 * a * left))
    early = left / float(out[HIGH]) if out[HIGH] > 0.0 else NEVER
    late = left / float(out[LOW]) if out[LOW] > 0.0 else NEVER
    # A line through noise is surer of itself than the world is: at least a sixth to either side.
    out[LIKELY] = min(likely, NEVER)
    out[EARLIEST] = min(early, likely * 0.85)
    out[LATEST] = min(max(late, likely * 1.2), NEVER)


@compiled
def fits(
    first: npt.NDArray[np.int64], at: Times, share: Values, window: int, base: Values, height: Values,
    out: npt.NDArray[np.float64], begin: npt.NDArray[np.int64], good: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """:func:`fit` for many: samples of the i-th are ``share[first[i]:first[i + 1]]``, at most the last ``window``,
    and twice as many of a staircase, which needs them.

    Only what comes after the series last was at the foot of its rise (a tenth of ``height[i]`` over ``base[i]``)
    counts: quiet samples before would make the trend look slower than it is. ``out`` float64[n, WIDTH], ``begin``
    int64[n]: index of the first sample used, ``good`` bool[n].
    """
    for i in range(len(first) - 1):
        hi = first[i + 1]
        for length in (window, 2 * window):
            lo = max(first[i], hi - length)
            for j in range(lo, hi):
                if share[j] <= base[i] + 0.1 * height[i]:
                    lo = j
            begin[i] = lo
            good[i] = fit(at[lo:hi], share[lo:hi], out[i])
            if not good[i] or out[i, STEPS] >= COARSE:
                break
