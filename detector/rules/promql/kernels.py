"""Compiled loops over samples, each over a CSR layout: the samples of row i are ``value[first[i]:first[i + 1]]``.

A row is a series with the samples of its range, or an aggregation's group with its members. Every kernel returns
float64[rows]; what it returns for a row with too few samples is NaN and masked by the caller. ``first`` ascends, starts
at 0 and ends at ``len(value)`` (the store and :class:`~detector.rules.promql.columns.Groups` guarantee it): no index
leaves its array. The arithmetic follows Prometheus 3.x (``promql/functions.go``), its Neumaier compensation included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times, Values
from detector.series.compiled import compiled

DELTA, INCREASE, RATE = 0, 1, 2
CHANGES, RESETS = 0, 1
MINIMUM, MAXIMUM = -1.0, 1.0
_NAN = np.nan


@compiled
def _add(term: float, total: float, lost: float) -> tuple[float, float]:
    """One Neumaier step: (total, lost) after adding ``term``; ``lost`` carries the rounding errors."""
    out = total + term
    if np.isinf(out):
        return out, 0.0
    if abs(total) >= abs(term):
        return out, lost + ((total - out) + term)
    return out, lost + ((term - out) + total)


@compiled
def extrapolated(first: Times, at: Times, value: Values, start: int, end: int, mode: int) -> Values:
    """``delta``, ``increase`` or ``rate`` over (start, end] ms, extrapolated to its ends as upstream does."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        a, b = first[row], first[row + 1]
        if b - a < 2:
            continue
        change = value[b - 1] - value[a]
        if mode != DELTA:
            for i in range(a + 1, b):
                if value[i] < value[i - 1]:
                    change += value[i - 1]
        sampled = (at[b - 1] - at[a]) / 1000.0
        mean = sampled / (b - a - 1)
        to_start = (at[a] - start) / 1000.0
        to_end = (end - at[b - 1]) / 1000.0
        threshold = mean * 1.1
        if to_start >= threshold:
            to_start = mean / 2
        if mode != DELTA and change > 0 and value[a] >= 0:
            # A counter cannot have been below zero: do not extrapolate beyond the point where it was zero.
            to_start = min(to_start, sampled * (value[a] / change))
        if to_end >= threshold:
            to_end = mean / 2
        factor = (sampled + to_start + to_end) / sampled
        if mode == RATE:
            factor /= (end - start) / 1000.0
        out[row] = change * factor
    return out


@compiled
def instantaneous(first: Times, at: Times, value: Values, per_second: bool) -> Values:
    """``irate`` (per second, counter resets seen) or ``idelta`` of the last two samples."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        b = first[row + 1]
        if b - first[row] < 2:
            continue
        change = value[b - 1] - value[b - 2]
        if per_second:
            if value[b - 1] < value[b - 2]:
                change = value[b - 1]
            change /= (at[b - 1] - at[b - 2]) / 1000.0
        out[row] = change
    return out


@compiled
def regression(first: Times, at: Times, value: Values, origin: int, from_first: bool) -> tuple[Values, Values]:
    """Least squares: (slope per second, value at ``origin`` ms, or at each row's first sample)."""
    rows = len(first) - 1
    slope = np.full(rows, _NAN)
    intercept = np.full(rows, _NAN)
    for row in range(rows):
        a, b = first[row], first[row + 1]
        n = b - a
        if n < 2:
            continue
        zero = at[a] if from_first else origin
        sx = cx = sy = cy = sxy = cxy = sxx = cxx = 0.0
        constant = True
        for i in range(a, b):
            if value[i] != value[a]:
                constant = False
            x = (at[i] - zero) / 1000.0
            sx, cx = _add(x, sx, cx)
            sy, cy = _add(value[i], sy, cy)
            sxy, cxy = _add(x * value[i], sxy, cxy)
            sxx, cxx = _add(x * x, sxx, cxx)
        if constant:
            # Rounding must not turn a flat line into a slope.
            if not np.isinf(value[a]):
                slope[row], intercept[row] = 0.0, value[a]
            continue
        sx, sy, sxy, sxx = sx + cx, sy + cy, sxy + cxy, sxx + cxx
        slope[row] = (sxy - sx * sy / n) / (sxx - sx * sx / n)
        intercept[row] = sy / n - slope[row] * sx / n
    return slope, intercept


@compiled
def total(first: Times, value: Values) -> Values:
    """Compensated sums."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        if first[row + 1] > first[row]:
            s = c = 0.0
            for i in range(first[row], first[row + 1]):
                s, c = _add(value[i], s, c)
            out[row] = s if np.isinf(s) else s + c
    return out


@compiled
def mean(first: Times, value: Values) -> Values:
    """Compensated means; incremental from where the sum would overflow."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        a, b = first[row], first[row + 1]
        if a == b:
            continue
        s, c = value[a], 0.0
        m = 0.0
        incremental = False
        for i in range(a + 1, b):
            n = float(i - a + 1)
            if not incremental:
                s2, c2 = _add(value[i], s, c)
                if not np.isinf(s2):
                    s, c = s2, c2
                    continue
                incremental = True
                m = s / (n - 1)
                c /= n - 1
            q = (n - 1) / n
            m, c = _add(value[i] / n, q * m, q * c)
        n = float(b - a)
        out[row] = m + c if incremental else s / n + c / n
    return out


@compiled
def variance(first: Times, value: Values) -> Values:
    """Population variances (Welford, compensated); NaN where a value is not finite."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        a, b = first[row], first[row + 1]
        if a == b:
            continue
        m = cm = aux = caux = 0.0
        for i in range(a, b):
            delta = value[i] - (m + cm)
            m, cm = _add(delta / (i - a + 1), m, cm)
            aux, caux = _add(delta * (value[i] - (m + cm)), aux, caux)
        out[row] = (aux + caux) / (b - a)
    return out


@compiled
def extreme(first: Times, value: Values, sign: float) -> Values:
    """The largest (``sign`` 1) or smallest (-1) values; NaN only where there is nothing else."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        if first[row + 1] > first[row]:
            best = value[first[row]]
            for i in range(first[row] + 1, first[row + 1]):
                if sign * value[i] > sign * best or np.isnan(best):
                    best = value[i]
            out[row] = best
    return out


@compiled
def quantile(first: Times, value: Values, q: float) -> Values:
    """Interpolated ``q``-quantiles; NaN values sort first. Outside [0, 1] it is the infinity of that side."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        a, b = first[row], first[row + 1]
        if a == b or np.isnan(q):
            continue
        if q < 0 or q > 1:
            out[row] = -np.inf if q < 0 else np.inf
            continue
        ordered = np.sort(value[a:b])
        n = b - a
        nans = 0
        while nans < n and np.isnan(ordered[n - 1 - nans]):
            nans += 1
        # numpy sorts NaN last, Prometheus first: rotate the index, not the array.
        rank = q * (n - 1)
        low = int(np.floor(rank))
        high = min(n - 1, low + 1)
        weight = rank - np.floor(rank)
        lower = _NAN if low < nans else ordered[low - nans]
        upper = _NAN if high < nans else ordered[high - nans]
        out[row] = lower * (1 - weight) + upper * weight
    return out


@compiled
def steps(first: Times, value: Values, mode: int) -> Values:
    """How often the value changed (NaN to NaN is no change), or fell."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    for row in range(rows):
        if first[row + 1] > first[row]:
            count = 0
            for i in range(first[row] + 1, first[row + 1]):
                now, before = value[i], value[i - 1]
                if mode == RESETS:
                    count += now < before
                elif now != before and not (np.isnan(now) and np.isnan(before)):
                    count += 1
            out[row] = count
    return out


@compiled
def row_groups(codes: npt.NDArray[np.int32]) -> tuple[Ids, Ids]:
    """Equal columns of ``codes`` int32[k, n] as groups: (group of each, first member of each group), int32.

    Groups are numbered in the order of their first members. An exact open-addressing table, no more than half full.
    """
    k, n = codes.shape
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int32)
    group = np.empty(n, np.int32)
    firsts = np.empty(n, np.int32)
    count = 0
    mask = np.uint64(size - 1)
    for i in range(n):
        h = np.uint64(0x9E3779B97F4A7C15)
        for j in range(k):
            h = (h ^ np.uint64(np.uint32(codes[j, i]))) * np.uint64(0xFF51AFD7ED558CCD)
            h ^= h >> np.uint64(32)
        slot = h & mask
        while True:
            g = table[np.int64(slot)]
            if g < 0:
                table[np.int64(slot)] = count
                group[i] = count
                firsts[count] = i
                count += 1
                break
            other = firsts[g]
            same = True
            for j in range(k):
                if codes[j, i] != codes[j, other]:
                    same = False
                    break
            if same:
                group[i] = g
                break
            slot = (slot + np.uint64(1)) & mask
    return group, firsts[:count].copy()


@compiled
def bucket_quantile(first: Times, bound: Values, count: Values, q: float) -> Values:
    """``histogram_quantile`` of classic buckets; each row's buckets ascend by upper bound and its last bound is +Inf or
    the row is NaN. Works on copies: equal bounds are merged and decreases repaired, as upstream does."""
    rows = len(first) - 1
    out = np.full(rows, _NAN)
    if np.isnan(q):
        return out
    for row in range(rows):
        a, b = first[row], first[row + 1]
        if a == b:
            continue
        if q < 0 or q > 1:
            out[row] = -np.inf if q < 0 else np.inf
            continue
        if bound[b - 1] != np.inf:
            continue
        bounds, counts, n = _repaired(bound[a:b], count[a:b])
        observations = counts[n - 1]
        if n < 2 or observations == 0 or np.isnan(observations):
            continue
        rank = q * observations
        i = 0
        while i < n - 1 and not counts[i] >= rank:
            i += 1
        if i == n - 1:
            out[row] = bounds[n - 2]
        elif i == 0 and bounds[0] <= 0:
            out[row] = bounds[0]
        else:
            low = below = 0.0
            if i > 0:
                low, below = bounds[i - 1], counts[i - 1]
            out[row] = low + (bounds[i] - low) * ((rank - below) / (counts[i] - below))
    return out


@compiled
def _repaired(bound: Values, count: Values) -> tuple[Values, Values, int]:
    """Buckets with equal bounds added up and never falling counts; differences of 1e-12 are rounding, not buckets."""
    bounds = np.empty(len(bound))
    counts = np.empty(len(bound))
    n = 0
    for i in range(len(bound)):
        if n > 0 and bound[i] == bounds[n - 1]:
            counts[n - 1] += count[i]
        else:
            bounds[n], counts[n] = bound[i], count[i]
            n += 1
    previous = counts[0]
    for i in range(1, n):
        now = counts[i]
        if now == previous:
            continue
        scale = abs(now) + abs(previous)
        if now < previous or abs(now - previous) < 1e-12 * scale:
            counts[i] = previous
            continue
        previous = now
    return bounds, counts, n
