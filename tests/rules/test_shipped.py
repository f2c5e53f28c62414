"""Every shipped rule fires when it must and stays silent when it must not, on a real store and ruler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from detector.nouns import Batch, Born
from detector.rules.groups import load
from detector.rules.ruler import Ruler
from detector.series.store import Store

SHIPPED = Path(__file__).parents[2] / "config" / "rules"
STEP = 15_000
START = 1_795_000_005_000 // STEP * STEP
HOUR = 3600

Value = Callable[[float], float | None]
"""The series' value at seconds since the start; None: no sample."""
Series = Mapping[str, Value]


def series(text: str) -> tuple[tuple[str, str], ...]:
    """``name{a="b"}`` as labels, with a job and an instance."""
    name, _, rest = text.partition("{")
    pairs = dict(pair.split("=", 1) for pair in rest.rstrip("}").split(",") if pair)
    labels = {"__name__": name, "job": "j", "instance": "i", **{k: v.strip('"') for k, v in pairs.items()}}
    return tuple(sorted(labels.items()))


def firing(made: Series, seconds: float) -> set[str]:
    """Names of the shipped alerts that fired at any time."""
    loaded = load(sorted(SHIPPED.glob("*.yml")))
    assert not loaded.problems
    store = Store()
    ruler = Ruler(store, loaded.groups)
    ids: dict[str, int] = {}
    fired: set[str] = set()
    for step in range(int(seconds * 1000 // STEP) + 1):
        at, born, rows, values = START + step * STEP, [], [], []
        for text, value in made.items():
            sample = value(step * STEP / 1000)
            if sample is None:
                continue
            if text not in ids:
                ids[text] = store.index.intern(series(text), "t", "")
                born.append(Born(ids[text], series(text), "t"))
            rows.append(ids[text])
            values.append(sample)
        if rows:
            batch = Batch("t", np.array(rows, np.int32), np.full(len(rows), at), np.array(values, float), tuple(born))
            store.accept(batch)
        found = ruler.evaluate(at)
        assert not found.failures
        fired |= {symptom.name for symptom in found.symptoms if symptom.active}
    return fired


def flat(value: float) -> Value:
    return lambda t: value


def line(start: float, per_second: float, since: float = 0.0) -> Value:
    return lambda t: start + per_second * max(0.0, t - since)


def requests(rate: float, errors: Value) -> Series:
    """Counters of a service with ``rate`` requests a second, ``errors(t)`` of them (share) failing."""

    def failed(t: float) -> float:
        return sum(rate * 15 * (errors(s * 15.0) or 0.0) for s in range(int(t // 15) + 1))

    return {
        'http_requests_total{code="200",service="shop"}': lambda t: rate * t - failed(t) + 1e6,
        'http_requests_total{code="500",service="shop"}': lambda t: failed(t) + 10,
    }


def latency(slow_from: float | None) -> Series:
    """A histogram whose requests all take 0.2 s, and 2 s from ``slow_from`` on."""

    def quick(t: float) -> float:
        return 10 * min(t, slow_from) if slow_from is not None else 10 * t

    bucket = "http_request_duration_seconds_bucket"
    return {
        f'{bucket}{{le="0.25",service="shop"}}': quick,
        f'{bucket}{{le="2.5",service="shop"}}': lambda t: 10 * t,
        f'{bucket}{{le="+Inf",service="shop"}}': lambda t: 10 * t,
        **requests(10, flat(0)),
    }


def disk(avail: Value) -> Series:
    place = '{fstype="ext4",mountpoint="/data"}'
    return {
        f"node_filesystem_avail_bytes{place}": avail,
        f"node_filesystem_size_bytes{place}": flat(100.0),
        f"node_filesystem_readonly{place}": flat(0.0),
    }


def rotated(t: float) -> float:
    """A log that is rotated every quarter of an hour: falls from 18 to 6 %, again and again."""
    return 18 - 12 * (t % 900) / 900


CASES: list[tuple[str, Series, Series, float]] = [
    ("TargetDown", {"up": lambda t: float(t < 600)}, {"up": lambda t: float(not 600 <= t < 645)}, 900),
    ("TargetFlapping", {"up": lambda t: float(int(t // 60) % 2)}, {"up": lambda t: float(not 600 <= t < 630)}, 1200),
    (
        "ProcessRestarts",
        {"process_start_time_seconds": lambda t: float(t // 300)},
        {"process_start_time_seconds": lambda t: float(t > 900)},
        1800,
    ),
    ("JobVanished", {"up": lambda t: 1.0 if t < 600 else None}, {"up": flat(1.0)}, 1200),
    (
        "TrafficGone",
        {'http_requests_total{code="200",service="shop"}': lambda t: 10 * min(t, 2400)},
        {'http_requests_total{code="200",service="shop"}': lambda t: 10 * t},
        3600,
    ),
    (
        "ErrorsRising",
        requests(10, lambda t: 0.05 if t > 2400 else 0.001),
        requests(10, lambda t: 0.05 if 2400 < t <= 2415 else 0.001),
        3300,
    ),
    ("ErrorsHigh", requests(10, lambda t: 0.3 if t > 600 else 0), requests(10, flat(0.01)), 1500),
    ("LatencyHigh", latency(2700), latency(None), 3600),
    ("ErrorBudgetBurnsFast", requests(10, lambda t: 0.4 if t > 600 else 0), requests(10, flat(0.02)), 2 * HOUR),
    ("ErrorBudgetBurnsSlowly", requests(10, flat(0.06)), requests(10, flat(0.01)), 2 * HOUR),
    ("DiskWillFill", disk(line(30, -0.005)), disk(rotated), 1.5 * HOUR),
    (
        "FileDescriptorsWillRunOut",
        {"process_open_fds": line(500, 0.1), "process_max_fds": flat(1024.0)},
        {"process_open_fds": lambda t: 750 + 50 * math.sin(t / 300), "process_max_fds": flat(1024.0)},
        1.3 * HOUR,
    ),
    (
        "MemoryNearlyUsedUp",
        {"node_memory_MemAvailable_bytes": flat(3.0), "node_memory_MemTotal_bytes": flat(100.0)},
        {"node_memory_MemAvailable_bytes": flat(20.0), "node_memory_MemTotal_bytes": flat(100.0)},
        900,
    ),
]


@pytest.mark.parametrize(("name", "bad", "good", "seconds"), CASES, ids=[case[0] for case in CASES])
def test_a_shipped_rule_fires_when_it_must_and_only_then(name: str, bad: Series, good: Series, seconds: float) -> None:
    assert name in firing(bad, seconds)
    assert firing(good, seconds) == set()


def test_every_shipped_alert_has_a_case_a_category_and_a_runbook() -> None:
    loaded = load(sorted(SHIPPED.glob("*.yml")))
    alerts = [rule for group in loaded.groups for rule in group.rules if rule.alerting]
    assert {rule.name for rule in alerts} == {case[0] for case in CASES}
    for rule in alerts:
        assert {"category", "kind", "severity"} <= set(dict(rule.labels))
        assert {"summary", "runbook"} <= set(dict(rule.annotations))
