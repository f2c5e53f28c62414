"""The history of a limited resource in a few numbers: its current rise, and what it has come back from by itself.

A zigzag over the used share f (0 empty, 1 exhausted): a rise (*leg*) ends when f has fallen back by a quarter of its
height. What ended without help and short of the limit was harmless, so its top is remembered: a log that is rotated at
70 % every two hours, a daily wave, a batch job or a restart has been *there* before. Only what goes beyond is news.
O(1) a sample and 136 bytes a resource, whatever the ring holds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Times, Values
from detector.series.compiled import compiled

Legs = npt.NDArray[np.float64]

(BASE, BASE_AT, BASE_SEEN, TOP, TOP_AT, RISING, RECOVERED, RECOVERED_AT, SEEN, LAST_AT, LAST,
 INTERVAL, JITTER, GRAIN, SLOW, LAG, LOWEST) = range(17)  # fmt: skip
WIDTH = 17
"""Shares and times (ms) of the current leg's foot and top, and how many samples were seen at them; the remembered top;
the usual distance of samples (ms) and of their values, and the smallest step of those; a slow mean and how far the foot
lay above it; the lowest value that was seen."""

BACK = 0.25  # of a leg's height: fallen back so far, the leg is over
NOISE = 0.01  # of the capacity: nothing smaller is a leg
SHAKES = 4.0  # times the usual change from sample to sample: so far, it is only noise
GRAINS = 2.1  # one connection more or less of twenty is no turn
COARSEST = 0.15
SLOWNESS = 30.0  # samples of the slow mean
FOOT = 0.1  # of a leg's height: so low, the leg has not left its base yet
EXHAUSTED = 0.97
FORGETS = 7 * 86_400_000.0
"""ms in which a remembered top sinks to a third."""


def fresh(count: int) -> Legs:
    """State of ``count`` resources that have not been seen."""
    return np.zeros((count, WIDTH), np.float64)


@compiled
def follow(legs: Legs, which: npt.NDArray[np.int64], first: npt.NDArray[np.int64], at: Times, share: Values) -> None:
    """Feed new samples: those of resource ``which[i]`` are ``share[first[i]:first[i + 1]]``, ascending in time.

    Samples at or before the resource's last one are skipped, and what is not finite.
    """
    for i in range(len(which)):
        s = legs[which[i]]
        for j in range(first[i], first[i + 1]):
            f, t = share[j], np.float64(at[j])
            if not np.isfinite(f) or (s[SEEN] > 0 and t <= s[LAST_AT]):
                continue
            if s[SEEN] == 0:
                s[BASE], s[BASE_AT], s[BASE_SEEN], s[TOP], s[TOP_AT], s[RISING] = f, t, 1, f, t, 1
                s[LAST_AT], s[LAST], s[SEEN], s[SLOW], s[LOWEST] = t, f, 1, f, f
                continue
            _measure(s, f, t)
            noise = max(NOISE, SHAKES * s[JITTER], min(GRAINS * s[GRAIN], COARSEST))
            if s[RISING] > 0:
                _rise(s, f, t, noise)
            else:
                _fall(s, f, t, noise)


@compiled
def _measure(s: Values, f: float, t: float) -> None:
    """What is usual of this resource's samples."""
    gap, change = t - s[LAST_AT], abs(f - s[LAST])
    # Gaps hardly count.
    s[INTERVAL] = gap if s[SEEN] == 1 else s[INTERVAL] + 0.1 * (min(gap, 3.0 * s[INTERVAL]) - s[INTERVAL])
    if change > 0.0:
        s[GRAIN] = change if s[GRAIN] == 0.0 else min(change, 1.001 * s[GRAIN])
    s[JITTER] += 0.05 * (min(change, 3.0 * s[JITTER] + 0.1 * NOISE) - s[JITTER])
    s[LAST_AT], s[LAST] = t, f
    s[SEEN] += 1
    s[LOWEST] = min(s[LOWEST], f)
    s[SLOW] += max(1.0 / s[SEEN], 1.0 / SLOWNESS) * (f - s[SLOW])


@compiled
def _rise(s: Values, f: float, t: float, noise: float) -> None:
    if f > s[TOP]:
        s[TOP], s[TOP_AT] = f, t
    height = s[TOP] - s[BASE]
    if f <= s[BASE] + max(noise, FOOT * height):
        # Still at the foot: the leg begins when it leaves.
        s[BASE] = min(s[BASE], f)
        s[BASE_AT], s[BASE_SEEN], s[LAG] = t, s[SEEN], s[BASE] - s[SLOW]
    if s[TOP] - f > max(BACK * height, noise):
        if s[TOP] < EXHAUSTED:
            kept = s[RECOVERED] * np.exp(-(t - s[RECOVERED_AT]) / FORGETS)
            s[RECOVERED], s[RECOVERED_AT] = max(s[TOP], kept), t
        # Now falling: the base follows the lowest point.
        s[RISING] = 0
        s[BASE], s[BASE_AT], s[BASE_SEEN], s[LAG] = f, t, s[SEEN], f - s[SLOW]


@compiled
def _fall(s: Values, f: float, t: float, noise: float) -> None:
    if f <= s[BASE] + max(noise, FOOT * (s[TOP] - s[BASE])):
        s[BASE] = min(s[BASE], f)
        s[BASE_AT], s[BASE_SEEN], s[LAG] = t, s[SEEN], s[BASE] - s[SLOW]
    else:
        s[RISING] = 1
        s[TOP], s[TOP_AT] = f, t


def news(legs: Legs, at: int) -> Values:
    """The share that each resource must pass at ``at`` before its rise is something new.

    A tenth of the room left above what it came back from, and a fifth of the range that it moves in by itself; at
    0.92 it is news whatever was.
    """
    before = recovered(legs, at)
    return np.minimum(before + np.maximum(0.1 * (1.0 - before), 0.2 * (before - legs[:, LOWEST])), 0.92)


def recovered(legs: Legs, at: int) -> Values:
    """The highest share that each resource has lately come back from by itself, at ``at``."""
    return np.asarray(legs[:, RECOVERED] * np.exp(-np.maximum(at - legs[:, RECOVERED_AT], 0) / FORGETS), np.float64)
