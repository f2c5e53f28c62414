"""Combination: several calibrated views of one value become one score, which is calibrated again.

The mean over the views that are sure of themselves; times a bounded factor for the size of the effect, min(1, relative
change / 0.5), on series that have never been negative (2 % more traffic is no trouble however unlikely); then only
records count: a score that does not exceed those of the last 100 samples belongs to an episode already told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, Scores, State, Values, restored, taller
from detector.series.compiled import compiled

EFFECT = 0.5
EFFECT_RATE = 0.05
EPISODE = 100
ECHO = 0.5  # what a sample inside an episode is worth

MEAN, SEEN, RECORD, AGE = 0, 1, 2, 3
SIGNED = -1.0  # in SEEN: the series has been negative, relative change means nothing


@compiled
def _step(
    rows: Rows, x: Values, views: npt.NDArray[np.float32], learn: Flags, state: npt.NDArray[np.float32], out: Scores
) -> None:
    # rows int32[n] < len(state), views float32[k, n] (NaN: not sure), state float32[capacity, 4]
    for i in range(len(rows)):
        s = state[rows[i]]
        total, sure = 0.0, 0
        for k in range(views.shape[0]):
            if not np.isnan(views[k, i]):
                total += views[k, i]
                sure += 1
        if learn[i] and x[i] < 0.0:
            s[SEEN] = SIGNED
        if sure == 0:
            out[i] = np.nan
        else:
            score = total / sure
            if s[SEEN] > 0.0:
                score *= min(1.0, abs(x[i] - s[MEAN]) / (EFFECT * max(s[MEAN], 1e-30)))
            if score > s[RECORD] or s[AGE] >= EPISODE:
                out[i] = score
                s[RECORD] = score
                s[AGE] = 0.0
            else:
                out[i] = min(score, ECHO)
            s[AGE] += 1.0
        if learn[i] and s[SEEN] >= 0.0:
            s[SEEN] = min(s[SEEN] + 1.0, 1e6)
            s[MEAN] += max(EFFECT_RATE, 1.0 / s[SEEN]) * (x[i] - s[MEAN])


class Combination:
    """One score from several views of the same value, not calibrated yet."""

    def __init__(self) -> None:
        self._state = np.empty((0, 4), np.float32)

    def grow(self, capacity: int) -> None:
        self._state = taller(self._state, capacity)

    def reset(self, rows: Rows) -> None:
        self._state[rows] = 0.0

    def step(self, rows: Rows, x: Values, views: npt.NDArray[np.float32], learn: Flags) -> Scores:
        """``views`` float32[k, n], NaN where a view is not sure, to float32[n], NaN where none is."""
        out = np.empty(len(rows), np.float32)
        _step(rows, x, views, learn, self._state, out)
        return out

    def state(self) -> State:
        return {"state": self._state}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._state = restored(state, "state", self._state)
