"""Texts, label pairs and postings as numbers: what :class:`detector.series.labels.Index` is made of.

A *pair* is one (label name, value); its *posting* the ids of the series that carry it, unordered, in one shared
``int32`` arena. Texts and pairs are counted and vanish with the last series that uses them, so that churn leaves
memory flat. Single writer, no locks.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids
from detector.series.compiled import compiled, grown, i64

CLASSES = 32
"""Free posting blocks are kept by the power of two that their room reaches."""


class Strings:
    """Texts by code. Code 0 is the empty text; a code is valid while something that was interned uses it."""

    def __init__(self) -> None:
        self._texts: list[str] = [""]
        self.codes: dict[str, int] = {"": 0}
        """Text to code, to read."""
        self._uses = array("l", [1])
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, code: int) -> str:
        return self._texts[code]

    def code(self, text: str) -> int:
        """The text's code; -1 when nothing uses it."""
        return self.codes.get(text, -1)

    def acquire(self, text: str) -> int:
        """The text's code, one use more."""
        code = self.codes.get(text)
        if code is not None:
            self._uses[code] += 1
            return code
        if self._free:
            code = self._free.pop()
            self._texts[code] = text
            self._uses[code] = 1
        else:
            code = len(self._texts)
            self._texts.append(text)
            self._uses.append(1)
        self.codes[text] = code
        return code

    def drop(self, code: int) -> None:
        """One use less; the last frees the code."""
        if code == 0:
            return
        self._uses[code] -= 1
        if self._uses[code] == 0:
            del self.codes[self._texts[code]]
            self._texts[code] = ""
            self._free.append(code)

    def texts(self) -> list[str]:
        """By code; codes that are free hold the empty text."""
        return list(self._texts)

    def restore(self, texts: list[str], uses: npt.NDArray[np.int64]) -> None:
        """Texts by code; those without a use are free."""
        self._texts = [text if n else "" for text, n in zip(texts, uses.tolist(), strict=True)]
        self._uses = array("l", uses.tolist())
        self._uses[0] = 1
        self.codes = {text: code for code, text in enumerate(self._texts) if text}
        self.codes[""] = 0
        self._free = [code for code in range(1, len(texts)) if not self._uses[code]]

    def bytes(self) -> int:
        """Estimated memory, bytes: a dictionary entry, a list slot, a counter and the text each."""
        return sum(map(len, self._texts)) + 170 * len(self._texts)


@compiled
def _room_class(room: int) -> int:
    """The largest k with 2**k <= room."""
    k = 0
    while (2 << k) <= room:
        k += 1
    return k


@compiled
def _post(
    id: int, keys: Ids, start: Ids, size: Ids, room: Ids, ids: Ids, free: Ids, used: npt.NDArray[np.int64]
) -> bool:
    """Append ``id`` to the posting of every pair in ``keys``; False, and nothing done, when the arena may be too small.

    ``free[k]``: offset of the first free block with room for 2**k (or -1), chained through the block's first cell.
    """
    need = i64(0)
    for pair in keys:
        if size[pair] == room[pair]:
            need += max(1, 2 * i64(room[pair]))
    if used[0] + need > len(ids):
        return False
    for pair in keys:
        n = size[pair]
        if n == room[pair]:
            # Long postings, of which there are few, grow by a quarter: doubled, they would be most of the arena.
            want = max(1, 2 * n) if n < 64 else n + (n >> 2)
            k = _room_class(want)
            if (1 << k) < want:
                k += 1
            if free[k] >= 0:
                at = free[k]
                free[k] = ids[at]
                want = 1 << k
            else:
                at = used[0]
                used[0] += want
            for i in range(n):
                ids[at + i] = ids[start[pair] + i]
            if room[pair] > 0:
                old = _room_class(room[pair])
                ids[start[pair]] = free[old]
                free[old] = start[pair]
            start[pair] = at
            room[pair] = want
        ids[start[pair] + n] = id
        size[pair] = n + 1
    return True


@compiled
def _unpost(pairs: Ids, live: npt.NDArray[np.bool_], start: Ids, size: Ids, ids: Ids) -> None:
    """Drop the ids that are no longer live from the postings of ``pairs``."""
    for pair in pairs:
        kept = 0
        for i in range(size[pair]):
            id = ids[start[pair] + i]
            if live[id]:
                ids[start[pair] + kept] = id
                kept += 1
        size[pair] = kept


@compiled
def _pack(start: Ids, size: Ids, room: Ids, ids: Ids, out: Ids) -> int:
    """Move every posting into ``out`` without its spare room; how much of ``out`` is used."""
    used = 0
    for pair in range(len(start)):
        n = size[pair]
        for i in range(n):
            out[used + i] = ids[start[pair] + i]
        start[pair] = used
        room[pair] = n
        used += n
    return used


class Pairs:
    """Label pairs by number, each with its posting. ``name`` and ``value`` are string codes, int32[pairs]."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        """``name << 32 | value`` to pair, to read."""
        self._free: list[int] = []
        self.count = 0
        self.version = 0
        """Changes whenever a pair appears or vanishes: what was found by looking at all values is then stale."""
        self.name: Ids = np.zeros(64, np.int32)
        self.value: Ids = np.zeros(64, np.int32)
        self._start: Ids = np.zeros(64, np.int32)
        self.size: Ids = np.zeros(64, np.int32)
        self._room: Ids = np.zeros(64, np.int32)
        self._ids: Ids = np.zeros(1024, np.int32)
        self._blocks: Ids = np.full(CLASSES, -1, np.int32)
        self._used = np.zeros(1, np.int64)

    def code(self, name: int, value: int) -> int:
        """The pair's number, or -1."""
        return self.codes.get(name << 32 | value, -1)

    def add(self, name: int, value: int) -> int:
        """A new pair with an empty posting; its two texts are the caller's to acquire."""
        pair = self._free.pop() if self._free else self.count
        if pair == self.count:
            self.count += 1
            if self.count > len(self.name):
                for field in ("name", "value", "_start", "size", "_room"):
                    setattr(self, field, grown(getattr(self, field), self.count))
        self.codes[name << 32 | value] = pair
        self.name[pair], self.value[pair] = name, value
        self.version += 1
        return pair

    def post(self, id: int, keys: Ids) -> None:
        """Series ``id`` carries the pairs ``keys``."""
        while not _post(id, keys, self._start, self.size, self._room, self._ids, self._blocks, self._used):
            need = int(self._used[0]) + int(np.maximum(1, 2 * self._room[keys]).sum())
            self._ids = grown(self._ids, need)

    def unpost(self, pairs: Ids, live: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Drop ids that are not ``live`` from ``pairs``; (name, value) codes of the pairs that nobody carries now."""
        _unpost(pairs, live, self._start, self.size, self._ids)
        gone = []
        for pair in pairs[self.size[pairs] == 0].tolist():
            name, value = int(self.name[pair]), int(self.value[pair])
            gone.append((name, value))
            del self.codes[name << 32 | value]
            self.name[pair] = self.value[pair] = 0
            if room := int(self._room[pair]):
                k = room.bit_length() - 1
                self._ids[self._start[pair]] = self._blocks[k]
                self._blocks[k] = self._start[pair]
                self._room[pair] = 0
            self._free.append(pair)
        self.version += bool(gone)
        return gone

    def posting(self, pair: int) -> Ids:
        """The ids that carry ``pair``, unordered; a view that the next change may overwrite."""
        start = self._start[pair]
        return self._ids[start : start + self.size[pair]]

    def of_name(self, name: int) -> Ids:
        """The pairs of one label name."""
        return np.flatnonzero(self.name[: self.count] == name).astype(np.int32)

    def pack(self) -> None:
        """Give back spare room when much of the arena is spare."""
        total = int(self.size[: self.count].sum())
        if len(self._ids) <= 1024 or total > 0.6 * len(self._ids):
            return
        out = np.zeros(total + (total >> 2) + 64, np.int32)
        n = self.count
        self._used[0] = _pack(self._start[:n], self.size[:n], self._room[:n], self._ids, out)
        self._ids = out
        self._blocks[:] = -1

    def restore(self, name: Ids, value: Ids, ids: Ids, keys: Ids) -> None:
        """Pairs by number (name 0: free); ``ids[i]`` carries pair ``keys[i]``."""
        n = self.count = len(name)
        self.name, self.value = name.copy(), value.copy()
        self.size = np.bincount(keys, minlength=n).astype(np.int32)
        self._room = self.size.copy()
        self._start = (np.cumsum(self.size) - self.size).astype(np.int32)
        self._ids = ids[np.argsort(keys, kind="stable")].astype(np.int32)
        self._used[0] = len(self._ids)
        self._blocks[:] = -1
        numbers = enumerate(zip(name.tolist(), value.tolist(), strict=True))
        self.codes = {a << 32 | b: pair for pair, (a, b) in numbers if a}
        self._free = np.flatnonzero(name == 0).tolist()
        self.version += 1

    def bytes(self) -> int:
        return self._ids.nbytes + 5 * self.name.nbytes + 130 * self.count
