"""Blocks of one pool: rows of timestamps, columns of values, in cells of eight bytes.

A block holds up to ``rows`` rows in ``rows * (width + 1)`` cells: first the timestamps, then column after column the
value bits of every row, :data:`ABSENT` where a series has no sample. A window of one series reads eight samples from a
cache line. A *sealed* block is full, and has a bit per column between times and columns, set where the column is packed
(:mod:`packing`) into half its cells; it is taken apart to be written to.

Everything is arrays in :class:`Ring`, so that one kernel serves all cohorts in one pass. Kernels never allocate pool
or block numbers beyond what is there: they stop, say so, and are called again after :mod:`detector.series.population`
has made room.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detector.nouns import Ids, Times
from detector.series import packing
from detector.series.compiled import compiled, i64, inlined

ABSENT = 0x7FF4000000000A11
"""Bits of a cell without a sample: a NaN that no arithmetic makes; arriving, it becomes the plain NaN."""
PLAIN_NAN = 0x7FF8000000000001
STALE_BITS = 0x7FF0000000000002

YOUNG_ROWS = 4
FULL_ROWS = 8
WIDEST = 256
"""Columns of a cohort at most: a wider target is several cohorts."""
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

NO_ROOM = -1


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
    """Class of the narrowest block with room for ``width`` columns, 1 <= width <= WIDEST: even up to 64, multiples of
    eight above."""
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
