"""Season: how far a value is from what this series does at this time of day.

A profile of 24 hours (linear between their centres) plus an offset that follows today's level within a few
dozen samples: additive Holt-Winters with the trend left out. z = |x - profile - offset| / deviation, updates
winsorised at four deviations. The profile learns by elapsed time, so that an hour counts the same whether it
holds 3,600 samples or one. It needs a day before it speaks.

Memory: a profile comes from a pool and is handed out to a row only after its series has lived for an hour, so that
pods that come and go cost none. 24 + 3 floats and one base value a series that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import Flags, Rows, Scores, State, Times, Values, restored, taller
from detector.series.compiled import compiled

DAY = 86_400_000
BINS = 24
BIN = DAY // BINS
HOUR = 3_600_000
OFFSET_RATE = 0.05
OFFSET_DECAY = 0.002
PROFILE_RATE = 0.3  # of a whole hour
SCALE_RATE = 0.005
WARM = 20
CLIP = 4.0

SCALE, OFFSET, SEEN = BINS, BINS + 1, BINS + 2
NEVER = np.iinfo(np.int64).min


@compiled
def _claim(rows: Rows, at: Times, first: Times, slot: Rows, free: Rows, left: int) -> int:
    """Note each row's first sample, hand slots ``free[:left]`` (from the end) to rows that are an hour old.

    Returns how many slots are left, or, negative, how many were missing.
    """
    missing = 0
    for i in range(len(rows)):
        r = rows[i]
        if first[r] == NEVER:
            first[r] = at[i]
        if slot[r] < 0 and at[i] - first[r] >= HOUR:
            if slot[r] == -1 and left > 0:
                left -= 1
                slot[r] = free[left]
            elif slot[r] == -1:
                slot[r] = -2
                missing += 1
    return -missing if missing else left


@compiled
def _step(
    rows: Rows, at: Times, x: Values, learn: Flags, first: Times, slot: Rows,
    base: Values, last: Times, pool: npt.NDArray[np.float32], out: Scores,
) -> None:  # fmt: skip
    # rows int32[n] < len(first) == len(slot); slot values < len(base) == len(last) == len(pool); pool [slots, BINS + 3]
    for i in range(len(rows)):
        out[i] = np.nan
        r = rows[i]
        s = slot[r]
        age = at[i] - first[r]
        # A slot may have been claimed by a later sample of this very call: scores must not depend on batch sizes.
        if s < 0 or age < HOUR:
            continue
        phase = at[i] % DAY
        b = phase // BIN
        lean = (phase - b * BIN) / BIN - 0.5
        other = (b + 1) % BINS if lean >= 0 else (b + BINS - 1) % BINS
        if last[s] == NEVER:
            base[s] = x[i]
            last[s] = at[i]
        value = x[i] - base[s]
        here, there = pool[s, b], pool[s, other]
        elapsed = min(max(at[i] - last[s], 1), BIN)
        if np.isnan(here):
            if learn[i]:
                pool[s, b] = value
                last[s] = at[i]
            continue
        profile = np.float64(here)
        if not np.isnan(there):
            profile += abs(lean) * (np.float64(there) - here)
        error = value - profile - pool[s, OFFSET]
        scale = pool[s, SCALE] + 1e-9 * abs(base[s]) + 1e-6 * abs(here) + 1e-30
        seen = pool[s, SEEN]
        away = value - here
        if seen >= WARM:
            if age > DAY:
                out[i] = min(abs(error) / scale, 1e9)
            error = max(-CLIP * scale, min(CLIP * scale, error))
            away = max(-3 * CLIP * scale, min(3 * CLIP * scale, away))
        if not learn[i]:
            continue
        last[s] = at[i]
        seen = min(seen + 1, 1e6)
        pool[s, SEEN] = seen
        pool[s, OFFSET] = (pool[s, OFFSET] + OFFSET_RATE * error) * (1.0 - OFFSET_DECAY)
        pool[s, SCALE] += max(SCALE_RATE, 1.0 / seen) * (abs(error) - pool[s, SCALE])
        pool[s, b] += (1.0 - (1.0 - PROFILE_RATE) ** (elapsed / BIN)) * away


class Season:
    """Distance from the time of day's profile, in mean absolute deviations."""

    def __init__(self) -> None:
        self._first = np.empty(0, np.int64)
        self._slot = np.empty(0, np.int32)
        self._free = np.empty(0, np.int32)
        self._left = 0
        self._base = np.empty(0, np.float64)
        self._last = np.empty(0, np.int64)
        self._pool = np.empty((0, BINS + 3), np.float32)

    def grow(self, capacity: int) -> None:
        self._first = taller(self._first, capacity, NEVER)
        self._slot = taller(self._slot, capacity, -1)

    def reset(self, rows: Rows) -> None:
        slots = self._slot[rows]
        slots = slots[slots >= 0]
        self._clean(slots)
        self._free[self._left : self._left + len(slots)] = slots
        self._left += len(slots)
        self._first[rows] = NEVER
        self._slot[rows] = -1

    def step(self, rows: Rows, at: Times, x: Values, learn: Flags) -> Scores:
        left = _claim(rows, at, self._first, self._slot, self._free, self._left)
        if left < 0:
            self._enlarge(-left)
            left = self._left
            waiting = np.flatnonzero(self._slot == -2)
            self._slot[waiting] = self._free[left - len(waiting) : left][::-1]
            left -= len(waiting)
        self._left = left
        out = np.empty(len(rows), np.float32)
        _step(rows, at, x, learn, self._first, self._slot, self._base, self._last, self._pool, out)
        return out

    def teach(self, rows: Rows, at: Times, x: Values) -> None:
        """What these rows did at each time of day, from hourly values of their past: ``at`` int64[n] ms, ``x``
        float64[n] finite, each row's together and oldest first.

        Only the profile is taken over: how far single samples stray from it, hourly values do not tell.
        """
        if not len(rows):
            return
        begin = np.flatnonzero(np.diff(rows, prepend=-1))
        taught = rows[begin]
        self._clean(self._slot[taught][self._slot[taught] >= 0])
        self._first[taught] = at[begin]
        self.step(rows, at, x, np.ones(len(rows), np.bool_))
        slots = self._slot[taught]
        self._pool[slots[slots >= 0], SCALE:] = 0.0

    def _enlarge(self, missing: int) -> None:
        """Every slot is taken: add ``missing`` and a quarter more."""
        have = len(self._base)
        self._base = taller(self._base, have + missing)
        size = len(self._base)
        self._last = taller(self._last, size, NEVER)[:size]
        self._pool = taller(self._pool, size, np.nan)[:size]
        new = np.arange(have, size, dtype=np.int32)
        self._pool[have:, BINS:] = 0.0
        self._last[have:] = NEVER
        # Room for every slot, so that reset can always give back.
        self._free = np.concatenate([new[::-1], np.empty(have, np.int32)])
        self._left = len(new)

    def _clean(self, slots: Rows) -> None:
        self._last[slots] = NEVER
        self._pool[slots, :BINS] = np.nan
        self._pool[slots, BINS:] = 0.0

    def profiles(self) -> int:
        """How many rows have one."""
        return int(np.count_nonzero(self._slot >= 0))

    def state(self) -> State:
        return {
            "first": self._first, "slot": self._slot, "free": self._free[: self._left].copy(),
            "base": self._base, "last": self._last, "pool": self._pool,
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._first = restored(state, "first", self._first)
        self._slot = restored(state, "slot", self._slot)
        self._base = restored(state, "base", self._base)
        self._last = restored(state, "last", self._last)
        self._pool = restored(state, "pool", self._pool)
        free = restored(state, "free", self._free)
        size = len(self._base)
        if not (len(self._last) == len(self._pool) == size) or len(free) > size or len(self._first) != len(self._slot):
            raise ValueError("model state of season: its arrays differ in length")
        if np.any(self._slot >= size) or np.any((free < 0) | (free >= size)):
            raise ValueError("model state of season: a slot lies outside the pool")
        self._left = len(free)
        self._free = np.concatenate([free, np.empty(size - len(free), np.int32)])
