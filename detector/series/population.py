"""Who lives in which cohort: admission, growth, splitting, release. The kernels of ``cohort`` do the rest.

Series of one target and span share a cohort while they share their timestamps. Where they turn out not to (fewer than
half of the cells filled), the cohort is split by the time of each series' newest sample, and the target's later
series only join a cohort that has a row at their own first time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times
from detector.series import blocks as bl
from detector.series import cohort as co
from detector.series.compiled import grown
from detector.series.labels import Index
from detector.series.limits import FOREVER, Depth

LOOK_AFTER_ROWS = 64
"""A cohort's density is looked at whenever it has gained so many rows."""
SPARSE = 0.5
POOL_STEP = 1 << 18
"""Cells (2 MiB) that the pool grows by at most: small beside the pool, and growing moves no memory."""

Key = tuple[int, int]
"""(string code of the target, span in ms)."""


def new_ring() -> bl.Ring:
    narrow, wide = np.int32, np.int64
    return bl.Ring(
        cells=np.zeros(2 * bl.MOST_CELLS, wide), blocks=np.zeros((64, bl.FIELDS), narrow),
        oldest=np.full(64, -1, narrow), newest=np.full(64, -1, narrow), columns=np.zeros(64, narrow),
        span=np.zeros(64, wide), added_rows=np.zeros(64, wide), added_samples=np.zeros(64, wide),
        cohort=np.full(64, -1, narrow), column=np.zeros(64, narrow), last=np.full(64, co.NEVER, wide),
        free=np.full(bl.BARE + 1, -1, narrow), counts=np.zeros(2, wide),
    )  # fmt: skip


class Population:
    """The cohorts of one store."""

    def __init__(self, index: Index, depth: Depth, evict: bool) -> None:
        self.index = index
        self.depth = depth
        self.evict = evict
        self.ring = new_ring()
        self.count = 0
        """Cohort numbers ever given."""
        self.members: Ids = np.zeros(64, np.int32)
        """Live series per cohort."""
        self.keys: dict[int, Key] = {}
        self.targets: dict[Key, dict[int, None]] = {}
        self.irregular: set[Key] = set()
        self._spare: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._unborn: dict[int, int] = {}

    # --- samples ---

    def store(self, series: Ids, at: Times, bits: Times, not_after: int, status: npt.NDArray[np.uint8]) -> None:
        """Store; ids are below the index's capacity, times within bounds. ``status`` uint8[n] is filled."""
        self.reserve_series()
        homeless = self.ring.cohort[series] < 0
        if homeless.any():
            homeless &= (at <= not_after) & self.index.live[series]
            self._admit(series[homeless], at[homeless])
        done = 0
        while True:
            done = co.store_samples(self.ring, series, at, bits, done, not_after, status)
            if done == len(series):
                break
            self._reserve_pool(2 * bl.MOST_CELLS)
        self._look_after()

    def _reserve_pool(self, cells: int, blocks: int = 4) -> None:
        """Room for ``cells`` more cells and ``blocks`` more block numbers."""
        ring = self.ring
        need = int(ring.counts[bl.CELLS_USED]) + cells
        if need > len(ring.cells):
            step = min(POOL_STEP, len(ring.cells) >> 2)
            # In place: no view of the pool leaves this room, and a big one is remapped, not copied.
            ring.cells.resize(max(need, len(ring.cells) + step), refcheck=False)
        need = int(ring.counts[bl.BLOCKS_USED]) + blocks
        if need > len(ring.blocks):
            self.ring = ring._replace(blocks=grown(ring.blocks, need))

    def reserve_series(self) -> None:
        need, ring = self.index.capacity, self.ring
        if need > len(ring.cohort):
            last = grown(ring.last, need, co.NEVER)
            self.ring = ring._replace(cohort=grown(ring.cohort, need, -1), column=grown(ring.column, need), last=last)

    # --- admission ---

    def _spans(self, ids: Ids) -> Times:
        """int64[ids]: how far back each ring is to reach."""
        if not self.evict:
            return np.full(len(ids), FOREVER, np.int64)
        names, where = np.unique(self.index.label_column(ids, "__name__"), return_inverse=True)
        spans = [self.depth.of(self.index.string(name)) for name in names.tolist()]
        return np.array(spans, np.int64)[where]

    def _admit(self, series: Ids, at: Times) -> None:
        """Give every id a cohort by target, span and the time of its first sample; ``at`` int64[series]."""
        ids, first = np.unique(series, return_index=True)
        if not len(ids):
            return
        groups = np.stack([self.index.targets(ids).astype(np.int64), self._spans(ids), at[first]])
        order = np.lexsort(groups[::-1])
        groups, ids = groups[:, order], ids[order]
        edges = np.flatnonzero(np.any(np.diff(groups) != 0, axis=0)) + 1
        for group, key in zip(np.split(ids, edges), groups[:, np.concatenate([[0], edges])].T.tolist(), strict=True):
            self._join(group, (key[0], key[1]), key[2])

    def _join(self, ids: Ids, key: Key, at: int) -> None:
        cohorts = list(self.targets.get(key, ()))
        if key in self.irregular and cohorts:
            numbers = np.array(cohorts, np.int32)
            cohorts = numbers[co.having_row(self.ring, numbers, at)].tolist()
        for cohort in [*cohorts, -1, *[-1] * (len(ids) // bl.WIDEST)]:
            if not len(ids):
                return
            if cohort < 0:
                cohort = self._found(key)
            columns = self._columns(cohort, len(ids))
            n = len(columns)
            self.ring.cohort[ids[:n]] = cohort
            self.ring.column[ids[:n]] = columns
            self.members[cohort] += n
            ids = ids[n:]

    def _found(self, key: Key) -> int:
        """A new cohort, empty."""
        cohort = self._free.pop() if self._free else self.count
        if cohort == self.count:
            self.count += 1
            self.members = grown(self.members, self.count)
            ring = self.ring
            if self.count > len(ring.span):
                links = {name: grown(getattr(ring, name), self.count, -1) for name in ("oldest", "newest")}
                rest = ("columns", "span", "added_rows", "added_samples")
                self.ring = ring._replace(**links, **{name: grown(getattr(ring, name), self.count) for name in rest})
        self.ring.span[cohort] = key[1]
        self.ring.columns[cohort] = 0
        self.ring.added_rows[cohort] = self.ring.added_samples[cohort] = 0
        self.members[cohort] = 0
        self.keys[cohort] = key
        self.targets.setdefault(key, {})[cohort] = None
        return cohort

    def _columns(self, cohort: int, want: int) -> list[int]:
        """Up to ``want`` free columns, those of former members first."""
        spare = self._spare.get(cohort, [])
        columns = [spare.pop() for _ in range(min(want, len(spare)))]
        if not spare:
            self._spare.pop(cohort, None)
        new = min(want - len(columns), bl.WIDEST - int(self.ring.columns[cohort]))
        start = int(self.ring.columns[cohort])
        self.ring.columns[cohort] = start + new
        return columns + list(range(start, start + new))

    # --- upkeep ---

    def _look_after(self) -> None:
        ring, n = self.ring, self.count
        due = np.flatnonzero(ring.added_rows[:n] >= LOOK_AFTER_ROWS)
        if not len(due):
            return
        sparse = ring.added_samples[due] < SPARSE * ring.added_rows[due] * self.members[due]
        ring.added_rows[due] = ring.added_samples[due] = 0
        for cohort in due[sparse & (self.members[due] > 1)].tolist():
            self._split(cohort)

    def _members_of(self, cohort: int) -> Ids:
        return np.flatnonzero(self.ring.cohort == cohort).astype(np.int32)

    def _split(self, cohort: int) -> None:
        """Series with the same newest time stay together."""
        ids = self._members_of(cohort)
        times, group, counts = np.unique(self.ring.last[ids], return_inverse=True, return_counts=True)
        if len(times) < 2:
            return
        key = self.keys[cohort]
        self.irregular.add(key)
        stay = int(np.argmax(counts))
        order = np.argsort(group, kind="stable")
        for g, part in enumerate(np.split(ids[order], np.cumsum(counts)[:-1])):
            if g != stay:
                self._move(part, cohort, key)

    def _move(self, ids: Ids, source: int, key: Key) -> None:
        """Members ``ids`` of ``source`` into a cohort of their own, with their samples."""
        target = self._found(key)
        old = self.ring.column[ids].astype(np.int32)
        new = np.array(self._columns(target, len(ids)), np.int32)
        blocks, block = 0, int(self.ring.oldest[source])
        while block >= 0:
            blocks, block = blocks + 1, int(self.ring.blocks[block, bl.NEWER])
        size = bl.FULL_ROWS * (bl.class_width(bl.width_class(len(ids))) + 1)
        # A sealed copy of each needs room for a moment as well.
        self._reserve_pool(2 * (blocks + 3) * size, 2 * (blocks + 3))
        co.move_columns(self.ring, source, target, old, new)
        self.ring.cohort[ids] = target
        self.ring.column[ids] = new
        self.members[target] += len(ids)
        self.ring.added_rows[target] = self.ring.added_samples[target] = 0
        self._leave(source, old)

    def _leave(self, cohort: int, columns: Ids) -> None:
        """``columns`` of ``cohort`` have no member any more; they are blank."""
        self.members[cohort] -= len(columns)
        if self.members[cohort]:
            self._spare.setdefault(cohort, []).extend(columns.tolist())
            return
        co.empty_cohort(self.ring, cohort)
        self._spare.pop(cohort, None)
        key = self.keys.pop(cohort)
        del self.targets[key][cohort]
        if not self.targets[key]:
            del self.targets[key]
            self.irregular.discard(key)
        self._free.append(cohort)

    def release(self, ids: Ids) -> None:
        ids = np.unique(ids)
        ids = ids[self.index.live[ids]]
        if not len(ids):
            return
        self.reserve_series()
        ring = self.ring
        order = np.argsort(ring.cohort[ids], kind="stable")
        by_cohort = ids[order]
        cohorts, starts = np.unique(ring.cohort[by_cohort], return_index=True)
        for cohort, part in zip(cohorts.tolist(), np.split(by_cohort, starts[1:]), strict=True):
            if cohort >= 0:
                columns = ring.column[part].astype(np.int32)
                if len(part) < self.members[cohort]:
                    co.blank_columns(ring, cohort, columns)
                self._leave(cohort, columns)
        ring.cohort[ids] = -1
        ring.last[ids] = co.NEVER
        self.index.release(ids)

    def sweep(self, now: int) -> Ids:
        self.index.pairs.pack()
        if not self.evict:
            return np.empty(0, np.int32)
        self.reserve_series()
        ring = self.ring
        co.shed_all(ring, np.fromiter(self.keys, np.int32, len(self.keys)), now)
        ids = self.index.all()
        homed = ring.cohort[ids] >= 0
        housed = ids[homed]
        idle = housed[ring.last[housed] <= now - ring.span[ring.cohort[housed]]]
        # Interned, but never a sample stored: gone at the second sweep that sees it so.
        unborn = {id: int(self.index.releases[id]) for id in ids[~homed].tolist()}
        void = [id for id, releases in unborn.items() if self._unborn.get(id) == releases]
        self._unborn = unborn
        idle = np.union1d(idle, np.array(void, np.int32)).astype(np.int32)
        if len(idle):
            self.release(idle)
        self._narrow()
        self._pack()
        return idle

    def _narrow(self) -> None:
        """Cohorts of which most columns are without a member move together."""
        n = self.count
        wide = (self.ring.columns[:n] > 8) & (self.members[:n] > 0) & (2 * self.members[:n] < self.ring.columns[:n])
        for cohort in np.flatnonzero(wide).tolist():
            self._move(self._members_of(cohort), cohort, self.keys[cohort])

    def _pack(self) -> None:
        """Give pool cells back when most of them are free."""
        ring = self.ring
        n = int(ring.counts[bl.BLOCKS_USED])
        live = ring.blocks[:n, bl.USED] >= 0
        cells = int(ring.blocks[:n, bl.SIZE][live].sum(dtype=np.int64))
        if len(ring.cells) > 8 * bl.MOST_CELLS and cells < 0.6 * len(ring.cells):
            out = np.zeros(cells + (cells >> 4) + 2 * bl.MOST_CELLS, np.int64)
            bl.pack_pool(ring, out)
            self.ring = ring._replace(cells=out)

    def set_depth(self, depth: Depth) -> None:
        self.depth = depth
        self.reserve_series()
        ids = self.index.all()
        ids = ids[self.ring.cohort[ids] >= 0]
        spans = self._spans(ids)
        wrong = np.unique(self.ring.cohort[ids[self.ring.span[self.ring.cohort[ids]] != spans]])
        for cohort in wrong.tolist():
            inside = self.ring.cohort[ids] == cohort
            self._respan(cohort, ids[inside], spans[inside])

    def _respan(self, cohort: int, ids: Ids, spans: Times) -> None:
        """The span that most of the members want becomes the cohort's; others move out."""
        wanted, counts = np.unique(spans, return_counts=True)
        stay = int(wanted[int(np.argmax(counts))])
        key = self.keys[cohort]
        for span in wanted.tolist():
            if span != stay:
                self._move(ids[spans == span], cohort, (key[0], span))
        del self.targets[key][cohort]
        if not self.targets[key]:
            del self.targets[key]
        self.keys[cohort] = (key[0], stay)
        self.targets.setdefault((key[0], stay), {})[cohort] = None
        self.ring.span[cohort] = stay

    def restore_lists(self, irregular: list[list[int]], spare: list[list[int]]) -> None:
        """After ``ring``, ``count`` and ``keys`` are set: everything that follows from them, and these two."""
        self.members = np.bincount(self.ring.cohort[self.ring.cohort >= 0], minlength=self.count).astype(np.int32)
        self.targets = {}
        for cohort, key in self.keys.items():
            self.targets.setdefault(key, {})[cohort] = None
        self._free = [cohort for cohort in range(self.count) if cohort not in self.keys]
        self.irregular = {(target, span) for target, span in irregular}
        self._spare = {}
        for cohort, column in spare:
            self._spare.setdefault(cohort, []).append(column)

    def bytes(self) -> dict[str, int]:
        ring = self.ring
        samples = ring.cells.nbytes
        rest = sum(array.nbytes for array in ring) - samples
        return {"samples": samples, "cohorts": rest + 400 * len(self.keys)}

    def free_columns(self) -> Sequence[tuple[int, int]]:
        """(cohort, column) of every column without a member, for the snapshot."""
        return [(cohort, column) for cohort, columns in self._spare.items() for column in columns]
