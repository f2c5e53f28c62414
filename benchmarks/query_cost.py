"""CPU of a query over many series: ``rate`` and its sum by job, on the engine alone.

python -m benchmarks.query_cost [SERIES]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from detector.nouns import Batch
from detector.rules.promql.adapter import parse
from detector.rules.promql.engine import Engine
from detector.series.store import Store

START = 1_795_000_005_000
STEP = 15_000
STEPS = 24


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    store = Store()
    names = (("__name__", "x"), ("instance", "i{0}"), ("job", "j{1}"), ("s", "{2}"))
    ids = np.array(
        [
            store.index.intern(tuple((k, v.format(i // 100, i % 20, i)) for k, v in names), f"t{i // 100}", "")
            for i in range(n)
        ],
        np.int32,
    )
    for k in range(STEPS):
        store.accept(Batch("bench", ids, np.full(n, START + k * STEP), np.arange(n) * 1.0 * k))
    engine, at = Engine(store), START + (STEPS - 1) * STEP
    for text in ("rate(x[5m])", "sum by (job) (rate(x[5m]))"):
        expr = parse(text)
        engine.instant(expr, at)
        begun = time.process_time()
        for _ in range(5):
            engine.instant(expr, at)
        print(f"{text}: {(time.process_time() - begun) * 200:.1f} ms over {n} series")


if __name__ == "__main__":
    main()
