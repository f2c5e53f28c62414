"""Where the samples of what may run out come from: the series of the store, summed where a limit is for a sum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from detector.anomaly.resources import Resource, Resources
from detector.anomaly.scale import Linear, Samples, Scale
from detector.series.store import Store

HOUR = 3_600_000


class Source(Protocol):
    """Resources and their samples, for one :class:`detector.anomaly.forecast.Forecaster`."""

    def resources(self) -> Sequence[Resource]:
        """All that there are now."""

    def births(self, names: Iterable[str]) -> list[Resource]:
        """Series of these metrics were born; returns resources that are new."""

    def forget(self, ids: Iterable[int]) -> list[Resource]:
        """These series are gone; returns the resources that went with them."""

    def scales(self, resources: Sequence[Resource], upto: int) -> list[Scale]:
        """How values become used shares at ``upto``."""

    def samples(self, resources: Sequence[Resource], start: int, end: int) -> Samples:
        """Those in (start, end]."""


class StoreSource:
    """Limited resources of a store (:mod:`detector.anomaly.resources`)."""

    def __init__(self, store: Store, found: Resources) -> None:
        self._store = store
        self._found = found
        self._most: dict[int, float] = {}

    def resources(self) -> Sequence[Resource]:
        return list(self._found.found.values())

    def births(self, names: Iterable[str]) -> list[Resource]:
        return self._found.refresh() if self._found.interesting(names) else []

    def forget(self, ids: Iterable[int]) -> list[Resource]:
        lost = self._found.forget(ids)
        for resource in lost:
            self._most.pop(resource.row, None)
        return lost

    def scales(self, resources: Sequence[Resource], upto: int) -> list[Scale]:
        ids = np.array([r.limit if r.limit >= 0 else r.used[0] for r in resources], np.int32)
        at, value = self._store.latest(ids, upto, HOUR)
        known = np.where(at >= 0, value, math.nan)
        out: list[Scale] = []
        for i, resource in enumerate(resources):
            most = math.nan
            if resource.falling and resource.limit < 0:
                # Nobody says how much there is: it is what there was at most.
                most = self._most[resource.row] = max(self._most.get(resource.row, -math.inf), float(known[i]))
            out.append(Linear.of(resource, float(known[i]) if resource.limit >= 0 else math.nan, most))
        return out

    def samples(self, resources: Sequence[Resource], start: int, end: int) -> Samples:
        used = [np.array(resource.used, np.int32) for resource in resources]
        counts = np.array([len(ids) for ids in used], np.int64)
        window = self._store.window(np.concatenate(used), start, end)
        first = window.first[np.concatenate([[0], np.cumsum(counts)])].astype(np.int64)
        if np.all(counts == 1):
            return Samples(first, window.at, window.value)
        at, value, sizes = [], [], []
        for i in range(len(resources)):
            mine, sums = window.at[first[i] : first[i + 1]], window.value[first[i] : first[i + 1]]
            if counts[i] > 1:
                mine, place = np.unique(mine, return_inverse=True)
                sums = np.asarray(np.bincount(place, weights=np.nan_to_num(sums), minlength=len(mine)), np.float64)
            at.append(mine)
            value.append(sums)
            sizes.append(len(mine))
        edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Samples(edges, np.concatenate(at), np.concatenate(value))
