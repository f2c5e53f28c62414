"""Prometheus's own PromQL test scripts, run in this process against the engine over the real store."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from detector.nouns import Batch
from detector.rules.promql.adapter import parse
from detector.rules.promql.engine import Engine
from detector.rules.promql.errors import PromQLError
from detector.rules.promql.values import Series, Value, Vector
from detector.series.limits import FOREVER, Depth, Limits
from detector.series.store import Store
from tests.rules.script import STALE, Case, Load, almost_equal, native_names, sections, unsupported

STALE_NAN = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]
LEAST_PASSED = 593
EXEMPT = {"functions.test:523": "the label name is not UTF-8; the parser reads \\xff as the letter of that number"}
"""``file:line`` of float cases that do not pass, and why."""

Key = tuple[tuple[str, str], ...]


def fill(store: Store, load: Load) -> None:
    ids: list[int] = []
    at: list[int] = []
    value: list[float] = []
    for labels, values in load.series:
        if any(isinstance(v, str) and v != STALE for v in values):
            continue
        kept = [(i * load.step, v) for i, v in enumerate(values) if v is not None]
        if not kept:
            continue
        series = store.index.intern(tuple(sorted(labels.items())), "test", "")
        ids += [series] * len(kept)
        at += [t for t, _ in kept]
        value += [STALE_NAN if isinstance(v, str) else v for _, v in kept]
    store.accept(Batch("test", np.array(ids, np.int32), np.array(at, np.int64), np.array(value)))


def compare(case: Case, got: Value) -> str | None:
    """None when ``got`` is what the script expects, else the difference."""
    if isinstance(got, str):
        return None if got == case.string else f"got {got!r}"
    if isinstance(got, float):
        ok = case.scalar is not None and almost_equal(case.scalar, got)
        return None if ok else f"got scalar {got}, want {case.scalar} {case.expected}"
    if isinstance(got, Series):
        return compare_matrix(case, got)
    if case.scalar is not None:
        return f"got a vector, want scalar {case.scalar}"
    return compare_vector(case, got)


def compare_vector(case: Case, got: Vector) -> str | None:
    keys: list[Key] = [tuple(sorted(labels.items())) for labels in got.labels.label_sets()]
    wanted: dict[Key, float] = {}
    for labels, values in case.expected:
        first = values[0] if values else 0.0
        wanted[tuple(sorted(labels.items()))] = first if isinstance(first, float) else math.nan
    if set(keys) != set(wanted) or len(keys) != len(wanted):
        return f"got {dict(zip(keys, got.value.tolist(), strict=True))}, want {wanted}"
    for key, value in zip(keys, got.value.tolist(), strict=True):
        if not almost_equal(wanted[key], value):
            return f"{key}: got {value}, want {wanted[key]}"
    if case.ordered and keys != list(wanted):
        return f"order {keys}, want {list(wanted)}"
    return None


def compare_matrix(case: Case, got: Series) -> str | None:
    start, _, step = case.vector_range or (case.start, case.end, case.step)
    wanted: dict[Key, list[tuple[int, float]]] = {}
    for labels, values in case.expected:
        points = [(start + i * step, v) for i, v in enumerate(values) if isinstance(v, float)]
        if points:
            wanted[tuple(sorted(labels.items()))] = points
    found: dict[Key, list[tuple[int, float]]] = {}
    for i, labels in enumerate(got.labels.label_sets()):
        part = slice(got.first[i], got.first[i + 1])
        points = list(zip(got.at[part].tolist(), got.value[part].tolist(), strict=True))
        if points:
            found[tuple(sorted(labels.items()))] = points
    if set(found) != set(wanted):
        return f"got {found}, want {wanted}"
    for key, points in found.items():
        if [t for t, _ in points] != [t for t, _ in wanted[key]]:
            return f"{key}: got {points}, want {wanted[key]}"
        if not all(almost_equal(w, g) for (_, g), (_, w) in zip(points, wanted[key], strict=True)):
            return f"{key}: got {points}, want {wanted[key]}"
    return None


def run(engine: Engine, case: Case) -> str | None:
    try:
        expr = parse(case.expr)
        got = engine.range(expr, case.start, case.end, case.step) if case.step else engine.instant(expr, case.start)
    except PromQLError as error:
        return None if case.fails else f"refused: {error}"
    return "should have failed" if case.fails else compare(case, got)


def outcomes(path: Path) -> tuple[Counter[str], dict[str, str]]:
    """How many cases passed, failed or are none of ours; and the failures by ``file:line``."""
    count: Counter[str] = Counter()
    failures = {}
    for commands in sections(path.read_text()):
        store = Store(Limits(), Depth(FOREVER), evict=False)
        engine = Engine(store)
        native = native_names(commands)
        start_times = any(isinstance(c, Load) and c.start_times for c in commands)
        for command in commands:
            if isinstance(command, Load):
                fill(store, command)
                continue
            why = "experimental" if start_times else unsupported(command, native)
            if why is None:
                why = "passed"
                if difference := run(engine, command):
                    failures[f"{path.name}:{command.line}"] = f"{command.expr}\n    {difference}"
                    why = "failed"
            count[why] += 1
    return count, failures


def test_upstream_scripts(shared_data: Path) -> None:
    total: Counter[str] = Counter()
    failures: dict[str, str] = {}
    for path in sorted((shared_data / "promql" / "tests").glob("*.test")):
        count, failed = outcomes(path)
        total += count
        failures |= failed
    unexpected = {place: text for place, text in failures.items() if place not in EXEMPT}
    assert not unexpected, "\n".join(f"{place} {text}" for place, text in unexpected.items())
    assert not set(EXEMPT) - set(failures), "cases that pass now are no longer exempt"
    assert total["passed"] >= LEAST_PASSED, total


@pytest.mark.parametrize(
    ("text", "values"), [("1+2x3", [1, 3, 5, 7]), ("_ 2 _x2", [None, 2, None, None]), ("stale NaN", None)]
)
def test_the_script_reader_itself(text: str, values: list[float | None] | None) -> None:
    from tests.rules.script import samples

    got = samples(text)
    assert got == values if values is not None else got[0] == STALE and math.isnan(got[1])  # type: ignore[arg-type]
