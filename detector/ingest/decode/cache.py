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


class Entries(NamedTuple):
    """``table``: slot to entry, or -1; per entry its text in ``arena``, its id, the id's releases, what came after."""

    table: Ids
    begin: npt.NDArray[np.int64]
    size: Ids
    id: Ids
    releases: Ids
    follower: Ids
    arena: Bytes
    used: npt.NDArray[np.int64]


@inlined
def look_up(entries: Entries, data: Bytes, at: int, end: int, seed: np.uint64, hint: int) -> int:
    """The entry of ``data[at:end]``, or -1; ``hint`` is an entry to try first, or -1."""
    n = end - at
    if hint >= 0 and entries.size[hint] == n and same_bytes(entries.arena, entries.begin[hint], data, at, n):
        return hint
    mask = len(entries.table) - 1
    slot = i64(hash_bytes(data, at, end, seed) & np.uint64(mask))
    for _ in range(MOST_PROBES):
        entry = i64(entries.table[slot])
        if entry < 0:
            return -1
        if entries.size[entry] == n and same_bytes(entries.arena, entries.begin[entry], data, at, n):
            return entry
        slot = (slot + 1) & mask
    return -1


@compiled
def enter(entries: Entries, entry: int, seed: np.uint64) -> bool:
    """Put ``entry``, whose text is in the arena, into the table; False after too many probes."""
    mask = len(entries.table) - 1
    at = entries.begin[entry]
    slot = i64(hash_bytes(entries.arena, at, at + entries.size[entry], seed) & np.uint64(mask))
    for _ in range(MOST_PROBES):
        if entries.table[slot] < 0:
            entries.table[slot] = entry
            return True
        slot = (slot + 1) & mask
    return False


@compiled
def rebuild(old: Entries, new: Entries, releases: Ids, nameless: bool, seed: np.uint64) -> None:
    """Copy the entries whose id still stands to ``new``, empty and large enough; ``nameless`` ones too, if wanted."""
    count, used = i64(0), i64(0)
    for entry in range(old.used[0]):
        id = old.id[entry]
        if (id < 0 and not nameless) or (id >= 0 and releases[id] != old.releases[entry]):
            continue
        n = i64(old.size[entry])
        new.begin[count] = used
        new.size[count] = n
        for i in range(n):
            new.arena[used + i] = old.arena[old.begin[entry] + i]
        if enter(new, count, seed):
            new.id[count] = id
            new.releases[count] = old.releases[entry]
            new.follower[count] = -1
            count += 1
            used += n
    new.used[0] = count
    new.used[1] = used


def new_entries(count: int, arena: int) -> Entries:
    slots = 1 << max(8, (2 * count - 1).bit_length())
    return Entries(
        table=np.full(slots, -1, np.int32),
        begin=np.zeros(count, np.int64),
        size=np.zeros(count, np.int32),
        id=np.full(count, -1, np.int32),
        releases=np.zeros(count, np.int32),
        follower=np.full(count, -1, np.int32),
        arena=np.zeros(arena, np.uint8),
        used=np.zeros(2, np.int64),
    )


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
            self.entries.id[found] = id
            self.entries.releases[found] = releases[id] if id >= 0 else 0

    def _add(self, data: Bytes, releases: Ids) -> int:
        entries = self.entries
        count, used = int(entries.used[0]), int(entries.used[1])
        if count == len(entries.id) or used + len(data) > len(entries.arena):
            self._make_room(len(data), releases)
            entries = self.entries
            count, used = int(entries.used[0]), int(entries.used[1])
            if used + len(data) > len(entries.arena):
                return -1
        entries.begin[count], entries.size[count] = used, len(data)
        entries.follower[count] = -1
        entries.arena[used : used + len(data)] = data
        if not enter(entries, count, self.seed):
            return -1
        entries.used[0], entries.used[1] = count + 1, used + len(data)
        return count

    def _make_room(self, need: int, releases: Ids) -> None:
        """Drop what is dead; grow by an eighth where most is alive, or shrink."""
        old = self.entries
        n = int(old.used[0])
        ids = old.id[:n]
        alive = ids >= 0
        alive[alive] = releases[ids[alive]] == old.releases[:n][alive]
        # Comments and dropped series are as good as others, unless somebody makes ever new ones up.
        nameless = int((ids < 0).sum()) <= MOST_NAMELESS + 2 * int(alive.sum())
        alive |= (ids < 0) & nameless
        count, size = int(alive.sum()), int(old.size[:n][alive].sum())
        room = min(size + (size >> 3) + need + 4096, self._most_bytes)
        if size + need > room:
            count, size, room, nameless = 0, 0, need + 4096, False
            old.used[0] = 0
        self.entries = new_entries(count + (count >> 3) + 64, room)
        rebuild(old, self.entries, releases, nameless, self.seed)

    def bytes(self) -> int:
        return sum(array.nbytes for array in self.entries)
