"""The engine against plain references, at its edges, and against hostile text."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.rules.promql.adapter import MAX_DEPTH, parse
from detector.rules.promql.engine import Budget, Engine
from detector.rules.promql.errors import BudgetExceeded, ExecutionError, ParseError
from detector.rules.promql.instant import format_value
from detector.rules.promql.spans import required_span
from detector.rules.promql.values import Series, Vector
from tests.rules.scene import T0, labels_of, new_store, put

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
SAMPLES = st.lists(st.tuples(st.integers(1, 300), FINITE), max_size=40, unique_by=lambda s: s[0]).map(sorted)


def ask(samples: dict[str, list[tuple[int, float]]], text: str, at: int = T0 + 300_000) -> dict[str, float]:
    """Value by the label ``i`` of series ``x``."""
    store = new_store()
    put(
        store, {labels_of("x", i=i): [(T0 + t * 1000, v) for t, v in points] for i, points in samples.items() if points}
    )
    value = Engine(store).instant(parse(text), at)
    assert isinstance(value, Vector)
    return dict(zip((s.get("i", "") for s in value.labels.label_sets()), value.value.tolist(), strict=True))


def increase(values: list[float]) -> float:
    return values[-1] - values[0] + sum(a for a, b in itertools.pairwise(values) if b < a)


REFERENCES: dict[str, Callable[[list[float]], float]] = {
    "sum_over_time": math.fsum,
    "avg_over_time": lambda v: math.fsum(v) / len(v),
    "min_over_time": min,
    "max_over_time": max,
    "count_over_time": lambda v: float(len(v)),
    "last_over_time": lambda v: v[-1],
    "stdvar_over_time": lambda v: float(np.var(v)),
    "changes": lambda v: float(sum(a != b for a, b in itertools.pairwise(v))),
    "resets": lambda v: float(sum(b < a for a, b in itertools.pairwise(v))),
}


@settings(max_examples=25, deadline=None)
@given(st.lists(SAMPLES, min_size=1, max_size=4))
def test_over_time_functions_are_what_plain_python_says(series: list[list[tuple[int, float]]]) -> None:
    samples = {str(i): points for i, points in enumerate(series)}
    for function, reference in REFERENCES.items():
        got = ask(samples, f"{function}(x[5m])")
        want = {i: reference([v for _, v in points]) for i, points in samples.items() if points}
        assert got.keys() == want.keys()
        for i, value in want.items():
            assert got[i] == pytest.approx(value, rel=1e-9, abs=1e-6 if function == "stdvar_over_time" else 1e-9)


@settings(max_examples=25, deadline=None)
@given(SAMPLES)
def test_predictions_lie_on_the_least_squares_line(points: list[tuple[int, float]]) -> None:
    got = ask({"a": points}, "predict_linear(x[5m], 60)")
    assert bool(got) == (len(points) >= 2)
    if got:
        t, v = np.array(points, float).T
        slope, intercept = np.polyfit(t - 300, v, 1)
        assert got["a"] == pytest.approx(intercept + 60 * slope, rel=1e-6, abs=1e-3)


def test_a_rate_covers_the_whole_range_and_sees_resets() -> None:
    points = [(t, float((t * 2) % 200)) for t in range(15, 301, 15)]
    assert ask({"a": points}, "rate(x[5m])")["a"] == pytest.approx(increase([v for _, v in points]) / 285, rel=1e-9)


def test_ranges_and_look_back_are_left_open() -> None:
    assert ask({"a": [(0, 1.0), (300, 2.0)]}, "count_over_time(x[5m])") == {"a": 1.0}
    assert ask({"a": [(0, 1.0)]}, "x") == {}
    assert ask({"a": [(0, 1.0)]}, "x", T0 + 299_999) == {"a": 1.0}


def test_results_follow_series_that_come() -> None:
    """What is remembered about labels is forgotten when the index changes."""
    store = new_store()
    engine = Engine(store)
    expr = parse('sum by (i) (label_replace(x, "i", "new-$1", "i", "(.*)"))')
    for n in range(1, 6):
        put(store, {labels_of("x", i=f"s{n}"): [(T0 + n, 1.0)]})
        for _ in range(2):
            value = engine.instant(expr, T0 + n)
            assert isinstance(value, Vector)
            assert sorted(s["i"] for s in value.labels.label_sets()) == [f"new-s{k}" for k in range(1, n + 1)]
        # A text that expressions made so far now comes from a series: still one group.
        put(store, {labels_of("y", i=f"new-s{n}"): [(T0 + n, 1.0)]})
        both = engine.instant(parse('sum by (i) (label_replace(x, "i", "new-$1", "i", "(.*)") or y)'), T0 + n)
        assert isinstance(both, Vector)
        assert both.value.tolist() == [1.0] * n


def test_what_expressions_make_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.rules.promql.engine.MAX_TEXTS", 50)
    store = new_store()
    engine = Engine(store)
    put(store, {labels_of("x", i=str(i)): [(T0 + t, float(t * 7 + i)) for t in range(100)] for i in range(9)})
    expr = parse('count_values("v", x)')
    for t in range(100):
        value = engine.instant(expr, T0 + t)
        assert isinstance(value, Vector)
        assert sorted(int(s["v"]) for s in value.labels.label_sets()) == [t * 7 + i for i in range(9)]
        assert len(engine.texts) < 70


def test_a_range_query_is_its_instants() -> None:
    store = new_store()
    put(store, {labels_of("x", i=str(i)): [(T0 + t * 1000, float(t * i)) for t in range(i, 300, 15)] for i in range(5)})
    engine = Engine(store)
    for text in ("x > 200", "sum(rate(x[1m]))", "topk(2, x)", "time()", "absent(x)"):
        expr = parse(text)
        series = engine.range(expr, T0, T0 + 300_000, 20_000)
        got = {
            (tuple(labels.items()), at, v)
            for row, labels in enumerate(series.labels.label_sets())
            for at, v in zip(series.at[series.first[row] : series.first[row + 1]].tolist(),
                             series.value[series.first[row] : series.first[row + 1]].tolist(), strict=True)
        }  # fmt: skip
        want = set()
        for at in range(T0, T0 + 300_001, 20_000):
            value = engine.instant(expr, at)
            if isinstance(value, float):
                want.add(((), at, value))
                continue
            assert isinstance(value, Vector)
            sets = value.labels.label_sets()
            want |= {(tuple(s.items()), at, v) for s, v in zip(sets, value.value.tolist(), strict=True)}
        assert got == want, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x * on (j) x", "many-to-many matching not allowed"),
        ("x * on (j) group_left (i) x", "many-to-many matching not allowed"),
        ("x + on (j) sum by (j) (x)", "many-to-one matching must be explicit"),
        ('label_replace(x, "i", "", "i", ".*")', "same labelset"),
        ("topk(NaN, x)", "NaN"),
    ],
)
def test_what_fails_says_why(text: str, message: str) -> None:
    store = new_store()
    put(store, {labels_of("x", i=i, j="1"): [(T0, 1.0)] for i in "ab"})
    with pytest.raises(ExecutionError, match=message):
        Engine(store).instant(parse(text), T0)


def test_budgets_end_an_evaluation() -> None:
    store = new_store()
    put(store, {labels_of("x"): [(T0 + t, 1.0) for t in range(1000)]})
    engine = Engine(store)
    with pytest.raises(BudgetExceeded, match="too many samples"):
        engine.instant(parse("sum_over_time(x[1h])"), T0 + 1000, Budget(999))
    with pytest.raises(BudgetExceeded, match="too long"):
        engine.instant(parse("x"), T0, Budget(expired=lambda: True))
    with pytest.raises(BudgetExceeded):
        engine.instant(parse("count_over_time(x[10y:1ms])"), T0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 100_000, "characters"),
        ("(" * 5_000 + "x" + ")" * 5_000, "nested"),
        ("-" * 5_000 + "1", "operators"),
        ("+".join(["1"] * 3_000), "operators"),
        ("sum(" * (MAX_DEPTH + 1), "nested"),
        ("x @ -5", "before 1970"),
        ("x[99999999999y]", "duration"),
        ("", "empty"),
        ("x{", "inside braces"),
        ('x{a="b" or c="d"}', "`or` between label matchers"),
        ("limitk(1, x)", "limitk"),
        ("histogram_avg(x)", r"histogram_avg\(\)"),
        ("a + fill(0) b", "fill"),
        ("nonsense(x)", "unknown function"),
        ("rate(x)", "expected type matrix"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="xya(){}[]<>=!~\"'`+-*/^%@,:5m1 .e\\\x00ßsumby", max_size=120))
def test_no_text_crashes_or_stalls_the_parser(text: str) -> None:
    begun = time.monotonic()
    try:
        parse(text)
    except ParseError as error:
        assert str(error)
    assert time.monotonic() - begun < 1


def test_spans_reach_through_offsets_and_subqueries() -> None:
    expr = parse("rate(a[10m] offset 1h) + max_over_time(rate(b[5m])[30m:1m]) + {job='x'} + c @ 1700000000")
    assert required_span(expr) == {"a": 70 * 60_000, "b": 36 * 60_000, None: 5 * 60_000}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.1, "0.1"), (1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (math.inf, "+Inf"),
     (-math.inf, "-Inf"), (math.nan, "NaN"), (-0.0, "-0"), (123456.789, "123456.789")],
)  # fmt: skip
def test_values_are_written_without_exponents(value: float, text: str) -> None:
    assert format_value(value) == text


def test_a_string_and_samples_are_values_too() -> None:
    store = new_store()
    put(store, {labels_of("x"): [(T0, 1.0)]})
    engine = Engine(store)
    assert engine.instant(parse('"text"'), T0) == "text"
    series = engine.instant(parse("x[5m]"), T0)
    assert isinstance(series, Series)
    assert series.at.tolist() == [T0]
    with pytest.raises(ExecutionError, match="must be Scalar or instant Vector"):
        engine.range(parse("x[5m]"), T0, T0 + 10, 5)
