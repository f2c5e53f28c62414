"""Texts already understood: the exact bytes that described a series, to its id.

Open addressing over one arena of bytes, in arrays that kernels read. An entry is trusted only when its bytes are equal
and its id was not released since. An entry may also say that the text names no series (``id < 0``).
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids
from detector.series.compiled import compiled, hash_bytes, i64, inlined, same_bytes

Bytes = npt.NDArray[np.uint8]
MOST_NAMELESS = 10_000
MOST_PROBES = 64
"""Whoever probes longer gives up: texts made to collide cost their sender a miss, nobody a stall."""


BEGIN, SIZE, TAIL, SHARED, ID, RELEASES, FOLLOWER = range(7)
"""Of an entry: where its text begins in the arena and how long it is; where its last bytes lie and how many those are,
if another entry's text ends with them too; its id and the id's releases; the entry that came after it."""


class Entries(NamedTuple):
    """``table``: slot to entry, or -1; ``rows`` int32[entries, 7]; ``used``: entries, bytes of the arena.

    Few arrays, so that the compiler sees that kernels need not count references to them.
    """

    table: Ids
    rows: npt.NDArray[np.int32]
    arena: Bytes
    used: npt.NDArray[np.int64]


@inlined
def look_up(entries: Entries, data: Bytes, at: int, end: int, seed: np.uint64, hint: int) -> int:
    """The entry of ``data[at:end]``, or -1; ``hint`` is an entry to try first, or -1."""
    n = end - at
    mask = len(entries.table) - 1
    entry, slot = i64(hint), i64(0)
    for probe in range(MOST_PROBES + 1):
        if entry >= 0 and entries.rows[entry, SIZE] == n:
            shared = i64(entries.rows[entry, SHARED])
            head, begin, tail = n - shared, i64(entries.rows[entry, BEGIN]), i64(entries.rows[entry, TAIL])
            if same_bytes(entries.arena, begin, data, at, head) and same_bytes(
                entries.arena, tail, data, at + head, shared
            ):
                return entry
        slot = (slot + 1) & mask if probe else i64(hash_bytes(data, at, end, seed) & np.uint64(mask))
        entry = i64(entries.table[slot])
        if entry < 0:
            return -1
    return -1


@compiled
def append(entries: Entries, data: Bytes, n: int, seed: np.uint64) -> int:
    """A new entry for ``data[:n]``, for which there is room; -1 after too many probes.

    Neighbours mostly differ in the metric's name and end alike: where half of the text or more is the end of the
    entry before, it is not kept again.
    """
    entry, used = entries.used[0], entries.used[1]
    mask = len(entries.table) - 1
    slot = i64(hash_bytes(data, 0, n, seed) & np.uint64(mask))
    probes = 0
    while entries.table[slot] >= 0:
        slot = (slot + 1) & mask
        probes += 1
        if probes == MOST_PROBES:
            return -1
    shared, stop = i64(0), i64(0)
    if entry > 0:
        before = entry - 1
        piece = i64(entries.rows[before, SHARED]) or i64(entries.rows[before, SIZE])
        stop = piece + (entries.rows[before, TAIL] if entries.rows[before, SHARED] else entries.rows[before, BEGIN])
        while shared < min(piece, n) and entries.arena[stop - 1 - shared] == data[n - 1 - shared]:
            shared += 1
        if 2 * shared < n:
            shared = 0
    for i in range(n - shared):
        entries.arena[used + i] = data[i]
    entries.table[slot] = entry
    entries.rows[entry, BEGIN], entries.rows[entry, SIZE] = used, n
    entries.rows[entry, TAIL], entries.rows[entry, SHARED] = stop - shared, shared
    entries.rows[entry, FOLLOWER] = -1
    entries.used[0], entries.used[1] = entry + 1, used + n - shared
    return i64(entry)


@compiled
def rebuild(old: Entries, new: Entries, releases: Ids, nameless: bool, seed: np.uint64) -> None:
    """Copy the entries whose id still stands to ``new``, empty and large enough; ``nameless`` ones too, if wanted."""
    text = np.empty(max(i64(1), i64(old.rows[:, SIZE].max())), np.uint8)
    for entry in range(old.used[0]):
        id = old.rows[entry, ID]
        if (id < 0 and not nameless) or (id >= 0 and releases[id] != old.rows[entry, RELEASES]):
            continue
        n, shared = i64(old.rows[entry, SIZE]), i64(old.rows[entry, SHARED])
        for i in range(n - shared):
            text[i] = old.arena[old.rows[entry, BEGIN] + i]
        for i in range(shared):
            text[n - shared + i] = old.arena[old.rows[entry, TAIL] + i]
        place = append(new, text, n, seed)
        if place >= 0:
            new.rows[place, ID] = id
            new.rows[place, RELEASES] = old.rows[entry, RELEASES]


def new_entries(count: int, arena: int) -> Entries:
    slots = 1 << max(8, (2 * count - 1).bit_length())
    rows = np.zeros((count, 7), np.int32)
    return Entries(np.full(slots, -1, np.int32), rows, np.zeros(arena, np.uint8), np.zeros(2, np.int64))


class TextCache:
    """Bytes to series id, bounded by ``most_bytes`` of text; what no longer fits is understood anew each time."""

    def __init__(self, most_bytes: int = 1 << 30) -> None:
        self.seed = np.uint64(secrets.randbits(63))
        self.entries = new_entries(64, 4096)
        self._most_bytes = most_bytes

    def put(self, text: bytes | memoryview, id: int, releases: Ids) -> None:
        """``text`` names series ``id`` (or, below 0, none); ``releases`` int32 by id, as in the index."""
        data = np.frombuffer(text, np.uint8)
        found = look_up(self.entries, data, 0, len(data), self.seed, -1)
        if found < 0:
            found = self._add(data, releases)
        if found >= 0:
            self.entries.rows[found, ID] = id
            self.entries.rows[found, RELEASES] = releases[id] if id >= 0 else 0

    def _add(self, data: Bytes, releases: Ids) -> int:
        entries = self.entries
        count, used = entries.used.tolist()
        if count == len(entries.rows) or used + len(data) > len(entries.arena):
            self._make_room(len(data), releases)
            entries = self.entries
            if entries.used[1] + len(data) > len(entries.arena):
                return -1
        return append(entries, data, len(data), self.seed)

    def _make_room(self, need: int, releases: Ids) -> None:
        """Drop what is dead; grow by an eighth where most is alive, or shrink."""
        old = self.entries
        n = int(old.used[0])
        ids = old.rows[:n, ID]
        alive = ids >= 0
        alive[alive] = releases[ids[alive]] == old.rows[:n, RELEASES][alive]
        # Comments and dropped series are as good as others, unless somebody makes ever new ones up.
        nameless = int((ids < 0).sum()) <= MOST_NAMELESS + 2 * int(alive.sum())
        alive |= (ids < 0) & nameless
        count, size = int(alive.sum()), int(old.rows[:n, SIZE][alive].sum())
        room = min(size + (size >> 3) + need + 4096, self._most_bytes)
        if size + need > room:
            count, size, room, nameless = 0, 0, need + 4096, False
            old.used[0] = 0
        self.entries = new_entries(count + (count >> 3) + 64, room)
        rebuild(old, self.entries, releases, nameless, self.seed)

    def bytes(self) -> int:
        """Memory in use: what of the arena was never written is not there."""
        return sum(array.nbytes for array in self.entries) - len(self.entries.arena) + int(self.entries.used[1])
