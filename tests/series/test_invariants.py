"""Whatever happens to a store, in any order: its samples are those that arrived, and its blocks are in order."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from detector.nouns import Batch
from detector.series import blocks as bl
from detector.series import cohort as co
from detector.series.limits import Depth
from detector.series.population import Population
from detector.series.store import Store

NAMES = ["fast", "slow"]


def check_blocks(population: Population) -> None:
    """Every block is in one list, lists agree in both directions, times ascend, cells do not overlap."""
    ring = population.ring
    seen: set[int] = set()
    for cohort in population.keys:
        block, before, last = int(ring.oldest[cohort]), -1, co.NEVER
        while block >= 0:
            assert block not in seen
            seen.add(block)
            assert ring.blocks[block, bl.OLDER] == before
            used, offset = int(ring.blocks[block, bl.USED]), bl.base_of(ring, block)
            assert 0 < used <= ring.blocks[block, bl.ROWS]
            times = [last, *ring.cells[offset : offset + used].tolist()]
            assert times == sorted(set(times))
            before, last, block = block, times[-1], int(ring.blocks[block, bl.NEWER])
        assert ring.newest[cohort] == before
    count = int(ring.counts[bl.BLOCKS_USED])
    free = set(np.flatnonzero(ring.blocks[:count, bl.USED] < 0).tolist())
    assert seen | free == set(range(count))
    ranges = sorted((bl.base_of(ring, b), int(ring.blocks[b, bl.SIZE])) for b in seen)
    end = 0
    for offset, size in ranges:
        assert offset >= end
        end = offset + size
    assert end <= ring.counts[bl.CELLS_USED] <= len(ring.cells)
    for cohort in population.keys:
        members = np.flatnonzero(ring.cohort == cohort)
        columns = ring.column[members].tolist()
        assert len(set(columns)) == len(columns) == population.members[cohort]
        assert max(columns) < ring.columns[cohort] <= bl.WIDEST


class Stores(RuleBasedStateMachine):
    """``told``: per label set the samples that must be there if they are young enough."""

    @initialize(evict=st.booleans())
    def begin(self, evict: bool) -> None:
        self.evict = evict
        self.store = Store(depth=Depth(default=100, metrics={"slow": 300}), evict=evict)
        self.told: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self.now = 0

    def _id(self, name: str, n: str) -> int:
        return self.store.index.intern((("__name__", name), ("n", n)), f"target {int(n) % 2}")

    @rule(
        step=st.integers(0, 30),
        jitter=st.booleans(),
        who=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 12)), min_size=1, max_size=20),
    )
    def scrape(self, step: int, jitter: bool, who: list[tuple[str, int]]) -> None:
        self.now += step
        samples = [(name, str(n), self.now - (n if jitter else 0)) for name, n in who]
        ids = np.array([self._id(name, n) for name, n, _ in samples], np.int32)
        at = np.array([at for _, _, at in samples], np.int64)
        value = at + ids / 100
        kept = self.store.accept(Batch("t", ids, at, value)).kept
        for (name, n, time), v, k in zip(samples, value.tolist(), kept.tolist(), strict=True):
            if k:
                self.told.setdefault((name, n), []).append((time, v))

    @rule()
    def sweep(self) -> None:
        alive = {tuple(self.store.index.labels_of(id).values()): id for id in self.store.index.all().tolist()}
        gone = set(self.store.sweep(self.now).tolist())
        for key, id in alive.items():
            if id in gone:
                self.told.pop(key, None)  # type: ignore[call-overload]

    @rule(default=st.sampled_from([50, 100, 400]), slow=st.sampled_from([100, 300]))
    def reload(self, default: int, slow: int) -> None:
        self.store.set_depth(Depth(default=default, metrics={"slow": slow}))

    @rule()
    def restart(self) -> None:
        fresh = Store(depth=self.store.depth, evict=self.evict)
        fresh.restore(self.store.state())
        self.store = fresh

    @rule(who=st.tuples(st.sampled_from(NAMES), st.integers(0, 12)))
    def release(self, who: tuple[str, int]) -> None:
        self.store.release(np.array([self._id(who[0], str(who[1]))], np.int32))
        self.told.pop((who[0], str(who[1])), None)

    @rule()
    def pack(self) -> None:
        population = self.store._population
        out = np.zeros(len(population.ring.cells), np.int64)
        bl.pack_pool(population.ring, out)
        population.ring = population.ring._replace(cells=out)

    @invariant()
    def blocks_are_sound(self) -> None:
        check_blocks(self.store._population)

    @invariant()
    def samples_are_those_that_arrived(self) -> None:
        ids = self.store.index.all()
        window = self.store.window(ids, -1_000, 1_000_000)
        for i, id in enumerate(ids.tolist()):
            name, n = self.store.index.labels_of(id).values()
            part = slice(int(window.first[i]), int(window.first[i + 1]))
            found = list(zip(window.at[part].tolist(), window.value[part].tolist(), strict=True))
            told = self.told.get((name, n), [])
            assert found == told[len(told) - len(found) :]
            if told:
                assert int(self.store.newest(np.array([id], np.int32))[0]) == told[-1][0]
            young = [sample for sample in told if sample[0] > self.now - 50] if self.evict else told
            assert found[len(found) - len(young) :] == young


Stores.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStores = Stores.TestCase
