"""What kind a series is, and what the models see of it: the value of a gauge, the rate of a counter, nothing of a
constant.

Most series of a real Prometheus never change (versions, limits, error counters that stay 0): they cost a comparison and
21 bytes. A row in the models is given to a series with its first change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, State, Times, Values, restored, taller
from detector.series.compiled import compiled

UNKNOWN, GAUGE, COUNTER, SKIP = 0, 1, 2, 3
NO_ROW = -1
NEVER = -(2**62)
GAP = 7_200_000
"""ms without a sample after which a counter starts anew: a rate over a longer gap says nothing about now."""

_HISTOGRAM = re.compile(r"(seconds|milliseconds|usec|ms|bytes|duration|latency|size|time|age)_(count|sum)$")
_SKIPPED = ("_bucket", "_created", "_info", "_timestamp_seconds", "_start_time_seconds", "_boot_time_seconds")
_SKIPPED_NAMES = frozenset(["up", "ALERTS", "ALERTS_FOR_STATE", "scrape_series_added", "scrape_samples_scraped",
                            "scrape_samples_post_metric_relabeling", "scrape_duration_seconds"])  # fmt: skip


def kind_of(metric: str, type: str = "", ignore: frozenset[str] = frozenset()) -> int:
    """The kind of a metric from its OpenMetrics type where known, else from its name by Prometheus's conventions."""
    if metric.endswith(_SKIPPED) or metric in _SKIPPED_NAMES or metric in ignore:
        return SKIP
    if type in ("counter", "histogram", "summary"):
        return COUNTER
    # A histogram counts in units; pg_stat_activity_count is a level all the same.
    counts = metric.endswith("_total") or _HISTOGRAM.search(metric[-40:]) is not None
    return COUNTER if counts and type != "gauge" else GAUGE


@compiled
def _derive(
    begin: int, ids: Rows, at: Times, value: Values, kind: npt.NDArray[np.uint8], row: Rows, last_at: Times,
    last: Values, free: Rows, left: int, x: Values, rows: Rows,
) -> tuple[int, int]:  # fmt: skip
    """What the models see: ``x[i]`` for row ``rows[i]``, or row NO_ROW for nothing. From sample ``begin`` on.

    ids int32[n] < len(kind) == len(row) == ...; ``free[:left]`` rows that may be given out. Returns the index at which
    rows ran out (or n) and how many are left.
    """
    for i in range(begin, len(ids)):
        s = ids[i]
        rows[i] = NO_ROW
        v = value[i]
        if kind[s] == SKIP or kind[s] == UNKNOWN:
            continue
        if not np.isfinite(v):
            if np.isnan(v):
                last_at[s] = NEVER  # stale, or nothing: a counter starts anew after it
            continue
        before, when = last[s], last_at[s]
        if when != NEVER and at[i] <= when:
            continue
        if when == NEVER or (kind[s] == COUNTER and at[i] - when > GAP):
            last[s], last_at[s] = v, at[i]
            if kind[s] == GAUGE and row[s] != NO_ROW:
                rows[i], x[i] = row[s], v
            continue
        change = v - before
        if row[s] == NO_ROW:
            if change == 0.0:
                last_at[s] = at[i]
                continue
            if left == 0:
                return i, 0
            left -= 1
            row[s] = free[left]
        last[s], last_at[s] = v, at[i]
        rows[i] = row[s]
        if kind[s] == COUNTER:
            # A counter that fell was reset: it has counted from 0 since.
            x[i] = (change if change >= 0.0 else v) * 1000.0 / (at[i] - when)
        else:
            x[i] = v
    return len(ids), left


class Kinds:
    """Kind, last sample and model row of every series id."""

    def __init__(self) -> None:
        self.kind = np.empty(0, np.uint8)
        self.row = np.empty(0, np.int32)
        self._last_at = np.empty(0, np.int64)
        self._last = np.empty(0, np.float64)
        self._free = np.empty(0, np.int32)
        self._left = 0
        self.rows = 0

    def grow(self, ids: int) -> None:
        """Make room for ids below ``ids``."""
        self.kind = taller(self.kind, ids, UNKNOWN)
        self.row = taller(self.row, ids, NO_ROW)
        self._last_at = taller(self._last_at, ids, NEVER)
        self._last = taller(self._last, ids)

    def unknown(self, ids: Rows) -> Rows:
        """Those of ``ids`` whose kind has not been set, ascending, once each."""
        new: Rows = np.unique(ids[self.kind[ids] == UNKNOWN])
        return new

    def derive(self, ids: Rows, at: Times, value: Values) -> tuple[Flags, Rows, Values]:
        """bool[n] which samples the models see, and the rows and values of those; gives out rows as needed.

        ``rows`` (the attribute) is the capacity that the models need.
        """
        n = len(ids)
        x = np.empty(n, np.float64)
        rows = np.empty(n, np.int32)
        done = 0
        while True:
            done, self._left = _derive(
                done, ids, at, value, self.kind, self.row, self._last_at, self._last, self._free, self._left, x, rows
            )
            if done >= n:
                break
            self._more(min(n - done, max(1024, self.rows // 4)))
        seen = rows != NO_ROW
        return seen, rows[seen], x[seen]

    def forget(self, ids: Rows) -> Rows:
        """These series are gone; returns the model rows that are free again."""
        ids = ids[ids < len(self.kind)]
        held = self.row[ids]
        rows: Rows = held[held != NO_ROW]
        self.kind[ids] = UNKNOWN
        self.row[ids] = NO_ROW
        self._last_at[ids] = NEVER
        self._free[self._left : self._left + len(rows)] = rows
        self._left += len(rows)
        return rows

    def _more(self, count: int) -> None:
        new = np.arange(self.rows, self.rows + count, dtype=np.int32)[::-1]
        # Room for every row, so that forget can always give back.
        self._free = np.concatenate([self._free[: self._left], new, np.empty(self.rows - self._left, np.int32)])
        self._left += count
        self.rows += count

    def bytes(self) -> int:
        """Memory of all state."""
        return sum(array.nbytes for array in (self.kind, self.row, self._last_at, self._last, self._free))

    def state(self) -> State:
        return {
            "kind": self.kind, "row": self.row, "last_at": self._last_at, "last": self._last,
            "free": self._free[: self._left].copy(), "rows": np.array([self.rows]),
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self.kind = restored(state, "kind", self.kind)
        self.row = restored(state, "row", self.row)
        self._last_at = restored(state, "last_at", self._last_at)
        self._last = restored(state, "last", self._last)
        free = restored(state, "free", self._free)
        self.rows = int(state["rows"][0])
        same = {len(self.kind), len(self.row), len(self._last_at), len(self._last)}
        if len(same) != 1 or len(free) > self.rows:
            raise ValueError("model state of kinds: its arrays differ in length")
        if np.any(self.row >= self.rows) or np.any(self.row < NO_ROW) or np.any((free < 0) | (free >= self.rows)):
            raise ValueError("model state of kinds: a row lies outside the models")
        self._left = len(free)
        self._free = np.concatenate([free, np.empty(self.rows - len(free), np.int32)])
