"""The expression tree: small, frozen, the only form of PromQL that the rest of the room knows.

Durations and times are int ms. Nodes compare by identity (``eq=False``), so that caches can be keyed by a node
without hashing a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from detector.series.labels import Matcher

Type = Literal["scalar", "vector", "matrix", "string"]
At = int | Literal["start", "end"] | None
"""The ``@`` modifier: a time in ms, the first or last evaluation time of the query, or none."""

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class String:
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """An instant selector: the newest sample within the look-back of (time or ``at``) minus ``offset``."""

    matchers: tuple[Matcher, ...]
    offset: int = 0
    at: At = None

    @property
    def metric(self) -> str | None:
        """The metric's name, where the selector fixes it."""
        return next((m.value for m in self.matchers if m.name == "__name__" and m.op == "="), None)


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """A range selector: the samples in (t - range, t], t shifted as in :class:`Selector`."""

    selector: Selector
    range: int


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """``expr[range:step]``; ``step`` 0 takes the engine's default."""

    expr: Expr
    range: int
    step: int
    offset: int = 0
    at: At = None


@dataclass(frozen=True, slots=True, eq=False)
class Negation:
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    function: str
    args: tuple[Expr, ...]
    returns: Type


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    operator: str
    expr: Expr
    param: Expr | None
    labels: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True)
class Matching:
    """Which labels pair two vectors. ``many``: the side that may have several members per match group."""

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["none", "left", "right", "both"] = "none"
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    operator: str
    left: Expr
    right: Expr
    matching: Matching
    return_bool: bool = False


Expr = Number | String | Selector | Range | Subquery | Negation | Call | Aggregation | Binary


def type_of(expr: Expr) -> Type:
    """The type of what ``expr`` evaluates to."""
    match expr:
        case Number():
            return "scalar"
        case String():
            return "string"
        case Range() | Subquery():
            return "matrix"
        case Call():
            return expr.returns
        case Negation():
            return type_of(expr.expr)
        case Binary():
            both = type_of(expr.left) == "scalar" and type_of(expr.right) == "scalar"
            return "scalar" if both else "vector"
        case _:
            return "vector"


def children(expr: Expr) -> Iterator[Expr]:
    """The direct sub-expressions, in the order of the text."""
    for field in fields(expr):
        value = getattr(expr, field.name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, Expr):
                yield child


def walk(expr: Expr) -> Iterator[Expr]:
    """``expr`` and every node below it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)
