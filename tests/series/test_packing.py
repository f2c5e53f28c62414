"""What is packed comes back bit by bit, and a store that packs answers as one that does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.nouns import Batch
from detector.series import blocks, packing
from detector.series.store import Store

WHOLE = st.integers(-(1 << 60), 1 << 60).map(float)
NEAR = st.integers(-40_000, 40_000)
ANY = st.floats(width=64, allow_nan=True, allow_infinity=True)
STALE = np.array([blocks.STALE_BITS], np.int64).view(np.float64)[0]


def lines() -> st.SearchStrategy[list[float]]:
    """Eight values along a line, more or less."""
    return st.builds(
        lambda start, slope, off: [start + slope * i + o for i, o in enumerate(off)],
        WHOLE, st.integers(-(1 << 33), 1 << 33), st.lists(NEAR, min_size=8, max_size=8),
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(lines(), st.lists(ANY, min_size=8, max_size=8), ANY.map(lambda value: [value] * 8)))
def test_what_is_packed_comes_back_bit_by_bit(values: list[float]) -> None:
    cells = np.array(values, np.float64).view(np.int64)
    out = np.zeros(packing.CELLS, np.int64)
    if packing.packs(cells, 0, out):
        assert [packing.unpacked(out, 0, row) for row in range(8)] == cells.tolist()


@pytest.mark.parametrize(
    ("values", "packs"),
    [
        (np.arange(8) * 1e6 + 1e12, True),
        (np.cumsum([100, 90, 120, 80, 100, 101, 99, 100]), True),
        (np.full(8, 0.1), True),
        (np.full(8, np.nan), True),
        (-np.arange(8) * 5.0, True),
        (np.arange(8) * 0.5, False),
        (np.array([0.0, -0.0, 0, 0, 0, 0, 0, 0]), False),
        (np.array([0, 0, 0, 1e6, 0, 0, 0, 0]), False),
        (np.arange(8) * 1e300, False),
        (np.array([1.0, 2, 3, np.nan, 5, 6, 7, 8]), False),
    ],
    ids=["counter", "uneven", "constant", "nan", "falling", "halves", "minus zero", "spike", "huge", "a gap"],
)  # fmt: skip
def test_what_packs(values: np.ndarray, packs: bool) -> None:
    cells = np.array(values, np.float64).view(np.int64)
    assert packing.packs(cells, 0, np.zeros(packing.CELLS, np.int64)) == packs


def kinds(n: int, at: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """float64[times, n]: counters, constants, whole gauges, fractions, with absent and stale samples."""
    count = len(at)
    out = np.empty((count, n))
    for k in range(n):
        match k % 4:
            case 0:
                out[:, k] = np.cumsum(dice.poisson(50, count))
            case 1:
                out[:, k] = 0.25 * k
            case 2:
                out[:, k] = dice.integers(0, 100, count)
            case _:
                out[:, k] = dice.random(count)
    out[dice.random(out.shape) < 0.02] = STALE
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(20, 70), st.integers(0, 10_000))
def test_a_store_that_seals_its_blocks_answers_with_what_it_was_given(n: int, count: int, seed: int) -> None:
    """Late rows, repeats, series that go, a restart: none of them changes a sample of the others."""
    dice = np.random.default_rng(seed)
    at = np.arange(1, count + 1) * 10_000
    values = kinds(n, at, dice)
    there = dice.random(values.shape) < 0.97
    store = Store(evict=False)
    ids = np.array([store.index.intern((("__name__", "x"), ("n", str(i))), "t") for i in range(n)], np.int32)
    late = dice.random(count) < 0.1  # this row comes for the odd series only after the next one came for the even
    pending: list[tuple[int, np.ndarray]] = []
    for row in range(count):
        mine = there[row]
        if late[row]:
            pending.append((row, mine & (np.arange(n) % 2 == 1)))
            mine = mine & (np.arange(n) % 2 == 0)
            there[row + 1 : row + 2, 1::2] = False  # the odd ones have nothing newer meanwhile
        else:
            for before, missing in pending:
                store.accept(Batch("t", ids[missing], np.full(missing.sum(), at[before]), values[before, missing]))
            pending = []
        store.accept(Batch("t", ids[mine], np.full(mine.sum(), at[row]), values[row, mine]))
    for before, missing in pending:
        store.accept(Batch("t", ids[missing], np.full(missing.sum(), at[before]), values[before, missing]))
    gone = ids[dice.random(n) < 0.2]
    store.release(gone)
    again = Store(evict=False)
    again.restore(store.state())
    for asked in (store, again):
        for k in np.flatnonzero(~np.isin(ids, gone)).tolist():
            times, got = asked.evidence(int(ids[k]), 0, 10**9)
            stored = {int(t): v for t, v in zip(times.tolist(), got.tolist(), strict=True)}
            expected = {
                int(at[row]): values[row, k]
                for row in range(count)
                if there[row, k] and np.float64(values[row, k]).view(np.int64) != blocks.STALE_BITS
            }
            assert stored == expected
            assert times.tolist() == sorted(times.tolist())


def test_counters_take_far_fewer_cells_than_they_have_samples() -> None:
    store = Store(evict=False)
    ids = np.array(
        [store.index.intern((("__name__", "c"), ("n", str(i))), f"t{i // 50}") for i in range(1000)], np.int32
    )
    for row in range(280):
        store.accept(Batch("t", ids, np.full(1000, (row + 1) * 15_000), np.full(1000, row * 100.0)))
    assert store.memory()["samples"] < 0.75 * 280 * 8 * 1000
