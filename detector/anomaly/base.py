"""What a model is: state in arrays, one row a series, and four verbs.

A model sees samples in the order of time, series by series; it scores each value against its state *before* that
value and learns from it afterwards, where it may. The same row may come many times in one call. Kernels do not
check bounds: ``grow`` must have been called with a capacity above every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
State = dict[str, npt.NDArray[Any]]

LARGEST = 1e30
"""Values are clipped to this: what is larger would overflow the ``float32`` of a scale and poison a series for good."""


class Model(Protocol):
    """One view on every series."""

    def grow(self, capacity: int) -> None:
        """Make room for rows below ``capacity``; new rows are as after ``reset``."""

    def reset(self, rows: Rows) -> None:
        """Forget what these rows have learned: another series will use them."""

    def step(self, rows: Rows, at: Times, x: Values, learn: Flags) -> Scores:
        """How unusual each of the n values is, >= 0 and without unit; NaN while the model is not sure.

        ``rows`` int32[n], ``at`` int64[n] ms, ``x`` float64[n] finite and within ``LARGEST``, ``learn`` bool[n].
        """

    def state(self) -> State:
        """Named arrays, enough to continue after ``restore`` as if nothing had happened."""

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what ``state`` gave; raises ValueError when it does not fit this model."""


def taller(array: npt.NDArray[Any], capacity: int, fill: float = 0.0) -> npt.NDArray[Any]:
    """``array`` with at least ``capacity`` rows (a quarter more than it had), new ones filled with ``fill``."""
    have = array.shape[0]
    if capacity <= have:
        return array
    shape = (max(capacity, have + have // 4 + 16), *array.shape[1:])
    # Zeros that are not needed yet are not in memory yet.
    out = np.full(shape, fill, array.dtype) if fill else np.zeros(shape, array.dtype)
    out[:have] = array
    return out


def restored(state: Mapping[str, npt.NDArray[Any]], name: str, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``state[name]`` as a writable array of ``like``'s type and width; raises ValueError naming what differs."""
    array = state.get(name)
    if array is None or array.dtype != like.dtype or array.shape[1:] != like.shape[1:]:
        found = "nothing" if array is None else f"{array.dtype}{list(array.shape[1:])}"
        raise ValueError(f"model state {name!r}: needed {like.dtype}{list(like.shape[1:])} a row, found {found}")
    return np.ascontiguousarray(array).copy()
