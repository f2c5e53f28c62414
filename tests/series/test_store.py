"""The store keeps and answers what a dictionary of lists would, whatever the order of arrival."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.nouns import Batch
from detector.series.blocks import ABSENT, STALE_BITS
from detector.series.limits import Depth
from detector.series.store import Accepted, Store

STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]


def batch(*samples: tuple[int, int, float]) -> Batch:
    ids, at, value = zip(*samples, strict=True) if samples else ((), (), ())
    return Batch("test", np.array(ids, np.int32), np.array(at, np.int64), np.array(value, np.float64))


def series(store: Store, n: int, target: str = "t", name: str = "m") -> list[int]:
    return [store.index.intern((("__name__", name), ("n", f"{target}-{i}")), target) for i in range(n)]


class Plain:
    """The reference: a list of samples per series, by Prometheus's rules."""

    def __init__(self) -> None:
        self.samples: dict[int, list[tuple[int, int]]] = {}

    def accept(self, id: int, at: int, value: float) -> str:
        bits = struct.unpack("<q", struct.pack("<d", value))[0]
        have = self.samples.setdefault(id, [])
        if have and at < have[-1][0]:
            return "out-of-order"
        if have and at == have[-1][0]:
            return "repeated" if have[-1][1] == bits else "duplicate-timestamp"
        have.append((at, bits))
        return "stored"

    def window(self, id: int, start: int, end: int) -> list[tuple[int, int]]:
        return [(t, b) for t, b in self.samples.get(id, []) if start < t <= end and b != STALE_BITS]

    def latest(self, id: int, at: int, lookback: int) -> tuple[int, int] | None:
        inside = [(t, b) for t, b in self.samples.get(id, []) if at - lookback < t <= at]
        return inside[-1] if inside and inside[-1][1] != STALE_BITS else None


values = st.sampled_from([0.0, 1.0, 2.5, math.nan, math.inf, -0.0, STALE])


def check(store: Store, plain: Plain, ids: list[int], spans: list[tuple[int, int]]) -> None:
    for start, end in spans:
        window = store.window(np.array(ids, np.int32), start, end)
        bits = window.value.view(np.int64)
        times, newest = store.latest(np.array(ids, np.int32), end, max(end - start, 1))
        for i, id in enumerate(ids):
            part = slice(int(window.first[i]), int(window.first[i + 1]))
            found = list(zip(window.at[part].tolist(), bits[part].tolist(), strict=True))
            assert found == plain.window(id, start, end)
            expected = plain.latest(id, end, max(end - start, 1))
            if expected is None:
                assert times[i] == -1
                assert math.isnan(newest[i])
            else:
                assert (times[i], newest.view(np.int64)[i]) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_arrival_is_stored_and_answered_as_by_a_plain_list(data: st.DataObject) -> None:
    store, plain = Store(evict=data.draw(st.booleans()), depth=Depth(default=10_000)), Plain()
    ids = series(store, 5) + series(store, 3, "u")
    sample = st.tuples(st.sampled_from(ids), st.integers(0, 60), values)
    for samples in data.draw(st.lists(st.lists(sample, max_size=30), max_size=8)):
        arrived = batch(*samples)
        said = [plain.accept(*s) for s in samples]
        accepted = store.accept(arrived)
        assert accepted.kept.tolist() == [s == "stored" for s in said]
        assert accepted.stored == said.count("stored")
        assert accepted.repeated == said.count("repeated")
        reasons = {"out-of-order", "duplicate-timestamp"}
        assert accepted.rejected == {r: said.count(r) for r in reasons if said.count(r)}
    check(store, plain, ids, [(-1, 100), (10, 40), (5, 6), (59, 60), (60, 60)])


def test_long_series_whose_columns_arrive_apart_and_late() -> None:
    """Shards of a sender run up to forty scrapes apart; rows appear in any order, each series in its own."""
    rng = np.random.default_rng(5)
    store, plain = Store(evict=False), Plain()
    ids = series(store, 70)
    done = dict.fromkeys(ids, 0)
    scraped = {id: sorted(rng.choice(300, 250, replace=False).tolist()) for id in ids}
    while done:
        part = []
        for id in rng.permutation(list(done))[:20].tolist():
            for _ in range(int(rng.integers(1, 40))):
                if done[id] == 250:
                    del done[id]
                    break
                part.append((id, 15_000 * scraped[id][done[id]], float(rng.random())))
                done[id] += 1
        for s in part:
            assert plain.accept(*s) == "stored"
        assert store.accept(batch(*part)).stored == len(part)
    check(store, plain, ids, [(-1, 10_000_000), (150_000, 2_000_000), (15_000 * 299 - 1, 15_000 * 299)])


def test_series_of_one_target_with_times_of_their_own_do_not_blow_up() -> None:
    store, plain = Store(evict=False), Plain()
    ids = series(store, 200)
    for step in range(150):
        part = [(id, step * 15_000 + 7 * k, float(step)) for k, id in enumerate(ids)]
        for s in part:
            plain.accept(*s)
        assert store.accept(batch(*part)).stored == len(part)
    check(store, plain, ids, [(-1, 10_000_000), (150_000, 1_000_000)])
    # A time, a value, and as much again for the first rows, before the shape was known.
    assert store.memory()["samples"] < 200 * 150 * 8 * 6


def test_the_ring_forgets_what_is_older_than_its_span_and_no_more() -> None:
    store = Store(depth=Depth(default=60_000, metrics={"long": 300_000}))
    short, long = series(store, 1)[0], series(store, 1, name="long")[0]
    for t in range(0, 1_000_000, 1000):
        store.accept(batch((short, t, 1.0), (long, t, 1.0)))
    for id, span in ((short, 60_000), (long, 300_000)):
        at, _ = store.evidence(id, -1, 1_000_000)
        assert span // 1000 + 1 <= len(at) <= span // 1000 + 34
    assert store.accept(batch((short, 100, 1.0))).rejected == {"out-of-order": 1}


def test_a_new_series_older_than_its_cohorts_ring_is_too_old() -> None:
    store = Store(depth=Depth(default=60_000))
    a, b = series(store, 2)
    store.accept(batch((a, 1_000_000, 1.0)))
    store.accept(batch((a, 1_001_000, 1.0), (b, 1_001_000, 1.0)))
    c = store.index.intern((("__name__", "m"), ("n", "c")), "t")
    store.accept(batch((c, 5_000, 1.0)))
    assert store.accept(batch((c, 6_000, 1.0))).rejected == {"too-old": 1}


def test_depth_changes_on_reload_and_samples_stay() -> None:
    store = Store(depth=Depth(default=60_000))
    ids = series(store, 3) + series(store, 2, name="long")
    for t in range(0, 50_000, 1000):
        store.accept(batch(*[(id, t, float(t)) for id in ids]))
    store.set_depth(Depth(default=60_000, metrics={"long": 3_600_000}))
    for t in range(50_000, 500_000, 1000):
        store.accept(batch(*[(id, t, float(t)) for id in ids]))
    assert len(store.evidence(ids[0], -1, 500_000)[0]) < 100
    at, value = store.evidence(ids[4], -1, 500_000)
    assert at.tolist() == list(range(0, 500_000, 1000)) == value.astype(int).tolist()
    store.set_depth(Depth(default=30_000))
    store.accept(batch(*[(id, t, 0.0) for id in ids for t in range(500_000, 540_000, 1000)]))
    assert len(store.evidence(ids[4], -1, 600_000)[0]) < 70


def test_hostile_batches_are_refused_sample_by_sample() -> None:
    store = Store()
    (a,) = series(store, 1)
    bits = np.array([ABSENT], np.int64).view(np.float64)[0]
    accepted = store.accept(
        batch((a, 5, 1.0), (99, 6, 1.0), (-7, 6, 1.0), (a, -(1 << 63), 1.0), (a, (1 << 63) - 1, 1.0), (a, 7, bits))
    )
    assert accepted.kept.tolist() == [True, False, False, False, False, True]
    assert accepted.rejected == {"unknown-series": 2, "bad-timestamp": 1, "too-far-in-future": 1}
    assert len(accepted.first) == 4
    assert 'm{n="t-0"} at' in accepted.first[2]
    at, value = store.evidence(a, 0, 10)
    assert at.tolist() == [5, 7]
    assert math.isnan(value[1])
    with pytest.raises(IndexError):
        store.window(np.array([5], np.int32), 0, 1)


def test_late_samples_are_kept_and_counted() -> None:
    store = Store()
    (a,) = series(store, 1)
    assert store.accept(batch((a, 5, 1.0), (a, 15, 1.0)), event_time=10).late == 1
    assert store.accept(batch((a, 900, 1.0)), not_after=800).rejected == {"too-far-in-future": 1}


def test_nothing_in_nothing_out() -> None:
    store = Store()
    accepted = store.accept(batch())
    assert isinstance(accepted, Accepted)
    assert accepted.stored == 0
    empty = np.empty(0, np.int32)
    assert store.window(empty, 0, 10).first.tolist() == [0]
    assert len(store.latest(empty, 10)[0]) == 0
    assert len(store.sweep(10)) == 0


def test_released_ids_start_afresh() -> None:
    store = Store(depth=Depth(default=60_000))
    a, b = series(store, 2)
    store.accept(batch((a, 1000, 1.0), (b, 1000, 1.0)))
    for t in range(2000, 90_000, 1000):
        store.accept(batch((b, t, 1.0)))
    assert store.sweep(90_000).tolist() == [a]
    c = store.index.intern((("__name__", "m"), ("n", "c")), "t")
    assert c == a
    assert len(store.evidence(c, -1, 100_000)[0]) == 0
    assert store.accept(batch((c, 90_000, 3.0))).stored == 1
    assert store.evidence(c, -1, 100_000)[1].tolist() == [3.0]


def test_a_series_that_never_got_a_sample_is_released_at_the_second_sweep() -> None:
    store = Store()
    series(store, 1)
    assert len(store.sweep(0)) == 0
    assert store.sweep(0).tolist() == [0]
    assert store.series_count == 0
