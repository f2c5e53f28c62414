"""The index: label sets as small integers, and the series that matchers ask for.

A series is a row of pair numbers in one ``int32`` arena; nothing per series is a Python object. Ids are reused after
:meth:`Index.release`; whoever builds a batch takes births and releases with :meth:`Index.drain`, and whoever caches
ids compares :attr:`Index.releases`. Single writer, no locks.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import re2

from detector.nouns import Born, Ids, LabelSet
from detector.series.compiled import compiled, grown, i64
from detector.series.interning import Pairs, Strings
from detector.series.metadata import TYPES, Metadata
from detector.series.texts import pack_json, pack_texts, unpack_json, unpack_texts

EMPTY = -1
TOMBSTONE = -2
MOST_SELECTIONS = 4096


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True  # as Prometheus 3: (?s)
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"regular expression {pattern!r} is not RE2 syntax: {reason}") from None


@dataclass(frozen=True, slots=True)
class Matcher:
    """``name op "value"`` as in PromQL; patterns are RE2, anchored at both ends; a label that is absent is ``""``.

    ValueError names a pattern that does not compile.
    """

    name: str
    op: Literal["=", "!=", "=~", "!~"]
    value: str

    def __post_init__(self) -> None:
        if self.op in ("=~", "!~"):
            _regex(self.value)

    def matches(self, text: str) -> bool:
        if self.op == "=":
            return text == self.value
        if self.op == "!=":
            return text != self.value
        return (_regex(self.value).fullmatch(text) is not None) == (self.op == "=~")


@dataclass(frozen=True, slots=True)
class Description:
    """Label sets of n series over one list of texts: ``count`` uint16[n] labels each, ``keys`` int32[sum, 2] name and
    value, ``target`` int32[n], all by place in ``texts``; ``type`` uint8[n]."""

    texts: list[str]
    count: npt.NDArray[np.uint16]
    keys: Ids
    target: Ids
    type: npt.NDArray[np.uint8]


@compiled
def _digest(keys: Ids, at: int, n: int, seed: np.uint64) -> np.uint64:
    h = seed
    for i in range(n):
        h = (h ^ np.uint64(keys[at + i])) * np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(32)
    return h


@compiled
def _find(table: Ids, arena: Ids, begin: Ids, count: npt.NDArray[np.uint16], key: Ids, seed: np.uint64) -> int:
    """The id whose pairs are ``key``, or -1. ``table`` has 2**k cells, one of them empty at least."""
    mask = len(table) - 1
    slot = i64(_digest(key, 0, len(key), seed) & np.uint64(mask))
    while table[slot] != EMPTY:
        id = table[slot]
        if id >= 0 and count[id] == len(key):
            same = True
            for i in range(len(key)):
                same &= arena[begin[id] + i] == key[i]
            if same:
                return i64(id)
        slot = (slot + 1) & mask
    return i64(-1)


@compiled
def _fill(table: Ids, arena: Ids, begin: Ids, count: npt.NDArray[np.uint16], ids: Ids, seed: np.uint64) -> None:
    """Enter ``ids``, none of which is in ``table``; it has room."""
    mask = len(table) - 1
    for id in ids:
        slot = i64(_digest(arena, begin[id], count[id], seed) & np.uint64(mask))
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = id


@compiled
def _bury(table: Ids, arena: Ids, begin: Ids, count: npt.NDArray[np.uint16], ids: Ids, seed: np.uint64) -> None:
    """Take ``ids``, all of which are in ``table``, out of it."""
    mask = len(table) - 1
    for id in ids:
        slot = i64(_digest(arena, begin[id], count[id], seed) & np.uint64(mask))
        while table[slot] != id:
            slot = (slot + 1) & mask
        table[slot] = TOMBSTONE


@compiled
def _column(ids: Ids, name: int, begin: Ids, count: npt.NDArray[np.uint16], arena: Ids, names: Ids, values: Ids) -> Ids:
    """int32[ids]: the value's code of label ``name`` per id, 0 where it has none."""
    out = np.zeros(len(ids), np.int32)
    for i in range(len(ids)):
        at = begin[ids[i]]
        for k in range(at, at + count[ids[i]]):
            if names[arena[k]] == name:
                out[i] = values[arena[k]]
                break
    return out


@compiled
def _gather(ids: Ids, begin: Ids, count: npt.NDArray[np.uint16], arena: Ids) -> Ids:
    """The pairs of all ``ids``, one after the other."""
    n = 0
    for id in ids:
        n += count[id]
    out = np.empty(n, np.int32)
    n = 0
    for id in ids:
        for k in range(begin[id], begin[id] + count[id]):
            out[n] = arena[k]
            n += 1
    return out


class Index:
    """Interns label sets, and finds them again by matchers."""

    def __init__(self) -> None:
        self.strings = Strings()
        self.pairs = Pairs()
        self.generation = 0
        """Counts births and releases: what was found in the index holds while it stands still."""
        self.size = 0
        """Live series."""
        self.capacity = 0
        """Every id ever given is below it: the length that arrays by id need."""
        self.releases: Ids = np.zeros(64, np.int32)
        """int32 per id: how often the id was released; compare it before trusting a cached id."""
        self.types = Metadata()
        """What senders say about metrics, by metric family."""
        self.live: npt.NDArray[np.bool_] = np.zeros(64, np.bool_)
        self._begin: Ids = np.zeros(64, np.int32)
        self._count = np.zeros(64, np.uint16)
        self._target: Ids = np.zeros(64, np.int32)
        self._type = np.zeros(64, np.uint8)
        self._arena: Ids = np.zeros(1024, np.int32)
        self._arena_used = 0
        self._holes: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._seed = np.uint64(secrets.randbits(63))
        self._table: Ids = np.full(256, EMPTY, np.int32)
        self._table_used = 0
        self._born: dict[int, Born] = {}
        self._gone: dict[int, None] = {}
        self._selections: dict[tuple[Matcher, ...], Ids] = {}
        self._selected_at = -1
        self._accepted: dict[Matcher, Ids] = {}
        self._accepted_at = -1

    # --- births and releases ---

    def find(self, labels: LabelSet) -> int:
        """The id of this label set, or -1."""
        keys = self._keys(labels)
        return -1 if -1 in keys else self._find(keys)

    def intern(self, labels: LabelSet, target: str, type: str = "", limit: int | None = None) -> int:
        """The id of ``labels`` (sorted, no empty value), new if need be; -1 when ``limit`` live series are there.

        The first target and type that a series comes with are its own for as long as it lives.
        """
        keys = self._keys(labels)
        if -1 not in keys and (known := self._find(keys)) >= 0:
            return known
        if limit is not None and self.size >= limit:
            return -1
        for i, pair in enumerate(keys):
            if pair < 0:
                keys[i] = self._pair(*labels[i])
        key = np.array(keys, np.int32)
        id = self._free.pop() if self._free else self.capacity
        if id == self.capacity:
            self.capacity += 1
            self._reserve(self.capacity)
        begin = self._place(len(key))
        self._arena[begin : begin + len(key)] = key
        self._begin[id], self._count[id] = begin, len(key)
        self._target[id] = self.strings.acquire(target)
        self._type[id] = TYPES.index(type) if type in TYPES else 0
        self.live[id] = True
        self.pairs.post(id, key)
        self.size += 1
        self._enter(id)
        self._born[id] = Born(id, labels, target, type)
        self.generation += 1
        return id

    def release(self, ids: Ids) -> None:
        """Forget these live series; their ids may name others from the next birth on."""
        ids = np.unique(np.asarray(ids, np.int32))
        ids = ids[self.live[ids]]
        if not len(ids):
            return
        _bury(self._table, self._arena, self._begin, self._count, ids, self._seed)
        self.live[ids] = False
        self.releases[ids] += 1
        touched = np.unique(_gather(ids, self._begin, self._count, self._arena))
        for name, value in self.pairs.unpost(touched, self.live):
            self.strings.drop(name)
            self.strings.drop(value)
        for id in ids.tolist():
            self.strings.drop(int(self._target[id]))
            self._holes.setdefault(int(self._count[id]), []).append(int(self._begin[id]))
            if id in self._born:
                del self._born[id]
            else:
                self._gone[id] = None
            self._free.append(id)
        self.size -= len(ids)
        self.pairs.pack()
        self.generation += 1

    def drain(self) -> tuple[tuple[Born, ...], Ids]:
        """Births and releases since the last call, for ``Batch.born`` and ``Batch.gone``; releases come first."""
        if not self._born and not self._gone:
            return (), np.empty(0, np.int32)
        born = tuple(self._born.values())
        gone = np.fromiter(self._gone, np.int32, len(self._gone))
        self._born, self._gone = {}, {}
        return born, gone

    def _keys(self, labels: LabelSet) -> list[int]:
        """The labels' pairs; -1 for one that nobody carries."""
        codes, pairs = self.strings.codes, self.pairs.codes
        return [pairs.get(codes.get(name, -1) << 32 | codes.get(value, -1), -1) for name, value in labels]

    def _find(self, keys: list[int]) -> int:
        key = np.array(keys, np.int32)
        return int(_find(self._table, self._arena, self._begin, self._count, key, self._seed))

    def _pair(self, name: str, value: str) -> int:
        """A pair that nobody carries yet."""
        return self.pairs.add(self.strings.acquire(name), self.strings.acquire(value))

    def _reserve(self, size: int) -> None:
        if size <= len(self._begin):
            return
        for field in ("releases", "live", "_begin", "_count", "_target", "_type"):
            setattr(self, field, grown(getattr(self, field), size))

    def _place(self, n: int) -> int:
        """Where in the arena ``n`` pairs go: a hole of that size, or the end."""
        if holes := self._holes.get(n):
            return holes.pop()
        begin = self._arena_used
        self._arena_used += n
        self._arena = grown(self._arena, self._arena_used)
        return begin

    def _enter(self, id: int) -> None:
        self._table_used += 1
        if 3 * self._table_used > 2 * len(self._table):
            self._rehash()
        else:
            _fill(self._table, self._arena, self._begin, self._count, np.array([id], np.int32), self._seed)

    def _rehash(self) -> None:
        """A table with fresh room, tombstones gone; at most two thirds full."""
        ids = self.all()
        self._table = np.full(1 << max(8, (2 * len(ids)).bit_length()), EMPTY, np.int32)
        self._table_used = len(ids)
        _fill(self._table, self._arena, self._begin, self._count, ids, self._seed)

    # --- what a series is ---

    def all(self) -> Ids:
        """All live ids, ascending."""
        return np.flatnonzero(self.live[: self.capacity]).astype(np.int32)

    def labels_of(self, id: int) -> dict[str, str]:
        """Name to value, sorted by name."""
        begin = int(self._begin[id])
        keys = self._arena[begin : begin + int(self._count[id])]
        text = self.strings.text
        names, values = self.pairs.name[keys].tolist(), self.pairs.value[keys].tolist()
        return {text(name): text(value) for name, value in zip(names, values, strict=True)}

    def target_of(self, id: int) -> str:
        return self.strings.text(int(self._target[id]))

    def targets(self, ids: Ids) -> Ids:
        """String codes of the targets of ``ids``."""
        return self._target[ids]

    def type_of(self, id: int) -> str:
        """The OpenMetrics type that the series was born with, else its family's, else ``""``."""
        born_with = TYPES[self._type[id]]
        if born_with or not len(self.types):
            return born_with
        return self.types.type_of(self.labels_of(id).get("__name__", ""))

    def metric_types(self) -> dict[str, str]:
        """Metric name or family to type (``""`` unknown), of what is live and of what senders told."""
        types = dict.fromkeys(self.label_values("__name__"), "")
        return types | {family: said.type for family, said in self.types.items()}

    def label_column(self, ids: Ids, name: str) -> Ids:
        """int32[ids]: the string code of label ``name`` per id, 0 where absent; codes hold until the next release."""
        code = self.strings.code(name)
        if code <= 0:
            return np.zeros(len(ids), np.int32)
        ids = np.ascontiguousarray(ids, np.int32)
        return _column(ids, code, self._begin, self._count, self._arena, self.pairs.name, self.pairs.value)

    def code(self, text: str) -> int:
        """The code of a text; -1 when no series uses it."""
        return self.strings.code(text)

    def string(self, code: int) -> str:
        return self.strings.text(code)

    def pairs_of(self, ids: Ids) -> Ids:
        """The distinct label pairs that ``ids`` carry."""
        ids = np.ascontiguousarray(ids, np.int32)
        if len(ids) == self.size:
            return np.flatnonzero(self.pairs.size[: self.pairs.count]).astype(np.int32)
        return np.unique(_gather(ids, self._begin, self._count, self._arena))

    def label_names(self, ids: Ids | None = None) -> list[str]:
        """Names in use (by ``ids``), sorted."""
        pairs = self.pairs_of(self.all() if ids is None else ids)
        return sorted(self.strings.text(code) for code in np.unique(self.pairs.name[pairs]).tolist())

    def label_values(self, name: str, ids: Ids | None = None) -> list[str]:
        """Values of one label in use (by ``ids``), sorted."""
        code = self.strings.code(name)
        if code <= 0:
            return []
        if ids is None:
            codes: Iterable[int] = self.pairs.value[self.pairs.of_name(code)].tolist()
        else:
            codes = set(np.unique(self.label_column(ids, name)).tolist()) - {0}
        return sorted(self.strings.text(value) for value in codes)

    # --- selection ---

    def select(self, matchers: Sequence[Matcher]) -> Ids:
        """Live series that fit every matcher, ids ascending; remembered until a series is born or released.

        The array is shared: do not write to it.
        """
        if self._selected_at != self.generation or len(self._selections) > MOST_SELECTIONS:
            self._selections, self._selected_at = {}, self.generation
        key = tuple(matchers)
        found = self._selections.get(key)
        if found is None:
            found = self._select(key)
            found.flags.writeable = False
            self._selections[key] = found
        return found

    def _select(self, matchers: tuple[Matcher, ...]) -> Ids:
        """The shortest postings first; every other matcher is a look-up by the label's code."""
        narrow: list[tuple[int, Matcher, Ids]] = []
        for matcher in matchers:
            if not matcher.matches(""):
                pairs = self._pairs_for(matcher)
                narrow.append((int(self.pairs.size[pairs].sum()), matcher, pairs))
        if not narrow:
            ids, done = self.all(), None
        else:
            total, done, pairs = min(narrow, key=lambda entry: entry[0])
            if total == 0:
                return np.empty(0, np.int32)
            ids = np.sort(np.concatenate([self.pairs.posting(pair) for pair in pairs.tolist()]))
        for matcher in matchers:
            if matcher is not done:
                ids = ids[self._fits(ids, matcher)]
        return ids

    def _fits(self, ids: Ids, matcher: Matcher) -> npt.NDArray[np.bool_]:
        """bool[ids]"""
        column = self.label_column(ids, matcher.name)
        if matcher.op in ("=", "!="):
            code = self.strings.code(matcher.value)
            return np.asarray((column == code) == (matcher.op == "="), np.bool_)
        fits = np.zeros(len(self.strings), np.bool_)
        fits[self.pairs.value[self._pairs_for(matcher)]] = True
        fits[0] = matcher.matches("")
        return fits[column]

    def _pairs_for(self, matcher: Matcher) -> Ids:
        """The pairs of the matcher's label whose value it accepts."""
        name = self.strings.code(matcher.name)
        if name <= 0:
            return np.empty(0, np.int32)
        if matcher.op == "=":
            pair = self.pairs.code(name, self.strings.code(matcher.value))
            return np.array([pair] if pair >= 0 else [], np.int32)
        if self._accepted_at != self.pairs.version or len(self._accepted) > MOST_SELECTIONS:
            self._accepted, self._accepted_at = {}, self.pairs.version
        found = self._accepted.get(matcher)
        if found is None:
            pairs = self.pairs.of_name(name)
            text, values = self.strings.text, self.pairs.value[pairs].tolist()
            found = pairs[np.fromiter((matcher.matches(text(value)) for value in values), np.bool_, len(pairs))]
            self._accepted[matcher] = found
        return found

    # --- written down ---

    @staticmethod
    def type_name(code: int) -> str:
        """The type by the number that :class:`Description` holds."""
        return TYPES[code] if code < len(TYPES) else ""

    def describe(self, ids: Ids) -> Description:
        """Live series completely, without a Python object for each."""
        pairs = _gather(ids, self._begin, self._count, self._arena)
        names, values, targets = self.pairs.name[pairs], self.pairs.value[pairs], self._target[ids]
        codes, places = np.unique(np.concatenate([names, values, targets]), return_inverse=True)
        where: Ids = places.astype(np.int32)
        keys = np.stack([where[: len(pairs)], where[len(pairs) : 2 * len(pairs)]], axis=1)
        texts = [self.strings.text(code) for code in codes.tolist()]
        return Description(texts, self._count[ids], keys, where[2 * len(pairs) :], self._type[ids])

    def dump(self) -> dict[str, npt.NDArray[Any]]:
        """Named arrays; births and releases not yet drained are not in it."""
        n, ids = self.capacity, self.all()
        texts, ends = pack_texts(self.strings.texts())
        types = [(family, said.type, said.help, said.unit) for family, said in self.types.items()]
        return {
            "index.texts": texts,
            "index.ends": ends,
            "index.pair_name": self.pairs.name[: self.pairs.count].copy(),
            "index.pair_value": self.pairs.value[: self.pairs.count].copy(),
            "index.ids": ids,
            "index.count": self._count[ids],
            "index.keys": _gather(ids, self._begin, self._count, self._arena),
            "index.target": self._target[ids],
            "index.type": self._type[ids],
            "index.releases": self.releases[:n].copy(),
            "index.types": pack_json(types),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Into a fresh index; ValueError when the arrays do not fit together."""
        texts = unpack_texts(arrays["index.texts"], arrays["index.ends"])
        name, value = arrays["index.pair_name"], arrays["index.pair_value"]
        ids, count, keys = arrays["index.ids"], arrays["index.count"].astype(np.int64), arrays["index.keys"]
        target, n = arrays["index.target"], len(arrays["index.releases"])
        bounds = [(name, len(texts)), (value, len(texts)), (target, len(texts)), (ids, n), (keys, len(name))]
        inside = all(a.min(initial=0) >= 0 and a.max(initial=-1) < most for a, most in bounds)
        same = len(ids) == len(count) == len(target) and len(name) == len(value) and count.sum() == len(keys)
        if not (inside and same):
            raise ValueError("the stored index does not fit together")
        self.capacity, self.size = n, len(ids)
        self._reserve(n)
        self.releases[:n] = arrays["index.releases"]
        self.live[ids] = True
        self._count[ids], self._begin[ids] = count, np.cumsum(count) - count
        self._target[ids], self._type[ids] = target, arrays["index.type"]
        self._arena, self._arena_used, self._holes = keys.copy(), len(keys), {}
        self._free = np.flatnonzero(~self.live[:n])[::-1].tolist()
        used = name > 0
        uses = np.bincount(np.concatenate([name[used], value[used], target]), minlength=len(texts))
        self.strings.restore(texts, uses.astype(np.int64))
        self.pairs.restore(name, value, np.repeat(ids, count), keys)
        for family, kind, help, unit in unpack_json(arrays["index.types"]):
            self.types.note(family, kind, help, unit)
        self._rehash()
        self.generation += 1

    def bytes(self) -> int:
        """Estimated memory, bytes."""
        per_id = self.releases.nbytes + self.live.nbytes + self._begin.nbytes + self._count.nbytes
        per_id += self._target.nbytes + self._type.nbytes
        return per_id + self._arena.nbytes + self._table.nbytes + self.pairs.bytes() + self.strings.bytes()
