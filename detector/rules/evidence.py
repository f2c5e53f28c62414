"""The picture of an alert: the last hour of what its expression compares, and the line it crossed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from detector.nouns import Evidence
from detector.rules.groups import Rule
from detector.rules.promql.ast import (
    COMPARISONS,
    Aggregation,
    Binary,
    Call,
    Expr,
    Negation,
    Number,
    Range,
    Selector,
    type_of,
    walk,
)
from detector.rules.promql.engine import Budget, Engine
from detector.rules.promql.errors import PromQLError
from detector.rules.promql.values import Series

SPAN_MS = 3_600_000
STEP_MS = 60_000
MOST = 20
"""Pictures made per evaluation of a rule: in a storm the twenty-first adds nothing."""
_SAMPLES = 5_000_000
_SAME_UNIT = frozenset({"sum", "avg", "min", "max", "topk", "bottomk", "quantile"})
_WORDED = re.compile(r"\$value[^{}]*?humanize(Percentage|Duration|1024)|\$value[^{}]*\}\}\s?(%)")
_UNITS = {"Percentage": "ratio", "Duration": "seconds", "1024": "bytes", "%": "percent"}


def compared(expr: Expr) -> tuple[Expr, float | None]:
    """What an alert's expression compares, and with which number: ``a / b > 0.9 and c`` -> (``a / b``, 0.9)."""
    while isinstance(expr, Binary) and expr.operator in ("and", "unless", "or"):
        expr = expr.left
    if not isinstance(expr, Binary) or expr.operator not in COMPARISONS:
        return expr, None
    for side, other in ((expr.left, expr.right), (expr.right, expr.left)):
        if type_of(side) != "scalar":
            return side, _constant(other)
    return expr, None


def is_plain(expr: Expr) -> bool:
    """Whether the alert's value is a metric's own, so that the metric's name tells its unit."""
    side, _ = compared(expr)
    while not isinstance(side, Selector):
        if isinstance(side, Aggregation) and side.operator in _SAME_UNIT:
            side = side.expr
        elif isinstance(side, Call) and side.function.removesuffix("_over_time") in {*_SAME_UNIT, "last"} - {"sum"}:
            arg = side.args[-1]
            if not isinstance(arg, Range):
                return False
            side = arg.selector
        else:
            return False
    return True


def unit_of_value(rule: Rule) -> str:
    """The unit of a rule's value as its annotations word it (``| humanizePercentage``: a ratio), or empty."""
    for _, template in rule.annotations:
        if match := _WORDED.search(template.source):
            return _UNITS[match[1] or match[2]]
    return ""


def _constant(expr: Expr) -> float | None:
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Negation):
        inner = _constant(expr.expr)
        return None if inner is None else -inner
    if isinstance(expr, Binary) and expr.operator in "+-*/":
        left, right = _constant(expr.left), _constant(expr.right)
        if left is None or right is None or (expr.operator == "/" and right == 0):
            return None
        return {"+": left + right, "-": left - right, "*": left * right}.get(
            expr.operator, left / right if right else 0.0
        )
    return None


def evidence(engine: Engine, rule: Rule, samples: Sequence[Mapping[str, str]], at: int) -> list[Evidence | None]:
    """One picture for each of ``samples`` (label sets that ``rule`` found at ``at`` ms); None where there is none."""
    out: list[Evidence | None] = [None] * len(samples)
    side, limit = compared(rule.expr)
    if type_of(side) != "vector" or not any(isinstance(node, Selector) for node in walk(side)):
        return out
    try:
        series = engine.range(side, at - SPAN_MS, at, STEP_MS, Budget(_SAMPLES))
    except PromQLError:
        return out  # the alert stands without its picture
    rows = _rows(series)
    for i, sample in enumerate(samples[:MOST]):
        row = rows.get(_key(sample))
        if row is not None:
            out[i] = _picture(series, row, limit, unit_of_value(rule))
    return out


def _rows(series: Series) -> dict[tuple[tuple[str, str], ...], int]:
    return {_key(labels): row for row, labels in enumerate(series.labels.label_sets())}


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if name != "__name__"))


def _picture(series: Series, row: int, limit: float | None, unit: str) -> Evidence | None:
    part = slice(int(series.first[row]), int(series.first[row + 1]))
    at, value = series.at[part], series.value[part]
    usable = np.isfinite(value)
    if not usable.any():
        return None
    return Evidence(tuple(at[usable].tolist()), tuple(value[usable].tolist()), limit=limit, unit=unit)
