"""How far back an expression looks, per metric: what the rings' depth follows from."""

from __future__ import annotations

from detector.rules.promql.ast import Expr, Range, Selector, Subquery, children
from detector.rules.promql.engine import LOOKBACK_MS, SUBQUERY_STEP_MS


def required_span(expr: Expr, lookback: int = LOOKBACK_MS) -> dict[str | None, int]:
    """Look-back (ms) that ``expr`` needs for each metric; ``None`` stands for selectors that fix no name.

    Selectors at an absolute time (``@ 1700000000``) need what no ring holds and are left out.
    """
    spans: dict[str | None, int] = {}
    _collect(expr, 0, lookback, spans)
    return spans


def _collect(expr: Expr, beyond: int, lookback: int, spans: dict[str | None, int]) -> None:
    match expr:
        case Selector():
            _need(expr, beyond + lookback, spans)
        case Range():
            _need(expr.selector, beyond + expr.range, spans)
        case Subquery():
            step = expr.step or SUBQUERY_STEP_MS
            _collect(expr.expr, beyond + expr.range + max(0, expr.offset) + step, lookback, spans)
        case _:
            for child in children(expr):
                _collect(child, beyond, lookback, spans)


def _need(selector: Selector, span: int, spans: dict[str | None, int]) -> None:
    if isinstance(selector.at, int):
        return
    metric = selector.metric
    spans[metric] = max(spans.get(metric, 0), span + max(0, selector.offset))
