"""One multivariate model on a service's golden signals, with river: the only file that imports it.

The Mahalanobis distance of (traffic, errors, latency) from their joint distribution over the last four hours: latency
that rises with traffic is usual, latency that rises alone is not. river's :class:`EmpiricalCovariance` learns one
vector at a time and can unlearn the oldest (``revert``), at 3 us an update; its tree ensembles cost more and told less
here. Importing ``river.covariance`` takes 0.2 s and 11 MB (``river.anomaly``: 2.4 s and 105 MB), so it happens when the
first service has signals enough.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from river.covariance import EmpiricalCovariance

LEARNS = 60
"""Vectors before it speaks, and before river is imported."""
REMEMBERS = 960
RIDGE = 1e-3  # of each variance, and this much absolutely: a signal that never moved must not decide alone


class GroupModel:
    """Distance of one service's signals from what they usually are together."""

    def __init__(self, past: Iterable[Mapping[str, float]] = ()) -> None:
        self._past: deque[dict[str, float]] = deque()
        self._sums: dict[str, float] = {}
        self._covariance: EmpiricalCovariance | None = None
        for signals in past:
            self.learn(signals)

    def score(self, signals: Mapping[str, float]) -> float:
        """The distance, >= 0, of ``signals`` from what was learned; NaN while not sure. Learns nothing."""
        names = sorted(signals)
        if self._covariance is None or not names or set(names) != set(self._sums):
            return math.nan
        n = len(self._past)
        away = np.array([_even(signals[name]) - self._sums[name] / n for name in names])
        spread = np.array([[self._covariance[a, b].get() for b in names] for a in names])
        variance = np.diag(spread).copy()
        spread[np.diag_indices(len(names))] += RIDGE * (variance + 1e-3)
        return math.sqrt(max(float(away @ np.linalg.solve(spread, away)), 0.0))

    def learn(self, signals: Mapping[str, float]) -> None:
        """One vector more, the oldest of too many forgotten; other names than before start anew."""
        vector = {name: _even(value) for name, value in signals.items()}
        if self._past and set(vector) != set(self._past[0]):
            self._past.clear()
            self._sums.clear()
            self._covariance = None
        self._add(vector)
        if self._covariance is not None:
            self._covariance.update(vector)
            if len(self._past) > REMEMBERS:
                self._covariance.revert(self._drop())
        elif len(self._past) >= LEARNS:
            from river.covariance import EmpiricalCovariance

            self._covariance = EmpiricalCovariance()  # type: ignore[no-untyped-call]
            for known in self._past:
                self._covariance.update(known)

    def past(self) -> list[dict[str, float]]:
        """The vectors that it knows, oldest first: ``GroupModel(past)`` continues, without a pickle."""
        return [{name: _raw(value) for name, value in vector.items()} for vector in self._past]

    def _add(self, vector: dict[str, float]) -> None:
        self._past.append(vector)
        for name, value in vector.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def _drop(self) -> dict[str, float]:
        oldest = self._past.popleft()
        for name, value in oldest.items():
            self._sums[name] -= value
        return oldest


def _even(value: float) -> float:
    """Signals differ by factors: their logarithm is nearer to a normal distribution than they are."""
    return math.log1p(max(value, 0.0) * 1000.0)


def _raw(even: float) -> float:
    return math.expm1(even) / 1000.0
