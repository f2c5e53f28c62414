"""The evaluator: an expression and a time in, arrays out.

Selections (which series a selector means, with all that was derived from their labels) live as long as the index does
not change; an evaluation in between costs the store's window, a kernel and little else. Heart thread only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from detector.nouns import Ids, Times
from detector.rules.promql import instant, over_time
from detector.rules.promql.aggregation import aggregate
from detector.rules.promql.ast import (
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Negation,
    Number,
    Range,
    Selector,
    String,
    Subquery,
    type_of,
)
from detector.rules.promql.columns import NAME, Labels, Texts, constant
from detector.rules.promql.errors import BudgetExceeded, ExecutionError
from detector.rules.promql.matching import binary
from detector.rules.promql.values import Samples, Series, Value, Vector, combine
from detector.series.labels import Matcher
from detector.series.store import Store

LOOKBACK_MS = 300_000
SUBQUERY_STEP_MS = 60_000
MAX_SELECTIONS = 20_000
MAX_TEXTS = 200_000
_NO_VALUES = np.empty(0, np.float64)
_NO_TIMES = np.empty(0, np.int64)


class Budget:
    """How much one evaluation may do: ``samples`` read, and ``expired`` asked at every node."""

    def __init__(self, samples: int = 50_000_000, expired: Callable[[], bool] | None = None) -> None:
        self._left = samples
        self._expired = expired

    def spend(self, samples: int) -> None:
        """Raises :class:`BudgetExceeded`."""
        self._left -= samples
        if self._left < 0:
            raise BudgetExceeded("the query would load too many samples: ask for fewer series or a shorter range")
        if self._expired is not None and self._expired():
            raise BudgetExceeded("the query took too long: ask for fewer series or a shorter range")


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    ids: Ids
    labels: Labels


@dataclass(frozen=True, slots=True)
class _When:
    """The evaluation time, and the query's first and last for ``@ start()`` and ``@ end()``; ms."""

    at: int
    start: int
    end: int

    def shifted(self, at: At, offset: int) -> int:
        base = self.start if at == "start" else self.end if at == "end" else self.at if at is None else at
        return base - offset


class Engine:
    """PromQL over one store. ``lookback``: how old (ms) the newest sample of an instant selector may be."""

    def __init__(self, store: Store, lookback: int = LOOKBACK_MS) -> None:
        self._store = store
        self._lookback = lookback
        self._generation = store.index.generation
        self._texts = Texts(store.index)
        self._selections: dict[tuple[Matcher, ...], Selection] = {}
        self._by_node: dict[Selector, Selection] = {}

    # --- the two ways to ask -----------------------------------------------------------------------------------

    def instant(self, expr: Expr, at: int, budget: Budget | None = None) -> Value:
        """``expr`` at ``at`` ms: a vector with its names dropped and no duplicates, a scalar, a string, or samples.

        Raises :class:`ExecutionError` or :class:`BudgetExceeded`.
        """
        self._refresh()
        with np.errstate(all="ignore"):
            value = _Evaluation(self, _When(at, at, at), budget or Budget()).evaluate(expr)
            return value.cleaned() if isinstance(value, Vector) else value

    def range(self, expr: Expr, start: int, end: int, step: int, budget: Budget | None = None) -> Series:
        """``expr`` at ``start``, ``start + step``, ... up to ``end`` ms; scalars become one series without labels."""
        if type_of(expr) in ("string", "matrix"):
            raise ExecutionError(
                f'invalid expression type "{type_of(expr)}" for range query, must be Scalar or instant Vector'
            )
        self._refresh()
        budget = budget or Budget()
        times = range(start, end + 1, step)
        nothing = constant(self._texts, {})
        steps: list[Vector] = []
        with np.errstate(all="ignore"):
            for at in times:
                value = _Evaluation(self, _When(at, start, end), budget).evaluate(expr)
                vector = value if isinstance(value, Vector) else Vector(nothing, np.array([value], np.float64))
                budget.spend(len(vector.value))
                steps.append(vector.cleaned())
            return combine(steps, times, start - 1, end)

    # --- selections --------------------------------------------------------------------------------------------

    def select(self, node: Selector) -> Selection:
        """The series that ``node`` means now."""
        found = self._by_node.get(node)
        if found is not None:
            return found
        found = self._selections.get(node.matchers)
        if found is None:
            ids = self._store.index.select(node.matchers)
            found = self._selections[node.matchers] = Selection(ids, self._labels(ids))
        if len(self._by_node) >= MAX_SELECTIONS:
            self._by_node.clear()
        self._by_node[node] = found
        return found

    def _labels(self, ids: Ids) -> Labels:
        index = self._store.index
        return Labels(self._texts, len(ids), index.label_names(ids), lambda name: index.label_column(ids, name))

    def _refresh(self) -> None:
        """Forget what depends on the index when series came or went: codes may stand for other texts now. So too
        when expressions made many texts of their own (``count_values`` of what always changes)."""
        generation = self._store.index.generation
        if generation == self._generation and len(self._texts) <= MAX_TEXTS:
            return
        self._generation = generation
        for selection in self._selections.values():
            selection.labels.forget()
        self._selections.clear()
        self._by_node.clear()
        self._texts = Texts(self._store.index)

    # --- for the evaluation ------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return self._store

    @property
    def lookback(self) -> int:
        return self._lookback

    @property
    def texts(self) -> Texts:
        return self._texts


class _Evaluation:
    """One evaluation at one time."""

    __slots__ = ("_budget", "_engine", "_when")

    def __init__(self, engine: Engine, when: _When, budget: Budget) -> None:
        self._engine = engine
        self._when = when
        self._budget = budget

    def evaluate(self, expr: Expr) -> Value:
        match expr:
            case Number() | String():
                return expr.value
            case Selector():
                return self._newest(expr)[0]
            case Range() | Subquery():
                return self._series(expr)
            case Call():
                return self._call(expr)
            case Aggregation():
                param = None if expr.param is None else self.evaluate(expr.param)
                assert param is None or isinstance(param, float | str)
                return aggregate(expr, self._vector(expr.expr), param)
            case Binary():
                return self._binary(expr)
            case Negation():
                value = self.evaluate(expr.expr)
                assert isinstance(value, Vector | float)
                return value.marked(-value.value) if isinstance(value, Vector) else -value

    def _binary(self, node: Binary) -> Vector | float:
        left = self.evaluate(node.left)
        assert isinstance(left, Vector | float)
        if isinstance(left, Vector) and not len(left.value) and node.operator != "or":
            return left  # nothing to match, to keep or to count with: the other side need not be known
        right = self.evaluate(node.right)
        assert isinstance(right, Vector | float)
        return binary(node, left, right)

    def _vector(self, expr: Expr) -> Vector:
        value = self.evaluate(expr)
        assert isinstance(value, Vector)
        return value

    def _newest(self, node: Selector) -> tuple[Vector, Times]:
        """The selector's newest samples, and their times."""
        selection = self._engine.select(node)
        when = self._when.shifted(node.at, node.offset)
        self._budget.spend(len(selection.ids))
        if not len(selection.ids):  # most of a big rule pack is about what is not there
            return Vector(selection.labels, _NO_VALUES), _NO_TIMES
        at, value = self._engine.store.latest(selection.ids, when, self._engine.lookback)
        present = at != -1
        if present.all():
            return Vector(selection.labels, value), at
        return Vector(selection.labels.take(present), value[present]), at[present]

    # --- range vectors -----------------------------------------------------------------------------------------

    def _series(self, expr: Expr) -> Series:
        if isinstance(expr, Subquery):
            return self._subquery(expr)
        assert isinstance(expr, Range)
        selection, start, end = self._window(expr)
        window = self._engine.store.window(selection.ids, start, end)
        self._budget.spend(len(window.value))
        return Series(window.first, window.at, window.value, start, end, selection.labels)

    def _window(self, expr: Range) -> tuple[Selection, int, int]:
        """The series meant, and the range (start, end] ms."""
        end = self._when.shifted(expr.selector.at, expr.selector.offset)
        return self._engine.select(expr.selector), end - expr.range, end

    def _parts(self, selection: Selection, start: int, end: int) -> Iterator[Samples]:
        """The same samples as of :meth:`_series`, a few series at a time; a part is gone when the next is asked for."""
        for window in self._engine.store.windows(selection.ids, start, end):
            self._budget.spend(len(window.value))
            yield Samples(window.first, window.at, window.value, start, end)

    def _subquery(self, expr: Subquery) -> Series:
        """The inner expression at multiples of the step in (end - range, end]."""
        step = expr.step or SUBQUERY_STEP_MS
        end = self._when.shifted(expr.at, expr.offset)
        start = end - expr.range
        times = range((start // step + 1) * step, end + 1, step)
        self._budget.spend(len(times))
        steps = []
        nothing = constant(self._engine.texts, {})
        for at in times:
            inner = _Evaluation(self._engine, _When(at, self._when.start, self._when.end), self._budget)
            value = inner.evaluate(expr.expr)
            if isinstance(value, float):
                value = Vector(nothing, np.array([value]))
            assert isinstance(value, Vector)
            steps.append(value)
        if not steps:
            return combine([Vector(nothing.take(np.zeros(1, np.bool_)), np.empty(0))], [end], start, end)
        return combine(steps, times, start, end)

    # --- calls -------------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Value:
        name = node.function
        if name in over_time.FUNCTIONS:
            return self._over_time(node)
        match name:
            case "time":
                return self._when.at / 1000
            case "pi":
                return math.pi
            case "timestamp":
                return self._timestamp(node.args[0])
            case "absent" | "absent_over_time":
                return self._absent(node)
        args = [self.evaluate(arg) for arg in node.args]
        match name:
            case "vector":
                return Vector(constant(self._engine.texts, {}), np.array(args, np.float64))
            case "scalar":
                vector = args[0]
                assert isinstance(vector, Vector)
                return float(vector.value[0]) if len(vector.value) == 1 else math.nan
            case "histogram_quantile":
                q, vector = args
                assert isinstance(q, float)
                assert isinstance(vector, Vector)
                return instant.histogram_quantile(q, vector)
        if not args:  # the date functions speak of now
            args = [Vector(constant(self._engine.texts, {}), np.array([self._when.at / 1000]))]
        vector = args[0]
        assert isinstance(vector, Vector)
        return instant.FUNCTIONS[name](vector, args)

    def _over_time(self, node: Call) -> Vector:
        samples: tuple[Labels, Iterable[Samples]] | None = None
        params = []
        for arg in node.args:
            if isinstance(arg, Range):
                selection, start, end = self._window(arg)
                samples = selection.labels, self._parts(selection, start, end)
                continue
            value = self.evaluate(arg)
            if isinstance(value, Series):
                samples = value.labels, [value]
            else:
                assert isinstance(value, float)
                params.append(value)
        assert samples is not None
        labels, parts = samples
        return over_time.apply(node.function, labels, parts, tuple(params), self._when.at)

    def _timestamp(self, arg: Expr) -> Vector:
        if isinstance(arg, Selector):
            vector, at = self._newest(arg)
            return vector.marked(at / 1000)
        vector = self._vector(arg)
        return vector.marked(np.full(len(vector.value), self._when.at / 1000))

    def _absent(self, node: Call) -> Vector:
        value = self.evaluate(node.args[0])
        there = len(value.value) > 0 if isinstance(value, Vector | Series) else True
        labels = constant(self._engine.texts, _fixed_labels(node.args[0]))
        return Vector(labels, np.ones(1)).take(np.array([not there]))


def _fixed_labels(expr: Expr) -> dict[str, str]:
    """The labels of ``absent(expr)``: what a selector fixes by ``=``, once each; the name never."""
    selector = expr.selector if isinstance(expr, Range) else expr
    if not isinstance(selector, Selector):
        return {}
    names = [m.name for m in selector.matchers]
    return {m.name: m.value for m in selector.matchers if m.op == "=" and m.name != NAME and names.count(m.name) == 1}
