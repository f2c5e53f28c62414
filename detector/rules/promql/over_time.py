"""Functions of range vectors: ``rate``, ``predict_linear``, ``*_over_time`` and their kind.

Each takes the range vector, its parameters and the evaluation time, and returns a value per row and where there is
one. All mark the metric's name as to be dropped, except those in :data:`KEEP_NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from detector.nouns import Values
from detector.rules.promql import kernels
from detector.rules.promql.columns import Labels
from detector.rules.promql.values import Samples, Vector

Result = tuple[Values, npt.NDArray[np.bool_]]
RangeFunction = Callable[[Samples, tuple[float, ...], int], Result]

KEEP_NAME = frozenset({"last_over_time", "first_over_time"})


def apply(function: str, labels: Labels, parts: Iterable[Samples], params: tuple[float, ...], at: int) -> Vector:
    """Evaluate a range function at ``at`` ms over all rows that have enough samples; ``parts`` together hold one row
    for each of ``labels``."""
    done = [FUNCTIONS[function](part, params, at) for part in parts]
    if not done:
        return Vector(labels, np.empty(0, np.float64))
    value, present = (np.concatenate(arrays) for arrays in zip(*done, strict=True))
    return Vector(labels if function in KEEP_NAME else labels.marked(), value).take(present)


def _extrapolated(mode: int) -> RangeFunction:
    def function(s: Samples, params: tuple[float, ...], at: int) -> Result:
        return kernels.extrapolated(s.first, s.at, s.value, s.start, s.end, mode), s.count >= 2

    return function


def _instantaneous(per_second: bool) -> RangeFunction:
    def function(s: Samples, params: tuple[float, ...], at: int) -> Result:
        return kernels.instantaneous(s.first, s.at, s.value, per_second), s.count >= 2

    return function


def _deriv(s: Samples, params: tuple[float, ...], at: int) -> Result:
    return kernels.regression(s.first, s.at, s.value, 0, True)[0], s.count >= 2


def _predict_linear(s: Samples, params: tuple[float, ...], at: int) -> Result:
    slope, intercept = kernels.regression(s.first, s.at, s.value, at, False)
    return slope * params[0] + intercept, s.count >= 2


def _plain(kernel: Callable[[npt.NDArray[np.int64], Values], Values]) -> RangeFunction:
    def function(s: Samples, params: tuple[float, ...], at: int) -> Result:
        return kernel(s.first, s.value), s.count > 0

    return function


def _extreme(sign: float) -> RangeFunction:
    return _plain(lambda first, value: kernels.extreme(first, value, sign))


def _steps(mode: int) -> RangeFunction:
    return _plain(lambda first, value: kernels.steps(first, value, mode))


def _quantile(s: Samples, params: tuple[float, ...], at: int) -> Result:
    return kernels.quantile(s.first, s.value, params[0]), s.count > 0


def _count(s: Samples, params: tuple[float, ...], at: int) -> Result:
    return s.count.astype(np.float64), s.count > 0


def _present(s: Samples, params: tuple[float, ...], at: int) -> Result:
    return np.ones(len(s.first) - 1), s.count > 0


def _sample(last: bool) -> RangeFunction:
    def function(s: Samples, params: tuple[float, ...], at: int) -> Result:
        present = s.count > 0
        value = np.full(len(s.first) - 1, np.nan)
        index = s.first[1:][present] - 1 if last else s.first[:-1][present]
        value[present] = s.value[index]
        return value, present

    return function


FUNCTIONS: Mapping[str, RangeFunction] = {
    "rate": _extrapolated(kernels.RATE),
    "increase": _extrapolated(kernels.INCREASE),
    "delta": _extrapolated(kernels.DELTA),
    "irate": _instantaneous(True),
    "idelta": _instantaneous(False),
    "deriv": _deriv,
    "predict_linear": _predict_linear,
    "sum_over_time": _plain(kernels.total),
    "avg_over_time": _plain(kernels.mean),
    "stdvar_over_time": _plain(kernels.variance),
    "stddev_over_time": _plain(lambda first, value: np.sqrt(kernels.variance(first, value))),
    "min_over_time": _extreme(kernels.MINIMUM),
    "max_over_time": _extreme(kernels.MAXIMUM),
    "quantile_over_time": _quantile,
    "count_over_time": _count,
    "present_over_time": _present,
    "last_over_time": _sample(last=True),
    "first_over_time": _sample(last=False),
    "changes": _steps(kernels.CHANGES),
    "resets": _steps(kernels.RESETS),
}
