"""Cohorts: series that share their timestamps, kept in small blocks of one pool.

A cohort is a doubly linked list of blocks, oldest to newest. A block holds up to ``rows`` rows in
``rows * (width + 1)`` cells of the pool: first the timestamps, then column after column the value bits of every
row, :data:`ABSENT` where a series has no sample. A full block behind the newest is *sealed*: between times and columns
lies a bit per column, set where the column is packed (:mod:`packing`) into half its cells.

Rows are in strict order of time over the whole list. So a ring grows lazily, sheds its oldest block, widens at its
newest and takes a late row in its middle, all without moving more than one block; an arriving scrape touches only the
newest blocks, which the processor's cache holds, and a window of one series reads eight samples from each cache line.

Everything is arrays in :class:`Ring`, so that one kernel serves all cohorts in one pass. Kernels never allocate pool
or block numbers beyond what is there: they stop, say so, and are called again after :mod:`detector.series.store` has
made room.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times
from detector.series import packing
from detector.series.compiled import compiled, i64, inlined

ABSENT = 0x7FF4000000000A11
"""Bits of a cell without a sample: a NaN that no arithmetic makes; arriving, it becomes the plain NaN."""
PLAIN_NAN = 0x7FF8000000000001
STALE_BITS = 0x7FF0000000000002
NEVER = -(1 << 62)

YOUNG_ROWS = 4
FULL_ROWS = 8
WIDEST = 256
"""Columns of a cohort at most: a wider target is several cohorts."""
CLASSES = 64
"""Width classes: exact or even up to 64 columns, multiples of eight above."""
MOST_CELLS = FULL_ROWS * (WIDEST + 1)
GRAIN = 8
"""Blocks own cells in multiples of it; free blocks are kept by how many."""
BARE = MOST_CELLS // GRAIN + 3
"""Free list of block numbers that own no cells."""

CELLS_USED, BLOCKS_USED = 0, 1

OFFSET, SIZE, WIDTH, ROWS, SEALED, USED, OLDER, NEWER = range(8)
"""Of a block: where its cells begin, in grains, and how many it owns; columns and rows that it has room for; 1 where it
is sealed; rows in use, -1 where it is free; its neighbours. Together they are half a cache line."""
FIELDS = 8

STORED, SAME, DUPLICATE, OUT_OF_ORDER, TOO_OLD, BAD_TIME, FUTURE, UNKNOWN = range(8)
NO_ROOM = -1
OLD = -2


class Ring(NamedTuple):
    """Pool, blocks (int32[blocks, FIELDS]), cohorts, series, free lists (BARE + 1) and counts (2).

    Few arrays, so that the compiler sees that kernels need not count references to them.
    """

    cells: Times
    blocks: Ids
    oldest: Ids
    newest: Ids
    columns: Ids
    span: Times
    added_rows: Times
    added_samples: Times
    cohort: Ids
    column: Ids
    last: Times
    free: Ids
    counts: Times


@compiled
def width_class(width: int) -> int:
    """Class of the narrowest block with room for ``width`` columns, 1 <= width <= WIDEST."""
    if width <= 1:
        return 0
    if width <= 64:
        return (width + 1) // 2
    return 32 + (width - 64 + 7) // 8


@compiled
def class_width(k: int) -> int:
    """Columns of a block of class ``k``."""
    if k == 0:
        return 1
    if k <= 32:
        return 2 * k
    return 64 + 8 * (k - 32)


@compiled
def allocate(ring: Ring, rows: int, width: int) -> int:
    """An empty, unlinked block; NO_ROOM when pool or block numbers do not suffice."""
    wide = class_width(width_class(width))
    block = taken(ring, rows * (wide + 1))
    if block != NO_ROOM:
        ring.blocks[block, WIDTH] = wide
        ring.blocks[block, ROWS] = rows
        ring.blocks[block, SEALED] = 0
        ring.blocks[block, USED] = 0
    return block


@compiled
def taken(ring: Ring, cells: int) -> int:
    """An unlinked block that owns at least so many cells; NO_ROOM when pool or block numbers do not suffice."""
    list_ = (cells + GRAIN - 1) // GRAIN
    block = ring.free[list_]
    if block >= 0:
        ring.free[list_] = ring.blocks[block, NEWER]
    else:
        size = list_ * GRAIN
        if ring.counts[CELLS_USED] + size > len(ring.cells):
            return NO_ROOM
        block = ring.free[BARE]
        if block >= 0:
            ring.free[BARE] = ring.blocks[block, NEWER]
        elif ring.counts[BLOCKS_USED] < len(ring.blocks):
            block = ring.counts[BLOCKS_USED]
            ring.counts[BLOCKS_USED] += 1
        else:
            return NO_ROOM
        ring.blocks[block, OFFSET] = ring.counts[CELLS_USED] // GRAIN
        ring.counts[CELLS_USED] += size
        ring.blocks[block, SIZE] = size
    ring.blocks[block, OLDER] = -1
    ring.blocks[block, NEWER] = -1
    return i64(block)


@compiled
def dispose(ring: Ring, cohort: int, block: int) -> None:
    """Take ``block`` out of its cohort's list and make it free."""
    before, after = ring.blocks[block, OLDER], ring.blocks[block, NEWER]
    if before >= 0:
        ring.blocks[before, NEWER] = after
    else:
        ring.oldest[cohort] = after
    if after >= 0:
        ring.blocks[after, OLDER] = before
    else:
        ring.newest[cohort] = before
    list_ = ring.blocks[block, SIZE] // GRAIN
    ring.blocks[block, USED] = -1
    ring.blocks[block, NEWER] = ring.free[list_]
    ring.free[list_] = block


@compiled
def link_after(ring: Ring, cohort: int, block: int, before: int) -> None:
    """Put an unlinked ``block`` behind ``before`` (-1: first of all)."""
    after = ring.blocks[before, NEWER] if before >= 0 else ring.oldest[cohort]
    ring.blocks[block, OLDER] = before
    ring.blocks[block, NEWER] = after
    if before >= 0:
        ring.blocks[before, NEWER] = block
    else:
        ring.oldest[cohort] = block
    if after >= 0:
        ring.blocks[after, OLDER] = block
    else:
        ring.newest[cohort] = block


@inlined
def base_of(ring: Ring, block: int) -> int:
    """Where a block's cells begin."""
    return i64(ring.blocks[block, OFFSET]) * GRAIN


@inlined
def last_time(ring: Ring, block: int) -> int:
    return i64(ring.cells[base_of(ring, block) + ring.blocks[block, USED] - 1])


@inlined
def cell_of(ring: Ring, block: int, row: int, column: int) -> int:
    """Index into the pool; of a block that is not sealed."""
    return i64(base_of(ring, block) + (i64(column) + 1) * ring.blocks[block, ROWS] + row)


@inlined
def rows_up_to(ring: Ring, block: int, at: int) -> int:
    """How many rows of ``block`` are at or before ``at``."""
    base = base_of(ring, block)
    low, high = 0, i64(ring.blocks[block, USED])
    while low < high:
        middle = (low + high) // 2
        if ring.cells[base + middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def column_of(ring: Ring, block: int, column: int) -> tuple[int, bool]:
    """Where a column begins, and whether it is packed."""
    base = base_of(ring, block) + ring.blocks[block, ROWS]
    if ring.blocks[block, SEALED] == 0:
        return base + i64(column) * ring.blocks[block, ROWS], False
    packed = 0
    for word in range(column >> 6):
        packed += packing.ones(ring.cells[base + word])
    bits = ring.cells[base + (column >> 6)]
    packed += packing.ones(bits & ((i64(1) << (column & 63)) - 1))
    at = base + ((i64(ring.blocks[block, WIDTH]) + 63) >> 6) + packing.ROWS * i64(column)
    return at - (packing.ROWS - packing.CELLS) * packed, bool(bits >> (column & 63) & 1)


@inlined
def value_at(ring: Ring, block: int, row: int, column: int) -> int:
    """The bits of one value, of any block."""
    at, packed = column_of(ring, block, column)
    return packing.unpacked(ring.cells, at, row) if packed else i64(ring.cells[at + row])


@compiled
def seal(ring: Ring, cohort: int, block: int) -> None:
    """Pack what packs of a full block; nothing where that is less than an eighth, or where there is no room."""
    width, base = i64(ring.blocks[block, WIDTH]), base_of(ring, block)
    columns = np.empty((width, packing.CELLS), np.int64)
    words = (width + 63) >> 6
    bits = np.zeros(words, np.int64)
    count = 0
    for column in range(width):
        if packing.packs(ring.cells, base + packing.ROWS * (column + 1), columns[column]):
            bits[column >> 6] |= i64(1) << (column & 63)
            count += 1
    saved = count * (packing.ROWS - packing.CELLS) - words
    if 8 * saved < width * packing.ROWS:
        return
    sealed = taken(ring, packing.ROWS * (width + 1) - saved)
    if sealed == NO_ROOM:
        return
    ring.blocks[sealed, WIDTH], ring.blocks[sealed, ROWS] = width, packing.ROWS
    ring.blocks[sealed, SEALED], ring.blocks[sealed, USED] = 1, packing.ROWS
    to = base_of(ring, sealed)
    for row in range(packing.ROWS):
        ring.cells[to + row] = ring.cells[base + row]
    to += packing.ROWS
    for word in range(words):
        ring.cells[to + word] = bits[word]
    to += words
    for column in range(width):
        if bits[column >> 6] >> (column & 63) & 1:
            for i in range(packing.CELLS):
                ring.cells[to + i] = columns[column, i]
            to += packing.CELLS
        else:
            for row in range(packing.ROWS):
                ring.cells[to + row] = ring.cells[base + packing.ROWS * (column + 1) + row]
            to += packing.ROWS
    link_after(ring, cohort, sealed, block)
    dispose(ring, cohort, block)


@compiled
def unsealed(ring: Ring, cohort: int, block: int) -> int:
    """A block with the same rows that can be written to, in the place of ``block``; NO_ROOM, and nothing done."""
    if ring.blocks[block, SEALED] == 0:
        return block
    plain = allocate(ring, packing.ROWS, ring.blocks[block, WIDTH])
    if plain == NO_ROOM:
        return NO_ROOM
    for row in range(packing.ROWS):
        ring.cells[base_of(ring, plain) + row] = ring.cells[base_of(ring, block) + row]
    for column in range(ring.blocks[block, WIDTH]):
        for row in range(packing.ROWS):
            ring.cells[cell_of(ring, plain, row, column)] = value_at(ring, block, row, column)
    ring.blocks[plain, USED] = packing.ROWS
    link_after(ring, cohort, plain, block)
    dispose(ring, cohort, block)
    return plain


@compiled
def blank_column(ring: Ring, block: int, column: int) -> None:
    """No sample in any row, of any block."""
    at, packed = column_of(ring, block, column)
    if packed:
        ring.cells[at], ring.cells[at + 1] = ABSENT, packing.SAME & 0xFFFFFFFF
    else:
        for row in range(ring.blocks[block, USED]):
            ring.cells[at + row] = ABSENT


@compiled
def shed(ring: Ring, cohort: int, horizon: int) -> None:
    """Free the blocks that lie wholly before ``horizon``."""
    block = ring.oldest[cohort]
    while block >= 0 and last_time(ring, block) < horizon:
        after = ring.blocks[block, NEWER]
        dispose(ring, cohort, block)
        block = after


@compiled
def copy_row(ring: Ring, source: int, row: int, target: int, to: int) -> None:
    """Row with its time into another block at least as wide; further columns become absent."""
    ring.cells[base_of(ring, target) + to] = ring.cells[base_of(ring, source) + row]
    for c in range(ring.blocks[source, WIDTH]):
        ring.cells[cell_of(ring, target, to, c)] = ring.cells[cell_of(ring, source, row, c)]
    for c in range(ring.blocks[source, WIDTH], ring.blocks[target, WIDTH]):
        ring.cells[cell_of(ring, target, to, c)] = ABSENT


@compiled
def blank_row(ring: Ring, block: int, row: int, at: int) -> None:
    ring.cells[base_of(ring, block) + row] = at
    for c in range(ring.blocks[block, WIDTH]):
        ring.cells[cell_of(ring, block, row, c)] = ABSENT


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


@compiled
def pack_pool(ring: Ring, out: Times) -> int:
    """Move the cells of every block in use to ``out``, close together; free blocks lose theirs. Cells used."""
    at = i64(0)
    ring.free[:] = -1
    for block in range(ring.counts[BLOCKS_USED]):
        if ring.blocks[block, USED] < 0:
            ring.blocks[block, NEWER] = ring.free[BARE]
            ring.free[BARE] = block
            continue
        size = i64(ring.blocks[block, SIZE])
        for i in range(size):
            out[at + i] = ring.cells[base_of(ring, block) + i]
        ring.blocks[block, OFFSET] = at // GRAIN
        at += size
    ring.counts[CELLS_USED] = at
    return at


@compiled
def sound(ring: Ring) -> bool:
    """Whether every block in use owns the cells that its columns take; for arrays that come from elsewhere."""
    for block in range(ring.counts[BLOCKS_USED]):
        if ring.blocks[block, USED] < 0:
            continue
        width, rows = i64(ring.blocks[block, WIDTH]), i64(ring.blocks[block, ROWS])
        if width < 1 or width > WIDEST or rows < 1 or rows > FULL_ROWS or ring.blocks[block, USED] > rows:
            return False
        need = rows * (width + 1)
        if ring.blocks[block, SEALED] != 0:
            words = (width + 63) >> 6
            if rows != packing.ROWS or ring.blocks[block, SIZE] < rows + words:
                return False
            need += words
            for word in range(words):
                need -= (packing.ROWS - packing.CELLS) * packing.ones(ring.cells[base_of(ring, block) + rows + word])
        if need > ring.blocks[block, SIZE]:
            return False
    return True
