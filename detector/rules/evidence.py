"""The picture of an alert: the last hour of what its expression compares, and the line it crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from detector.nouns import Evidence
from detector.rules.promql.ast import COMPARISONS, Binary, Expr, Negation, Number, Selector, type_of, walk
from detector.rules.promql.engine import Budget, Engine
from detector.rules.promql.errors import PromQLError
from detector.rules.promql.values import Series

SPAN_MS = 3_600_000
STEP_MS = 60_000
MOST = 20
"""Pictures made per evaluation of a rule: in a storm the twenty-first adds nothing."""
_SAMPLES = 5_000_000


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


def evidence(engine: Engine, expr: Expr, samples: Sequence[Mapping[str, str]], at: int) -> list[Evidence | None]:
    """One picture for each of ``samples`` (label sets that ``expr`` found at ``at`` ms); None where there is none."""
    out: list[Evidence | None] = [None] * len(samples)
    side, limit = compared(expr)
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
            out[i] = _picture(series, row, limit)
    return out


def _rows(series: Series) -> dict[tuple[tuple[str, str], ...], int]:
    return {_key(labels): row for row, labels in enumerate(series.labels.label_sets())}


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if name != "__name__"))


def _picture(series: Series, row: int, limit: float | None) -> Evidence | None:
    part = slice(int(series.first[row]), int(series.first[row + 1]))
    at, value = series.at[part], series.value[part]
    usable = np.isfinite(value)
    if not usable.any():
        return None
    return Evidence(tuple(at[usable].tolist()), tuple(value[usable].tolist()), limit=limit)
