"""Cohorts: series that share their timestamps, kept in small blocks of one pool (:mod:`blocks`).

A cohort is a doubly linked list of blocks, oldest to newest, with rows in strict order of time over the whole list. So
a ring grows lazily, sheds its oldest block, widens at its newest and takes a late row in its middle, all without moving
more than one block; an arriving scrape touches only the newest blocks, which the processor's cache holds. Full blocks
behind the newest are sealed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times
from detector.series import packing
from detector.series.blocks import (
    ABSENT,
    FULL_ROWS,
    NEWER,
    NO_ROOM,
    OLDER,
    PLAIN_NAN,
    ROWS,
    STALE_BITS,
    USED,
    WIDEST,
    WIDTH,
    YOUNG_ROWS,
    Ring,
    allocate,
    base_of,
    blank_column,
    blank_row,
    cell_of,
    column_of,
    copy_row,
    dispose,
    last_time,
    link_after,
    rows_up_to,
    seal,
    unsealed,
    value_at,
)
from detector.series.compiled import compiled, i64, inlined

NEVER = -(1 << 62)
STORED, SAME, DUPLICATE, OUT_OF_ORDER, TOO_OLD, BAD_TIME, FUTURE, UNKNOWN = range(8)
OLD = -2


@compiled
def shed(ring: Ring, cohort: int, horizon: int) -> None:
    """Free the blocks that lie wholly before ``horizon``."""
    block = ring.oldest[cohort]
    while block >= 0 and last_time(ring, block) < horizon:
        after = ring.blocks[block, NEWER]
        dispose(ring, cohort, block)
        block = after


@compiled
def widened(ring: Ring, cohort: int, block: int) -> int:
    """A block wide enough for all of the cohort's columns in the place of ``block``; NO_ROOM, and nothing done."""
    # A quarter to spare, so that columns that trickle in do not copy the block each time.
    want = min(WIDEST, max(ring.columns[cohort], ring.blocks[block, WIDTH] + ring.blocks[block, WIDTH] // 4))
    wide = allocate(ring, ring.blocks[block, ROWS], want)
    if wide == NO_ROOM:
        return NO_ROOM
    for row in range(ring.blocks[block, USED]):
        copy_row(ring, block, row, wide, row)
    ring.blocks[wide, USED] = ring.blocks[block, USED]
    link_after(ring, cohort, wide, block)
    dispose(ring, cohort, block)
    return wide


@compiled
def append_row(ring: Ring, cohort: int, at: int) -> tuple[int, int]:
    """A blank row behind all others: (block, row), or (NO_ROOM, 0)."""
    block = i64(ring.newest[cohort])
    if (
        block < 0
        or ring.blocks[block, USED] == ring.blocks[block, ROWS]
        or ring.blocks[block, WIDTH] < ring.columns[cohort]
    ):
        shed(ring, cohort, at - ring.span[cohort])
        block = i64(ring.newest[cohort])
        if block >= 0 and ring.blocks[block, USED] < ring.blocks[block, ROWS]:
            block = widened(ring, cohort, block)
            if block == NO_ROOM:
                return NO_ROOM, 0
        else:
            fresh = allocate(ring, YOUNG_ROWS if block < 0 else FULL_ROWS, ring.columns[cohort])
            if fresh == NO_ROOM:
                return NO_ROOM, 0
            link_after(ring, cohort, fresh, block)
            if block >= 0 and ring.blocks[block, USED] == packing.ROWS and ring.blocks[block, ROWS] == packing.ROWS:
                seal(ring, cohort, block)
            block = fresh
    row = i64(ring.blocks[block, USED])
    blank_row(ring, block, row, at)
    ring.blocks[block, USED] += 1
    ring.added_rows[cohort] += 1
    return block, row


@compiled
def insert_row(ring: Ring, cohort: int, block: int, row: int, at: int) -> tuple[int, int]:
    """A blank row before row ``row`` of ``block``: (block, row), or (NO_ROOM, 0)."""
    block = unsealed(ring, cohort, block)
    if block == NO_ROOM:
        return NO_ROOM, 0
    if ring.blocks[block, USED] == ring.blocks[block, ROWS]:
        half = i64(ring.blocks[block, ROWS]) // 2
        fresh = allocate(ring, ring.blocks[block, ROWS], ring.blocks[block, WIDTH])
        if fresh == NO_ROOM:
            return NO_ROOM, 0
        for i in range(half, ring.blocks[block, ROWS]):
            copy_row(ring, block, i, fresh, i - half)
        ring.blocks[fresh, USED] = ring.blocks[block, ROWS] - half
        ring.blocks[block, USED] = half
        link_after(ring, cohort, fresh, block)
        if row > half:
            block, row = fresh, row - half
    for i in range(i64(ring.blocks[block, USED]) - 1, row - 1, -1):
        copy_row(ring, block, i, block, i + 1)
    ring.blocks[block, USED] += 1
    blank_row(ring, block, row, at)
    ring.added_rows[cohort] += 1
    return block, row


@inlined
def find_row(ring: Ring, cohort: int, at: int) -> tuple[int, int]:
    """(block, row) of the row at ``at``; (-1, 0) where there is none."""
    block = i64(ring.newest[cohort])
    while block >= 0 and ring.cells[base_of(ring, block)] > at:
        block = i64(ring.blocks[block, OLDER])
    if block >= 0:
        row = rows_up_to(ring, block, at) - 1
        if row >= 0 and ring.cells[base_of(ring, block) + row] == at:
            return block, row
    return -1, 0


@compiled
def having_row(ring: Ring, cohorts: Ids, at: int) -> npt.NDArray[np.bool_]:
    """bool[cohorts]: which have a row at ``at``."""
    out = np.zeros(len(cohorts), np.bool_)
    for i in range(len(cohorts)):
        out[i] = find_row(ring, cohorts[i], at)[0] >= 0
    return out


@inlined
def row_for(ring: Ring, cohort: int, at: int) -> tuple[int, int]:
    """(block, row) of the row at ``at``, made where there is none; (NO_ROOM, 0), or (OLD, 0) beyond the ring's span."""
    block = i64(ring.newest[cohort])
    if block < 0:
        return append_row(ring, cohort, at)
    newest = last_time(ring, block)
    if at == newest:
        return block, i64(ring.blocks[block, USED]) - 1
    if at > newest:
        return append_row(ring, cohort, at)
    if at < newest - ring.span[cohort]:
        return OLD, 0
    while ring.cells[base_of(ring, block)] > at and ring.blocks[block, OLDER] >= 0:
        block = i64(ring.blocks[block, OLDER])
    row = rows_up_to(ring, block, at)
    if row > 0 and ring.cells[base_of(ring, block) + row - 1] == at:
        return block, row - 1
    return insert_row(ring, cohort, block, row, at)


@compiled
def store_samples(
    ring: Ring, series: Ids, at: Times, bits: Times, first: int, not_after: int, status: npt.NDArray[np.uint8]
) -> int:
    """Store samples ``first`` and on; ``status`` says what became of each. Returns how far it came without more room.

    Every id is below ``len(ring.cohort)``; one without a cohort is UNKNOWN. Prometheus's rules: older than the series'
    newest is out of order, the same time again is dropped when the bits are the same, else a duplicate.
    """
    for i in range(first, len(series)):
        id, t, b = series[i], at[i], bits[i]
        cohort = i64(ring.cohort[id])
        if cohort < 0:
            status[i] = UNKNOWN
            continue
        if t > not_after:
            status[i] = FUTURE
            continue
        if b == ABSENT:
            b = PLAIN_NAN
        column = ring.column[id]
        if t <= ring.last[id]:
            status[i] = OUT_OF_ORDER
            if t == ring.last[id]:
                block, row = find_row(ring, cohort, t)
                status[i] = DUPLICATE
                if block >= 0 and column < ring.blocks[block, WIDTH] and value_at(ring, block, row, column) == b:
                    status[i] = SAME
            continue
        block, row = row_for(ring, cohort, t)
        if block == OLD:
            status[i] = TOO_OLD
            continue
        if block >= 0:
            block = unsealed(ring, cohort, block)
        if block >= 0 and column >= ring.blocks[block, WIDTH]:
            block = widened(ring, cohort, block)
        if block < 0:
            return i
        ring.cells[cell_of(ring, block, row, column)] = b
        ring.last[id] = t
        ring.added_samples[cohort] += 1
        status[i] = STORED
    return len(series)


@compiled
def newest_samples(ring: Ring, ids: Ids, at: int, lookback: int, times: Times, bits: Times) -> None:
    """The newest sample of every id in (at - lookback, at]; time -1 and ABSENT where there is none or it is stale."""
    for i in range(len(ids)):
        times[i] = -1
        bits[i] = ABSENT
        cohort = ring.cohort[ids[i]]
        if cohort < 0:
            continue
        column = ring.column[ids[i]]
        block = i64(ring.newest[cohort])
        found = False
        while block >= 0 and not found:
            if ring.cells[base_of(ring, block)] <= at:
                row = rows_up_to(ring, block, at) - 1
                while row >= 0 and not found:
                    t = ring.cells[base_of(ring, block) + row]
                    if t <= at - lookback:
                        found = True
                    elif column < ring.blocks[block, WIDTH]:
                        b = value_at(ring, block, row, column)
                        if b != ABSENT:
                            found = True
                            if b != STALE_BITS:
                                times[i] = t
                                bits[i] = b
                    row -= 1
            block = i64(ring.blocks[block, OLDER])


@compiled
def first_block(ring: Ring, cohort: int, start: int) -> int:
    """The oldest block with a row after ``start``, or -1."""
    block = i64(ring.newest[cohort])
    found = i64(-1)
    while block >= 0 and last_time(ring, block) > start:
        found = block
        block = i64(ring.blocks[block, OLDER])
    return found


@compiled
def count_rows(ring: Ring, ids: Ids, start: int, end: int, first: Times, blocks: Times) -> None:
    """``first`` int64[n + 1]: rows in (start, end] of the ids' cohorts, summed; ``blocks``: where they begin."""
    known = i64(-1)
    rows = i64(0)
    begin = i64(-1)
    first[0] = 0
    for i in range(len(ids)):
        cohort = i64(ring.cohort[ids[i]])
        if cohort != known:
            known, rows, begin = cohort, i64(0), i64(-1)
            if cohort >= 0:
                begin = first_block(ring, cohort, start)
            block = begin
            while block >= 0 and ring.cells[base_of(ring, block)] <= end:
                rows += rows_up_to(ring, block, end) - rows_up_to(ring, block, start)
                block = i64(ring.blocks[block, NEWER])
        blocks[i] = begin
        first[i + 1] = first[i] + rows


@inlined
def unpack(cells: Times, cell: int, low: int, high: int, base: int, times: Times, bits: Times, n: int) -> int:
    """Rows ``low`` to ``high`` of the column packed at ``cell`` behind the ``n`` samples that are there."""
    for row in range(low, high):
        b = packing.unpacked(cells, cell, row)
        times[n] = cells[base + row]
        bits[n] = b
        n += i64(b != ABSENT and b != STALE_BITS)
    return n


@compiled
def gather(ring: Ring, ids: Ids, start: int, end: int, first: Times, blocks: Times, times: Times, bits: Times) -> int:
    """Samples in (start, end] without stale markers, series after series; ``first`` becomes exact. Returns how many."""
    n = i64(0)
    for i in range(len(ids)):
        first[i] = n
        block = blocks[i]
        column = i64(ring.column[ids[i]])
        while block >= 0:
            base = base_of(ring, block)
            if ring.cells[base] > end:
                break
            if column < ring.blocks[block, WIDTH]:
                low, high = i64(0), i64(ring.blocks[block, USED])
                if ring.cells[base] <= start:
                    low = rows_up_to(ring, block, start)
                if ring.cells[base + high - 1] > end:
                    high = rows_up_to(ring, block, end)
                cell, packed = column_of(ring, block, column)
                if packed:
                    n = unpack(ring.cells, cell, low, high, base, times, bits, n)
                else:
                    for row in range(low, high):
                        b = ring.cells[cell + row]
                        # Written before it is known to count: the next sample takes the place otherwise.
                        times[n] = ring.cells[base + row]
                        bits[n] = b
                        n += i64(b != ABSENT and b != STALE_BITS)
            block = i64(ring.blocks[block, NEWER])
    first[len(ids)] = n
    return n


@compiled
def move_columns(ring: Ring, source: int, target: int, old: Ids, new: Ids) -> None:
    """Copy columns ``old`` of ``source`` to columns ``new`` of the empty cohort ``target``; blank them in the source.

    The caller has made room: an append cannot fail.
    """
    block = i64(ring.oldest[source])
    while block >= 0:
        for row in range(ring.blocks[block, USED]):
            to, at = i64(-1), i64(0)
            for k in range(len(old)):
                if old[k] >= ring.blocks[block, WIDTH]:
                    continue
                bits = value_at(ring, block, row, old[k])
                if bits == ABSENT:
                    continue
                if to < 0:
                    to, at = append_row(ring, target, ring.cells[base_of(ring, block) + row])
                    if to < 0:
                        return
                ring.cells[cell_of(ring, to, at, new[k])] = bits
        for k in range(len(old)):
            if old[k] < ring.blocks[block, WIDTH]:
                blank_column(ring, block, old[k])
        block = i64(ring.blocks[block, NEWER])


@compiled
def blank_columns(ring: Ring, cohort: int, columns: Ids) -> None:
    block = i64(ring.oldest[cohort])
    while block >= 0:
        for k in range(len(columns)):
            if columns[k] < ring.blocks[block, WIDTH]:
                blank_column(ring, block, columns[k])
        block = i64(ring.blocks[block, NEWER])


@compiled
def empty_cohort(ring: Ring, cohort: int) -> None:
    """Free all of its blocks."""
    while ring.oldest[cohort] >= 0:
        dispose(ring, cohort, i64(ring.oldest[cohort]))


@compiled
def shed_all(ring: Ring, cohorts: Ids, now: int) -> None:
    for cohort in cohorts:
        shed(ring, cohort, now - ring.span[cohort])
