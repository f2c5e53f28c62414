"""The store: recent samples of every live series, in cohorts, with the index that names them.

Single writer, no locks, no clock: event time is an argument. See :mod:`detector.series.cohort` for the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.nouns import Batch, Ids, Times, Values
from detector.series import allocation
from detector.series import cohort as co
from detector.series.labels import Index
from detector.series.limits import Depth, Limits
from detector.series.metadata import Metadata
from detector.series.population import Population
from detector.series.state import dump, load

REASONS = {
    co.DUPLICATE: "duplicate-timestamp",
    co.OUT_OF_ORDER: "out-of-order",
    co.TOO_OLD: "too-old",
    co.BAD_TIME: "bad-timestamp",
    co.FUTURE: "too-far-in-future",
    co.UNKNOWN: "unknown-series",
}
FURTHEST = 9_000_000_000_000_000
"""Timestamps (ms) beyond it either way are refused, so that differences of times never overflow."""
NAMED_OFFENDERS = 5
PART = 1 << 15
"""Samples of a window's part: times and values, half a MiB, stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a batch. ``kept`` bool[n]: the samples that were stored; a repeated sample (same time, same bits)
    is neither kept nor rejected. ``late``: kept, but at or before the event time given. ``first``: some offenders."""

    stored: int
    kept: npt.NDArray[np.bool_]
    late: int = 0
    repeated: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Samples of ``ids[i]``: ``at`` and ``value`` from ``first[i]`` to ``first[i + 1]``, in order of time."""

    ids: Ids
    first: Times
    at: Times
    value: Values


class Store:
    """Samples in, windows out. ``evict=False`` (event time driven by samples) keeps everything."""

    def __init__(self, limits: Limits | None = None, depth: Depth | None = None, evict: bool = True) -> None:
        self.limits = limits or Limits()
        self.index = Index()
        self._population = Population(self.index, depth or Depth(), evict)

    @property
    def types(self) -> Metadata:
        """Metric metadata for ``/api/v1/metadata``, by metric family."""
        return self.index.types

    @property
    def series_count(self) -> int:
        return self.index.size

    @property
    def depth(self) -> Depth:
        return self._population.depth

    # --- in ---

    def accept(self, batch: Batch, event_time: int | None = None, not_after: int = FURTHEST) -> Accepted:
        """Store what Prometheus would store: in order per series; a late row of a cohort is no matter.

        ``event_time``: samples at or before it count as late. ``not_after``: later ones are refused.
        """
        n = len(batch.series)
        if n == 0:
            return Accepted(0, np.zeros(0, np.bool_))
        series = np.ascontiguousarray(batch.series, np.int32)
        at = np.ascontiguousarray(batch.at, np.int64)
        bits = np.ascontiguousarray(batch.value, np.float64).view(np.int64)
        status = np.full(n, co.UNKNOWN, np.uint8)
        if int(series.min()) >= 0 and int(series.max()) < self.index.capacity and int(at.min()) >= -FURTHEST:
            self._population.store(series, at, bits, min(not_after, FURTHEST), status)
        else:
            self._store_sound(series, at, bits, not_after, status)
        kept = status == co.STORED
        stored = int(np.count_nonzero(kept))
        late = 0 if event_time is None else int(np.count_nonzero(kept & (at <= event_time)))
        if stored == n:
            return Accepted(n, kept, late)
        counts = np.bincount(status, minlength=co.UNKNOWN + 1)
        rejected = {reason: int(counts[code]) for code, reason in REASONS.items() if counts[code]}
        return Accepted(stored, kept, late, int(counts[co.SAME]), rejected, self._offenders(series, at, status))

    def _store_sound(self, series: Ids, at: Times, bits: Times, not_after: int, status: npt.NDArray[np.uint8]) -> None:
        """As :meth:`accept`, of a batch that holds ids or times that cannot be."""
        known = (series >= 0) & (series < self.index.capacity)
        sound = known & (at >= -FURTHEST)
        status[known & ~sound] = co.BAD_TIME
        part = np.full(int(sound.sum()), co.UNKNOWN, np.uint8)
        if len(part):
            self._population.store(series[sound], at[sound], bits[sound], min(not_after, FURTHEST), part)
        status[sound] = part

    def _offenders(self, series: Ids, at: Times, status: npt.NDArray[np.uint8]) -> tuple[str, ...]:
        bad = np.flatnonzero(status > co.SAME)[:NAMED_OFFENDERS].tolist()
        return tuple(f"{REASONS[int(status[i])]}: {self.name_of(int(series[i]))} at {int(at[i])} ms" for i in bad)

    def name_of(self, id: int) -> str:
        """A series as a person writes it, for messages: ``up{job="node"}``."""
        if not (0 <= id < self.index.capacity and self.index.live[id]):
            return f"series {id}"
        labels = self.index.labels_of(id)
        name = labels.pop("__name__", "")
        return name + "{" + ", ".join(f'{k}="{v}"' for k, v in labels.items()) + "}"

    # --- out ---

    def latest(self, ids: Ids, at: int, lookback: int = 300_000) -> tuple[Times, Values]:
        """The newest sample of every id in (at - lookback, at]; time -1 and NaN where there is none or it is stale."""
        ids = self._known(ids)
        times, bits = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
        co.newest_samples(self._population.ring, ids, at, lookback, times, bits)
        return times, bits.view(np.float64)

    def window(self, ids: Ids, start: int, end: int) -> Window:
        """Samples in (start, end], left-open, stale markers removed."""
        whole = next(self.windows(ids, start, end, most=FURTHEST), None)
        return whole or Window(ids, np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))

    def windows(self, ids: Ids, start: int, end: int, most: int = PART) -> Iterator[Window]:
        """As :meth:`window`, in parts of about ``most`` samples: what one part holds, the next overwrites."""
        ids = self._known(ids)
        ring = self._population.ring
        first, blocks = np.empty(len(ids) + 1, np.int64), np.empty(len(ids), np.int64)
        co.count_rows(ring, ids, start, end, first, blocks)
        cuts = np.flatnonzero(np.diff(first[:-1] // most, prepend=-1))  # where a part begins
        ends = np.append(cuts, len(ids))[1:]
        room = int((first[ends] - first[cuts]).max(initial=0))
        times, bits = np.empty(room, np.int64), np.empty(room, np.int64)
        for cut, stop in zip(cuts.tolist(), ends.tolist(), strict=True):
            own = np.empty(stop - cut + 1, np.int64)
            n = co.gather(ring, ids[cut:stop], start, end, own, blocks[cut:stop], times, bits)
            yield Window(ids[cut:stop], own, times[:n], bits[:n].view(np.float64))

    def evidence(self, id: int, start: int, end: int) -> tuple[Times, Values]:
        """One series' samples in (start, end]."""
        found = self.window(np.array([id], np.int32), start, end)
        return found.at, found.value

    def newest(self, ids: Ids) -> Times:
        """The time of the newest sample of every id, stale marker included; before all times where there is none."""
        return self._population.ring.last[self._known(ids)]

    def _known(self, ids: Ids) -> Ids:
        """``ids`` as the kernels need them; IndexError for one that was never given."""
        ids = np.ascontiguousarray(ids, np.int32)
        if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < self.index.capacity):
            raise IndexError(f"a series id outside 0..{self.index.capacity - 1}")
        self._population.reserve_series()
        return ids

    # --- upkeep ---

    def set_limits(self, limits: Limits) -> None:
        """Limits from now on; series beyond a smaller one stay."""
        self.limits = limits

    def set_depth(self, depth: Depth) -> None:
        """Rings reach as far back as ``depth`` says from now on; what is there stays as far as it fits."""
        self._population.set_depth(depth)

    def sweep(self, now: int) -> Ids:
        """Release series without a sample within their span before ``now``; their ids, which new series may get."""
        return self._population.sweep(now)

    def release(self, ids: Ids) -> None:
        """Forget these series and their samples."""
        self._population.release(np.asarray(ids, np.int32))

    def memory(self) -> dict[str, int]:
        """Estimated bytes by part: ``samples``, ``index``, ``cohorts``."""
        return {"index": self.index.bytes(), **self._population.bytes()}

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything as named arrays; format version inside."""
        return dump(self.index, self._population)

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Into a fresh store; ValueError, and the store unusable, when the arrays do not fit together."""
        load(arrays, self.index, self._population)


def warm() -> None:
    """Make the process ready for the arrays: kernels compiled (or loaded from the cache), the allocator told; off the
    event loop."""
    allocation.settle()
    store = Store()
    ids = [store.index.intern((("__name__", "warm"), ("n", str(i))), "warm") for i in range(3)]
    series = np.array(ids * 2, np.int32)
    at = np.repeat(np.array([1000, 2000], np.int64), 3)
    store.accept(Batch("warm", series, at, np.ones(6)))
    store.latest(series[:3], 2000)
    store.window(series[:3], 0, 2000)
    store.set_depth(Depth(1000, {"warm": 2000}))
    store.sweep(10_000_000)
