"""Level: how far a value is from where the series has lately been.

An exponentially weighted mean with a mean absolute deviation beside it; z = |x - mean| / deviation. Updates are
winsorised at four deviations, so that an outlier hardly moves either, while a lasting shift is followed within a
few dozen samples because the deviation grows with it. For series without a season, and for every young one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, Scores, State, Times, Values, restored, taller
from detector.series.compiled import compiled

RATE = 0.05
SCALE_RATE = 0.01
WARM = 20
CLIP = 4.0

SCALE, SEEN = 0, 1


@compiled
def _step(rows: Rows, x: Values, learn: Flags, mean: Values, rest: npt.NDArray[np.float32], out: Scores) -> None:
    # rows int32[n] < len(mean); mean float64[capacity], rest float32[capacity, 2]
    for i in range(len(rows)):
        r = rows[i]
        seen = rest[r, SEEN]
        error = x[i] - mean[r]
        # What rounding alone may do to a constant; also keeps the division finite.
        scale = rest[r, SCALE] + 1e-9 * abs(mean[r]) + 1e-30
        if seen >= WARM:
            out[i] = min(abs(error) / scale, 1e9)
            error = max(-CLIP * scale, min(CLIP * scale, error))
        else:
            out[i] = np.nan
        if not learn[i]:
            continue
        seen += 1
        rest[r, SEEN] = min(seen, 1e6)
        if seen == 1:
            mean[r] = x[i]
            continue
        mean[r] += max(RATE, 1.0 / seen) * error
        rest[r, SCALE] += max(SCALE_RATE, 1.0 / seen) * (abs(error) - rest[r, SCALE])


class Level:
    """Distance from an exponentially weighted mean, in mean absolute deviations."""

    def __init__(self) -> None:
        self._mean = np.empty(0, np.float64)
        self._rest = np.empty((0, 2), np.float32)

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

    def band(self, rows: Rows, width: float) -> tuple[Values, Values]:
        """Where values are expected: ``width`` deviations below and above the mean, float64[n] each."""
        half = width * self._rest[rows, SCALE].astype(np.float64)
        return self._mean[rows] - half, self._mean[rows] + half

    def state(self) -> State:
        return {"mean": self._mean, "rest": self._rest}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._mean = restored(state, "mean", self._mean)
        self._rest = restored(state, "rest", self._rest)
