"""Calibration: what a model says becomes -log10 of how often it says as much on ordinary data.

Peaks over threshold (Siffer et al., KDD 2017, with the method of moments in place of maximum likelihood): track the
98 % quantile, keep the first two moments of what goes over it as if the last 50 peaks had been stored, and read the
generalised Pareto tail off them. Below the threshold the score rises linearly to -log10(0.02): monotone, which is
all that a combination needs of it.

A young tail is shrunk towards an exponential one with the mean of all values seen; peaks are winsorised at six mean
excesses, so that one catastrophe does not make the next one look ordinary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, Scores, State, restored, taller
from detector.series.compiled import compiled

SHARE = 0.02
PEAKS = 50.0
PRIOR_PEAKS = 10.0
MEMORY = 1000.0
WARM = 64
CLIP = 6.0
HEAVIEST = 0.4  # the Pareto's shape parameter is held within 0 (exponential) and this
HIGHEST = 12.0
LEAST_SHARE = 0.002

MEAN, THRESHOLD, OVER, FIRST, SECOND, COUNT, SEEN = 0, 1, 2, 3, 4, 5, 6


@compiled
def _pareto(excess: float, mean: float, second: float, peaks: float, prior: float) -> float:
    """-log10 of the tail's survival at ``excess`` over the threshold, the moments shrunk towards ``prior``."""
    prior = max(prior, 1e-9)
    total = peaks + PRIOR_PEAKS
    m = (mean * peaks + prior * PRIOR_PEAKS) / total
    v = max((second * peaks + 2.0 * prior * prior * PRIOR_PEAKS) / total - m * m, 1e-18)
    shape = min(max(0.5 * (1.0 - m * m / v), 0.0), HEAVIEST)
    scale = m * (1.0 - shape)
    if shape < 1e-3:
        return excess / scale * 0.4342944819
    return math.log10(1.0 + shape * excess / scale) / shape


@compiled
def _step(rows: Rows, z: Scores, power: float, learn: Flags, tail: npt.NDArray[np.float32], out: Scores) -> None:
    # rows int32[n] < len(tail), z float32[n] (NaN: skipped), tail float32[capacity, 7]
    for i in range(len(rows)):
        out[i] = np.nan
        if np.isnan(z[i]):
            continue
        y = float(z[i]) if power == 1.0 else float(z[i]) ** power
        s = tail[rows[i]]
        seen = float(s[SEEN])
        threshold = float(s[THRESHOLD])
        over = float(s[OVER])
        if seen >= WARM:
            if y > threshold:
                score = -math.log10(over) + _pareto(y - threshold, s[FIRST], s[SECOND], s[COUNT], s[MEAN])
                out[i] = min(score, HIGHEST)
            else:
                out[i] = -math.log10(over) * y / threshold if threshold > 0.0 else 0.0
        if not learn[i]:
            continue
        seen += 1
        s[SEEN] = min(seen, 1e6)
        usual = y if seen < 6 else min(y, 10.0 * s[MEAN] + 1e-9)
        s[MEAN] += max(1.0 / seen, 1.0 / MEMORY) * (usual - s[MEAN])
        if seen < WARM:
            continue
        if seen == WARM:
            threshold = 3.9 * float(s[MEAN])  # -ln 0.02: the quantile of an exponential
            over = SHARE
        exceeds = 1.0 if y > threshold else 0.0
        over += max(1.0 / (seen - WARM + 50.0), 1.0 / MEMORY) * (exceeds - over)
        s[OVER] = max(over, LEAST_SHARE)
        if exceeds > 0.0:
            excess = y - threshold
            if s[COUNT] > 10:
                excess = min(excess, CLIP * s[FIRST])
            s[COUNT] = min(s[COUNT] + 1, PEAKS)
            s[FIRST] += (excess - s[FIRST]) / s[COUNT]
            s[SECOND] += (excess * excess - s[SECOND]) / s[COUNT]
        step = s[MEAN] * max(10.0 / (seen - WARM + 20.0), 0.02)
        s[THRESHOLD] = max(threshold + step * (exceeds - SHARE), 0.0)


class Tail:
    """-log10 p for one stream of scores a row; NaN in, or fewer than 64 values seen: NaN out.

    ``power`` compresses before the fit: residuals of real series are heavier than a Pareto tail of shape 0.4 in
    their own scale.
    """

    def __init__(self, power: float = 1.0) -> None:
        self._power = power
        self._tail = np.empty((0, 7), np.float32)

    def grow(self, capacity: int) -> None:
        self._tail = taller(self._tail, capacity)

    def reset(self, rows: Rows) -> None:
        self._tail[rows] = 0.0

    def step(self, rows: Rows, z: Scores, learn: Flags) -> Scores:
        """``z`` float32[n] >= 0 to float32[n] within [0, 12]."""
        out = np.empty(len(rows), np.float32)
        _step(rows, z, self._power, learn, self._tail, out)
        return out

    def seen(self, rows: Rows) -> npt.NDArray[np.float32]:
        """How many values each row has been given."""
        seen: npt.NDArray[np.float32] = self._tail[rows, SEEN]
        return seen

    def state(self) -> State:
        return {"tail": self._tail}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._tail = restored(state, "tail", self._tail)
