"""A store written down and read back goes on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.nouns import Batch
from detector.series.labels import Matcher
from detector.series.limits import Depth
from detector.series.store import Store


def filled(seed: int, steps: int) -> Store:
    """Targets come and go, some series have times of their own."""
    rng = np.random.default_rng(seed)
    store = Store(depth=Depth(default=60_000, metrics={"slow": 200_000}))
    for step in range(steps):
        go_on(store, rng, step)
    return store


def go_on(store: Store, rng: np.random.Generator, step: int) -> None:
    index, at = store.index, step * 1000
    labels = [(("__name__", name), ("n", str((step // 40 + i) % 70))) for i in range(20) for name in ("fast", "slow")]
    ids = np.array([index.intern(pair, f"target {pair[1][1][0]}") for pair in labels], np.int32)
    ids = ids[rng.random(len(ids)) < 0.9]
    times = at + np.where(ids % 7 == 0, ids, 0)
    store.accept(Batch("t", ids, times.astype(np.int64), rng.random(len(ids))))
    if step % 20 == 19:
        store.sweep(at)


def same(a: Store, b: Store) -> None:
    assert a.index.all().tolist() == b.index.all().tolist()
    for id in a.index.all().tolist():
        assert a.index.labels_of(id) == b.index.labels_of(id)
        assert a.index.target_of(id) == b.index.target_of(id)
    for matchers in ([Matcher("__name__", "=", "slow")], [Matcher("n", "=~", "1.*")], []):
        assert a.index.select(matchers).tolist() == b.index.select(matchers).tolist()
    x, y = (s.window(s.index.all(), -1, 10_000_000) for s in (a, b))
    assert x.first.tolist() == y.first.tolist()
    assert x.at.tolist() == y.at.tolist()
    assert x.value.tolist() == y.value.tolist()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 300))
def test_a_restored_store_is_the_same_and_stays_the_same(seed: int, steps: int) -> None:
    store = filled(seed, steps)
    store.types.note("fast", "counter", "how fast", "metres")
    copy = Store(depth=store.depth)
    copy.restore(store.state())
    same(store, copy)
    assert dict(copy.types.items()) == dict(store.types.items())
    for s in (store, copy):
        rng = np.random.default_rng(1)
        for step in range(steps, steps + 100):
            go_on(s, rng, step)

    # Ids that are free may be given in another order; the series are the same.
    def told(s: Store) -> dict[tuple[tuple[str, str], ...], tuple[list[int], list[float]]]:
        out = {}
        for id in s.index.all().tolist():
            at, value = s.evidence(id, -1, 10_000_000)
            out[tuple(s.index.labels_of(id).items())] = (at.tolist()[-40:], value.tolist()[-40:])
        return out

    assert told(store).keys() == told(copy).keys()


def test_arrays_that_do_not_fit_are_refused() -> None:
    store = filled(3, 50)
    state = store.state()
    for name, change in {
        "ring.newest": 1_000_000,
        "ring.blocks": 1 << 30,
        "index.keys": 99_999,
        "index.ids": 1 << 20,
        "version": 99,
    }.items():
        changed = state[name].astype(np.int64)
        changed[0] = change
        bad = {**state, name: changed}
        with pytest.raises(ValueError):
            Store().restore(bad)
    with pytest.raises(ValueError):
        Store().restore({**state, "ring.cohort": state["ring.cohort"][:-1]})


def test_another_depth_after_a_restart_is_kept() -> None:
    store = filled(5, 120)
    copy = Store(depth=Depth(default=10_000))
    copy.restore(store.state())
    for step in range(120, 160):
        go_on(copy, np.random.default_rng(2), step)
    id = int(copy.index.select([Matcher("__name__", "=", "slow")])[0])
    assert len(copy.evidence(id, -1, 1_000_000)[0]) < 60
