"""A small stage for rule tests: series as functions of time in a real store, and rules evaluated slot by slot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from detector.nouns import Batch, LabelSet, Symptom
from detector.rules.groups import Group, load_text
from detector.rules.ruler import RuleFindings, Ruler
from detector.series.limits import FOREVER, Depth, Limits
from detector.series.store import Store

T0 = 1_800_000_000_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
STALE = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]

Shape = Callable[[float], float | None]
"""Seconds since the start to a value; None: no sample then."""


def labels_of(name: str, **labels: str) -> LabelSet:
    return tuple(sorted({"__name__": name, **labels}.items()))


def new_store() -> Store:
    return Store(Limits(), Depth(FOREVER), evict=False)


def put(store: Store, samples: Mapping[LabelSet, Sequence[tuple[int, float]]]) -> None:
    """Samples (ms, value) per series, straight into the store."""
    ids, at, value = [], [], []
    for labels, points in samples.items():
        series = store.index.intern(labels, "test", "gauge")
        for t, v in points:
            ids.append(series)
            at.append(t)
            value.append(v)
    accepted = store.accept(Batch("test", np.array(ids, np.int32), np.array(at, np.int64), np.array(value, float)))
    assert accepted.stored == len(ids), accepted


def counter(rate: Callable[[float], float], step: float = 15.0) -> Shape:
    """A counter whose increase per second is ``rate(t)``, summed at the scrapes."""
    total = {0.0: 0.0}

    def shape(t: float) -> float:
        if t not in total:
            total[t] = shape(t - step) + step * rate(t)
        return total[t]

    return shape


def groups_of(text: str) -> tuple[Group, ...]:
    loaded = load_text(text, "rules.yml")
    assert not loaded.problems, loaded.problems
    return loaded.groups


class Scene:
    """Scrapes every 15 s from :data:`T0` on, and evaluates the rules after each scrape."""

    def __init__(self, groups: Sequence[Group], series: Mapping[LabelSet, Shape]) -> None:
        self.store = new_store()
        self.ruler = Ruler(self.store, groups)
        self.symptoms: list[Symptom] = []
        self._series = series
        self._t = 0

    def run(self, until: float) -> Scene:
        """Play up to ``until`` seconds."""
        while self._t <= until:
            at = T0 + self._t * SECOND
            points = {
                labels: [(at, value)] for labels, shape in self._series.items()
                if (value := shape(float(self._t))) is not None
            }  # fmt: skip
            if points:
                put(self.store, points)
            self.take(self.ruler.evaluate(at))
            self._t += 15
        return self

    def take(self, found: RuleFindings) -> None:
        assert not found.failures, found.failures
        self.symptoms += found.symptoms

    @property
    def fired(self) -> set[str]:
        return {symptom.name for symptom in self.symptoms if symptom.active}


def wave(t: float, period: float = 5_400.0) -> float:
    """0 to 1 and back within ``period`` seconds."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * t / period)
