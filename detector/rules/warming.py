"""Compile the room's kernels before the first evaluation needs them: no evaluation waits for a compiler."""

from __future__ import annotations

import numpy as np

from detector.nouns import Batch
from detector.rules.promql.adapter import parse
from detector.rules.promql.engine import Engine
from detector.series.store import Store

_EXPRESSIONS = (
    "rate(x[1m])", "irate(x[1m])", "deriv(x[1m])", "sum_over_time(x[1m])", "avg_over_time(x[1m])", "changes(x[1m])",
    "max_over_time(x[1m])", "stdvar_over_time(x[1m])", "quantile(0.5, x)", "histogram_quantile(0.9, x)", "x * x",
)  # fmt: skip


def warm() -> None:
    """Meet every kernel once, over a store of two samples: about 8 s at the very first start, else from the cache."""
    store = Store()
    labels = (("__name__", "x"), ("le", "+Inf"))
    series = np.full(2, store.index.intern(labels, "warm", "gauge"), np.int32)
    store.accept(Batch("warm", series, np.array([1_000, 2_000], np.int64), np.ones(2)))
    engine = Engine(store)
    for text in _EXPRESSIONS:
        engine.instant(parse(text), 2_000)
