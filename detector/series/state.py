"""A store as named arrays, and back. Derived things (postings, tables, counts of uses) are made anew.

Ids stay what they are, so that models and journal, which speak of ids, still agree with the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.series import blocks as bl
from detector.series.labels import Index
from detector.series.population import Population

VERSION = 2
Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

BLOCKS = ("blocks",)
COHORTS = ("oldest", "newest", "columns", "span", "added_rows", "added_samples")
SERIES = ("cohort", "column", "last")


def dump(index: Index, population: Population) -> dict[str, Array]:
    """Copies: the store may go on while they are written."""
    population.reserve_series()
    ring = population.ring
    sizes = {"cells": int(ring.counts[bl.CELLS_USED])}
    sizes |= dict.fromkeys(BLOCKS, int(ring.counts[bl.BLOCKS_USED])) | dict.fromkeys(COHORTS, population.count)
    sizes |= dict.fromkeys(SERIES, index.capacity)
    arrays = {f"ring.{name}": getattr(ring, name)[: sizes.get(name)].copy() for name in ring._fields}
    lists: dict[str, list[tuple[int, ...]]] = {
        "keys": [(cohort, *key) for cohort, key in population.keys.items()],
        "irregular": list(population.irregular),
        "spare": list(population.free_columns()),
    }
    for name, rows in lists.items():
        arrays[f"cohorts.{name}"] = np.array(rows, np.int64).reshape(len(rows), 3 if name == "keys" else 2)
    return {"version": np.array([VERSION]), **arrays, **index.dump()}


def load(arrays: Arrays, index: Index, population: Population) -> None:
    """Into a fresh index and population; ValueError when the arrays do not fit together."""
    version = int(arrays["version"][0])
    if version != VERSION:
        raise ValueError(f"stored series have format version {version}, this program reads {VERSION}")
    index.load(arrays)
    ring = bl.Ring(**{name: arrays[f"ring.{name}"].copy() for name in bl.Ring._fields})
    population.count = len(ring.span)
    _check(ring, index, population.count)
    population.ring = ring
    population.keys = {c: (target, span) for c, target, span in arrays["cohorts.keys"].tolist()}
    population.restore_lists(arrays["cohorts.irregular"].tolist(), arrays["cohorts.spare"].tolist())
    population.set_depth(population.depth)


def _check(ring: bl.Ring, index: Index, cohorts: int) -> None:
    """Kernels do not check bounds, so nothing may point outside."""
    blocks, cells = len(ring.blocks), len(ring.cells)
    groups = [(BLOCKS, blocks), (COHORTS, cohorts), (SERIES, index.capacity)]
    sizes = all(len(getattr(ring, name)) == size for names, size in groups for name in names)
    within = [(ring.cohort, cohorts)]
    within += [(array, blocks) for array in (*ring.blocks.T[[bl.OLDER, bl.NEWER]], ring.oldest, ring.newest, ring.free)]
    links = all(array.min(initial=0) >= -1 and array.max(initial=-1) < size for array, size in within)
    offset, size, live = (
        ring.blocks[:, bl.OFFSET].astype(np.int64) * bl.GRAIN,
        ring.blocks[:, bl.SIZE],
        ring.blocks[:, bl.USED] >= 0,
    )
    owned = (offset >= 0) & (size >= 0) & (offset + size <= cells)
    fits = bool(np.all(owned | ~live)) and bool(np.all(size <= bl.GRAIN * bl.BARE))
    counted = ring.counts.tolist() == [cells, blocks] and len(ring.free) == bl.BARE + 1
    if not (sizes and links and fits and counted and bl.sound(ring)):
        raise ValueError("stored series do not fit together")
