"""What expressions evaluate to: arrays with lazily known labels. A scalar is a ``float``, a string a ``str``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.nouns import Ids, Times, Values
from detector.rules.promql.columns import NAME, Labels, concatenate
from detector.rules.promql.errors import ExecutionError
from detector.rules.promql.kernels import row_groups


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """An instant vector: one value per label set. The order is that of ``sort`` and ``topk``, else of the store."""

    labels: Labels
    value: Values

    def take(self, rows: npt.NDArray[np.bool_] | Times) -> Vector:
        """Only ``rows``; the same object when a mask takes all."""
        if rows.dtype == np.bool_ and rows.all():
            return self
        return Vector(self.labels.take(rows), self.value[rows])

    def marked(self, value: Values) -> Vector:
        """Other values under the same labels, the names to be dropped."""
        return Vector(self.labels.marked(), value)

    def cleaned(self) -> Vector:
        """Names dropped; raises :class:`ExecutionError` when two label sets are then equal."""
        labels = self.labels.cleaned()
        if not labels.distinct():
            raise ExecutionError("vector cannot contain metrics with the same labelset")
        return self if labels is self.labels else Vector(labels, self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Rows of samples in CSR layout, for the range (start, end] ms: those of row i are
    ``value[first[i]:first[i + 1]]`` at ``at[...]`` ms, ascending."""

    first: Times
    at: Times
    value: Values
    start: int
    end: int

    @property
    def count(self) -> Times:
        """Samples per row, int64[n]."""
        return np.diff(self.first)


@dataclass(frozen=True, slots=True, eq=False)
class Series(Samples):
    """A range vector: samples with a label set per row."""

    labels: Labels


Value = Vector | Series | float | str


def combine(steps: Sequence[Vector], times: Sequence[int], start: int, end: int) -> Series:
    """Instant vectors at ascending ``times`` as one range vector, equal label sets put together.

    The order of rows is that of first appearance. At most one value per label set and time is the caller's promise.
    """
    unique: dict[int, int] = {}
    parts: list[Labels] = []
    offset = [0]
    for step in steps:
        if id(step.labels) not in unique:
            unique[id(step.labels)] = len(parts)
            parts.append(step.labels)
            offset.append(offset[-1] + step.labels.size)
    labels = concatenate(parts)
    rows: Ids
    members: Ids | None
    if len(parts) == 1:
        rows, members = np.arange(labels.size, dtype=np.int32), None
    else:
        names = sorted(labels.names)
        matrix = labels.matrix(names)
        if labels.unnamed is not None and NAME in names:
            # What is to lose its name is another series than its namesake that keeps it.
            matrix = np.vstack([matrix, labels.unnamed.astype(np.int32)])
        rows, members = row_groups(matrix)
    row = np.concatenate([rows[offset[p] : offset[p + 1]] for p in (unique[id(s.labels)] for s in steps)])
    at = np.repeat(np.asarray(times, np.int64), [len(s.value) for s in steps])
    value = np.concatenate([s.value for s in steps])
    order = np.argsort(row, kind="stable")
    size = labels.size if members is None else len(members)
    first = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=size), out=first[1:])
    if members is not None:
        labels = labels.take(members.astype(np.int64))
    return Series(first, at[order], value[order], start, end, labels)
