"""What the models cost: CPU per sample and bytes per series of the whole bank, beside river's detectors one by one.

    python -m benchmarks.anomaly_cost [--series 100000] [--steps 280]

Every series changes with every sample, none is a constant: the dear case. Half are counters; five in a thousand run
towards a limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from detector.anomaly.bank import Bank, warm
from detector.anomaly.options import AnomalyOptions
from detector.nouns import Batch
from detector.series.store import Store

STEP = 15_000
PER_TARGET = 50


def fleet(store: Store, series: int) -> np.ndarray:
    """``series`` ids over targets of fifty, half counters; the last of every 200 has a limit beside it."""
    ids = []
    for i in range(series):
        target, k = f"10.0.{i // PER_TARGET // 256}.{i // PER_TARGET % 256}:9100", i % PER_TARGET
        name = f"app_work_{k}_total" if k % 2 else f"app_level_{k}"
        if i % 200 == 199:
            name = "app_queue_limit"
        elif i % 200 == 198:
            name = "app_queue_depth"
        labels = (("__name__", name), ("instance", target), ("job", f"job-{i // PER_TARGET % 40}"))
        ids.append(store.index.intern(labels, target))
    return np.array(ids, np.int32)


def bank_cost(series: int, steps: int) -> tuple[float, float, dict[str, int]]:
    """CPU microseconds per sample in the first hour and after it, and bytes by part."""
    store = Store()
    ids = fleet(store, series)
    bank = Bank(store, AnomalyOptions(), lambda labels: labels.get("job", ""))
    dice = np.random.default_rng(0)
    total, limit = dice.random(series), np.array([i % 200 == 199 for i in range(series)])
    young = old = 0.0
    for step in range(steps):
        at = np.full(series, (step + 1) * STEP, np.int64)
        value = dice.normal(100, 10, series)
        total += np.abs(value)
        value[1::2] = total[1::2]
        value[limit] = 1000.0
        store.accept(Batch("bench", ids, at, value))
        begin = time.process_time()
        bank.feed(ids, at, value)
        bank.advance(int(at[0]))
        cost = time.process_time() - begin
        if step >= 240:
            old += cost
        elif step >= 2:
            young += cost
    after = max(steps - 240, 0)
    return young / series / (min(steps, 240) - 2) * 1e6, old / series / after * 1e6 if after else 0.0, bank.bytes()


def river_cost(make: Callable[[], object], samples: int) -> float:
    """CPU microseconds per sample of one of river's per-series detectors."""
    model = make()
    values = np.random.default_rng(1).normal(100, 10, samples).tolist()
    univariate = type(model).__name__ == "GaussianScorer"
    begin = time.process_time()
    for value in values:
        x = value if univariate else {"x": value / 200}
        if univariate:
            model.score_one(None, x)  # type: ignore[attr-defined]
            model.learn_one(None, x)  # type: ignore[attr-defined]
        else:
            model.score_one(x)  # type: ignore[attr-defined]
            model.learn_one(x)  # type: ignore[attr-defined]
    return (time.process_time() - begin) / samples * 1e6


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=280, help="samples a series; an hour is 240")
    parser.add_argument("--without-river", action="store_true")
    options = parser.parse_args(arguments)
    warm()
    young, old, parts = bank_cost(options.series, options.steps)
    print(f"bank, {options.series:,} series: {young:.3f} us a sample in the first hour, {old:.3f} us after it")
    total = sum(parts.values())
    detail = ", ".join(f"{name} {size / options.series:.0f}" for name, size in parts.items())
    print(f"state: {total / options.series:.0f} bytes a series ({detail})")
    if not options.without_river:
        from river.anomaly import GaussianScorer, HalfSpaceTrees

        print(f"river GaussianScorer:  {river_cost(GaussianScorer, 5000):.1f} us a sample")
        print(f"river HalfSpaceTrees: {river_cost(lambda: HalfSpaceTrees(seed=1), 2000):.1f} us a sample")


if __name__ == "__main__":
    main()
