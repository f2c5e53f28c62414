"""From values to the used share of a resource and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Times, Values
from detector.anomaly.resources import Resource

UNLIMITED = 2.0**60
"""A stated limit from here on is none (``process_virtual_memory_max_bytes`` is 1.8e19 where there is no limit)."""


class Scale(Protocol):
    """The used share is 0 where nothing is used and 1 at the limit."""

    def share(self, value: Values) -> Values:
        """Values to shares; NaN without a limit."""

    def value(self, share: float) -> float:
        """A share to the value that it stands for."""


@dataclass(frozen=True, slots=True)
class Linear:
    """share = (value - zero) / (limit - zero)."""

    zero: float
    limit: float

    @staticmethod
    def of(resource: Resource, stated: float, most: float) -> Linear:
        """``stated``: newest value of the limit's series (NaN: none); ``most``: the largest value seen of the used."""
        if resource.falling:
            room = stated if resource.limit >= 0 else most
            return Linear(room, resource.number) if room > resource.number else Linear(math.nan, math.nan)
        limit = stated if resource.limit >= 0 else resource.number
        return Linear(0.0, limit) if 0.0 < limit < UNLIMITED else Linear(math.nan, math.nan)

    def share(self, value: Values) -> Values:
        return np.asarray((value - self.zero) / (self.limit - self.zero), np.float64)

    def value(self, share: float) -> float:
        return self.zero + share * (self.limit - self.zero)


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """For what grows by factors: share 1 at the objective, 0 at a hundredth of it."""

    objective: float

    def share(self, value: Values) -> Values:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.maximum(1.0 + np.log10(value / self.objective) / 2.0, 0.0), np.float64)

    def value(self, share: float) -> float:
        return float(self.objective * 100.0 ** (min(share, 3.0) - 1.0))


@dataclass(frozen=True, slots=True)
class Samples:
    """Of n resources, one after the other: those of the i-th are ``value[first[i]:first[i + 1]]``, in order of time."""

    first: npt.NDArray[np.int64]
    at: Times
    value: Values

    def part(self, i: int) -> Samples:
        lo, hi = self.first[i], self.first[i + 1]
        return Samples(np.array([0, hi - lo]), self.at[lo:hi], self.value[lo:hi])


def shares(samples: Samples, scales: Sequence[Scale]) -> Values:
    """The used share of every sample; NaN where its resource has no limit."""
    if all(isinstance(scale, Linear) for scale in scales):
        counts = np.diff(samples.first)
        zero = np.repeat([scale.zero for scale in scales], counts)  # type: ignore[attr-defined]
        limit = np.repeat([scale.limit for scale in scales], counts)  # type: ignore[attr-defined]
        return np.asarray((samples.value - zero) / (limit - zero), np.float64)
    parts = [scale.share(samples.part(i).value) for i, scale in enumerate(scales)]
    return np.concatenate(parts) if parts else np.empty(0)
