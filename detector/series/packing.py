"""Eight values of a column in four cells instead of eight, where they are as most series are: whole numbers that grow
or stay about a line, or all the same.

Cell 0 holds the first value's bits. Behind it lie twelve fields of 16 bits: the slope (two of them, signed), then by
how much each of the other seven values is off the line, two unused. A slope of ``SAME`` says that all eight are the
first one's bits, whatever those are. Packing is tried and unpacked again: what does not come back bit by bit is not
packed.
"""

from __future__ import annotations

import numpy as np

from detector.nouns import Times
from detector.series.compiled import compiled, i64, inlined

ROWS = 8
CELLS = 4
SAME = -(1 << 31)
MOST = 1 << 53
"""Whole numbers from here on are not exact in a double."""


@inlined
def unpacked(cells: Times, at: int, row: int) -> int:
    """The bits of value ``row`` of the column packed at ``at``."""
    slope = (cells[at + 1] << 32) >> 32
    if row == 0 or slope == SAME:
        return i64(cells[at])
    field = row + 1
    off = (cells[at + 1 + (field >> 2)] << (48 - 16 * (field & 3))) >> 48
    value = i64(np.int64(cells[at]).view(np.float64)) + slope * row + off
    return i64(np.float64(value).view(np.int64))


@compiled
def packs(cells: Times, at: int, out: Times) -> bool:
    """Pack the eight raw cells from ``at`` on into ``out[:4]``; False where that would lose anything."""
    first = cells[at]
    out[0], out[1], out[2], out[3] = first, SAME & 0xFFFFFFFF, 0, 0
    same = True
    for row in range(1, ROWS):
        same = same and cells[at + row] == first
    if same:
        return True
    start, end = np.int64(first).view(np.float64), np.int64(cells[at + ROWS - 1]).view(np.float64)
    if not (abs(start) < MOST and abs(end) < MOST):  # NaN, too
        return False
    base = i64(start)
    slope = (i64(end) - base) // (ROWS - 1)
    if abs(slope) >= 1 << 31:
        return False
    out[1] = slope & 0xFFFFFFFF
    for row in range(1, ROWS):
        value = np.int64(cells[at + row]).view(np.float64)
        if not abs(value) < MOST:
            return False
        off = i64(value) - base - slope * row
        if not -32768 <= off < 32768:
            return False
        field = row + 1
        out[1 + (field >> 2)] |= (off & 0xFFFF) << (16 * (field & 3))
    exact = True
    for row in range(ROWS):
        exact = exact and unpacked(out, 0, row) == cells[at + row]
    return exact


@inlined
def ones(word: int) -> int:
    """How many bits of a word are set."""
    x = np.uint64(word)
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return i64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
