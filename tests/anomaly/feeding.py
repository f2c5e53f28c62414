"""A store and a bank fed from plain lists of series, step by step in event time, as the shard does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from detector.anomaly.bank import Bank
from detector.anomaly.options import AnomalyOptions
from detector.nouns import Batch, Symptom
from detector.series.store import Store

SECOND, MINUTE = 1000, 60_000


def service_of(labels: Mapping[str, str]) -> str:
    return labels.get("service") or labels.get("job", "")


@dataclass
class Feed:
    """Series by labels; every one has a sample at every time of ``at``."""

    at: np.ndarray
    series: list[tuple[dict[str, str], np.ndarray]] = field(default_factory=list)

    def add(self, name: str, values: np.ndarray | float, **labels: str) -> Feed:
        own = {"__name__": name, "job": "app", "instance": "a:1", **labels}
        self.series.append((own, np.broadcast_to(np.asarray(values, np.float64), self.at.shape)))
        return self

    def batches(self, store: Store, step: int) -> Iterator[tuple[int, Batch]]:
        """(end of the step, its batch), the ids interned first."""
        ids = np.array(
            [store.index.intern(tuple(sorted(labels.items())), labels["instance"]) for labels, _ in self.series],
            np.int32,
        )
        values = np.array([values for _, values in self.series])
        end = int(self.at[0])
        while end < self.at[-1] + step:
            inside = np.flatnonzero((self.at > end - step) & (self.at <= end))
            at = np.repeat(self.at[inside], len(ids))
            yield end, Batch("test", np.tile(ids, len(inside)), at, values[:, inside].T.ravel())
            end += step


def every(interval: int, count: int, start: int = 1_800_000_000_000) -> np.ndarray:
    return start + np.arange(count, dtype=np.int64) * interval


def run(
    feed: Feed, step: int = 15 * SECOND, options: AnomalyOptions | None = None, chunk: int = 10**9
) -> tuple[list[Symptom], Bank]:
    """Symptoms in order of time; ``chunk`` cuts what is fed at once."""
    store = Store()
    bank = Bank(store, options or AnomalyOptions(), service_of)
    found: list[Symptom] = []
    for end, batch in feed.batches(store, step):
        kept = store.accept(batch).kept
        for begin in range(0, len(batch.series), chunk):
            part = slice(begin, begin + chunk)
            use = kept[part]
            bank.feed(batch.series[part][use], batch.at[part][use], batch.value[part][use])
        found += bank.advance(end).symptoms
    return found, bank
