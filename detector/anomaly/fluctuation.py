"""Fluctuation: does the series suddenly shake more than it did a moment ago?

After the first smoothing step of FluxEV (Li et al., WSDM 2021): the residual's local spread, and by how much it grew
with this value, max(0, spread_t - spread_(t-1)), in units of its usual growth. It answers to bursts and dips
whatever the level is, and says nothing about a slow change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, Scores, State, Times, Values, restored, taller
from detector.series.compiled import compiled

WINDOW = 12
USUAL_RATE = 0.01
WARM = 20
CLIP = 10.0

SPREAD, USUAL, SEEN = 0, 1, 2


@compiled
def _step(rows: Rows, x: Values, learn: Flags, mean: Values, rest: npt.NDArray[np.float32], out: Scores) -> None:
    # rows int32[n] < len(mean); mean float64[capacity], rest float32[capacity, 3]
    for i in range(len(rows)):
        r = rows[i]
        seen = rest[r, SEEN]
        error = x[i] - mean[r]
        spread = np.float64(rest[r, SPREAD])
        wider = np.sqrt(spread * spread + (error * error - spread * spread) / WINDOW)
        growth = max(0.0, wider - spread)
        usual = rest[r, USUAL] + 1e-9 * abs(mean[r]) + 1e-30
        if seen > WARM:
            out[i] = min(growth / usual, 1e9)
            growth = min(growth, CLIP * usual)
        else:
            out[i] = np.nan
        if not learn[i]:
            continue
        seen += 1
        rest[r, SEEN] = min(seen, 1e6)
        if seen == 1:
            mean[r] = x[i]
            continue
        mean[r] += max(2.0 / (WINDOW + 1), 1.0 / seen) * error
        rest[r, SPREAD] = wider
        rest[r, USUAL] += max(USUAL_RATE, 1.0 / seen) * (growth - rest[r, USUAL])


class Fluctuation:
    """Growth of the local spread, in units of its usual growth."""

    def __init__(self) -> None:
        self._mean = np.empty(0, np.float64)
        self._rest = np.empty((0, 3), np.float32)

    def grow(self, capacity: int) -> None:
        self._mean = taller(self._mean, capacity)
        self._rest = taller(self._rest, capacity)

    def reset(self, rows: Rows) -> None:
        self._mean[rows] = 0.0
        self._rest[rows] = 0.0

    def step(self, rows: Rows, at: Times, x: Values, learn: Flags) -> Scores:
        out = np.empty(len(rows), np.float32)
        _step(rows, x, learn, self._mean, self._rest, out)
        return out

    def state(self) -> State:
        return {"mean": self._mean, "rest": self._rest}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._mean = restored(state, "mean", self._mean)
        self._rest = restored(state, "rest", self._rest)
