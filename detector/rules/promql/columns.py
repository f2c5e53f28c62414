"""Label sets as columns of string codes: what an expression's result is labelled with, text only at the edge.

A :class:`Labels` describes n label sets without holding one: a column of codes per label name, fetched when asked for.
What is derived from it (groups of an aggregation, a join, the rows that have a value) is remembered on it; the selector
cache hands out the same object at every evaluation, so all that is worked out once per change of the index.

Names are dropped late, as upstream's newest engine does it: ``rate(x)`` only marks the name as *to be dropped*, and
``label_replace`` may still read it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times
from detector.rules.promql.kernels import row_groups
from detector.series.labels import Index

NAME = "__name__"
_REMEMBERED = 64
_REMEMBERED_OF_MANY = 8
_MANY = 4096
"""Rows from which what is derived costs memory worth saving: then fewer things are remembered."""
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")


class Texts:
    """String codes of the index (0: no such label) plus negative ones for texts that only expressions made.

    Valid until the index changes; then the engine starts a new one.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._own: dict[str, int] = {}
        self._texts: list[str] = [""]

    def __len__(self) -> int:
        """How many texts only expressions made."""
        return len(self._own)

    def code(self, text: str) -> int:
        known = self._index.code(text)
        if known >= 0:
            return known
        if text not in self._own:
            self._own[text] = -len(self._texts)
            self._texts.append(text)
        return self._own[text]

    def text(self, code: int) -> str:
        return self._index.string(code) if code >= 0 else self._texts[-code]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows by equal labels: ``group`` int32[n]; ``labels`` of the groups; ``order`` int64[n] lists the rows group by
    group, those of group g at ``first[g]:first[g + 1]``."""

    group: Ids
    labels: Labels
    order: Times
    first: Times


class Labels:
    """n label sets. ``names``: the labels that may be there; ``unnamed``: rows whose name is to be dropped."""

    __slots__ = ("_columns", "_fetch", "_memo", "names", "size", "texts", "unnamed")

    def __init__(
        self, texts: Texts, size: int, names: Iterable[str], fetch: Callable[[str], Ids], unnamed: Mask | None = None
    ) -> None:
        self.texts = texts
        self.size = size
        self.names = frozenset(names)
        self.unnamed = unnamed
        self._fetch = fetch
        self._columns: dict[str, Ids] = {}
        self._memo: dict[Hashable, Any] = {}

    def column(self, name: str) -> Ids:
        """The codes of one label, int32[n]; 0 where it is not set."""
        column = self._columns.get(name)
        if column is None:
            column = self._fetch(name) if name in self.names else np.zeros(self.size, np.int32)
            self._columns[name] = column
        return column

    def matrix(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """int32[len(names), n]."""
        out = np.empty((len(names), self.size), np.int32)
        for i, name in enumerate(names):
            out[i] = self.column(name)
        return out

    # --- derived, and remembered -----------------------------------------------------------------------------

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, once per ``key``; the oldest of many is forgotten."""
        found: T | None = self._memo.get(key)
        if found is None:
            if len(self._memo) >= (_REMEMBERED if self.size <= _MANY else _REMEMBERED_OF_MANY):
                del self._memo[next(iter(self._memo))]
            found = self._memo[key] = make()
        return found

    def forget(self) -> None:
        """Break the references to what was derived (they are cycles), so that memory goes at once."""
        memo, self._memo = self._memo, {}
        for value in memo.values():
            if isinstance(value, Labels):
                value.forget()
            elif isinstance(value, Groups):
                value.labels.forget()

    def take(self, rows: Times | Mask) -> Labels:
        """The label sets of ``rows`` (a mask or row numbers)."""

        def make() -> Labels:
            index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
            unnamed = None if self.unnamed is None else self.unnamed[index]
            return Labels(self.texts, len(index), self.names, lambda name: self.column(name)[index], unnamed)

        # Which series have a value seldom changes between two evaluations.
        return self.remembered(("take", rows.tobytes()), make)

    def marked(self) -> Labels:
        """The same, all names to be dropped."""

        def make() -> Labels:
            return Labels(self.texts, self.size, self.names, self.column, np.ones(self.size, np.bool_))

        if NAME not in self.names:
            return self
        return self.remembered("marked", make)

    def only(self, names: Iterable[str]) -> Labels:
        """Nothing but the labels ``names``."""
        kept = self.names & frozenset(names)

        def make() -> Labels:
            unnamed = self.unnamed if NAME in kept else None
            return Labels(self.texts, self.size, kept, self.column, unnamed)

        return self if kept == self.names else self.remembered(("only", kept), make)

    def without(self, names: Iterable[str]) -> Labels:
        return self.only(self.names - frozenset(names))

    def cleaned(self) -> Labels:
        """With the names dropped that are to be."""

        def make() -> Labels:
            assert self.unnamed is not None
            if self.unnamed.all():
                return self.without((NAME,))
            return self.replaced(NAME, np.where(self.unnamed, 0, self.column(NAME)).astype(np.int32), None)

        return self if self.unnamed is None else self.remembered("cleaned", make)

    def replaced(self, name: str, codes: Ids, unnamed: Mask | None) -> Labels:
        """With another column for one label (not remembered: it depends on more than the labels)."""
        return Labels(
            self.texts, self.size, self.names | {name}, lambda n: codes if n == name else self.column(n), unnamed
        )

    def groups(self, names: Iterable[str]) -> Groups:
        """Rows with the same values of ``names``. A group's name is to be dropped if that of any member is."""
        key = tuple(sorted(self.names & frozenset(names)))

        def make() -> Groups:
            group, members = row_groups(self.matrix(key))
            first = np.zeros(len(members) + 1, np.int64)
            np.cumsum(np.bincount(group, minlength=len(members)), out=first[1:])
            unnamed = None
            if NAME in key and self.unnamed is not None:
                unnamed = np.bincount(group, self.unnamed, len(members)) > 0
            labels = Labels(self.texts, len(members), key, lambda name: self.column(name)[members], unnamed)
            return Groups(group, labels, np.argsort(group, kind="stable"), first)

        return self.remembered(("groups", key), make)

    def distinct(self) -> bool:
        """Whether no two label sets are equal."""
        names = tuple(self.names)
        return self.remembered("distinct", lambda: (len(row_groups(self.matrix(names))[1]) == self.size,))[0]

    # --- the edge --------------------------------------------------------------------------------------------

    def label_sets(self) -> list[dict[str, str]]:
        """All of them as text, labels in the order of their names."""
        text = self.texts.text
        columns = [(name, self.column(name).tolist()) for name in sorted(self.names)]
        return [{name: text(codes[i]) for name, codes in columns if codes[i]} for i in range(self.size)]


def concatenate(parts: Sequence[Labels]) -> Labels:
    """All label sets of ``parts`` (at least one), one after the other."""
    if len(parts) == 1:
        return parts[0]
    size = sum(part.size for part in parts)
    unnamed = None
    if any(part.unnamed is not None for part in parts):
        unnamed = np.concatenate(
            [np.zeros(part.size, np.bool_) if part.unnamed is None else part.unnamed for part in parts]
        )
    names = frozenset[str]().union(*(part.names for part in parts))
    return Labels(parts[0].texts, size, names, lambda name: np.concatenate([p.column(name) for p in parts]), unnamed)


def constant(texts: Texts, labels: dict[str, str]) -> Labels:
    """One label set given as text."""
    codes = {name: np.array([texts.code(value)], np.int32) for name, value in labels.items() if value}
    return Labels(texts, 1, codes, lambda name: codes[name])
