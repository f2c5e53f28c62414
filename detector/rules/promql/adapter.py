"""From text to our tree: the only file that knows ``promql_parser``.

That parser's trees are right, but it must be guarded: about a thousand nested parentheses overflow its stack and kill
the process, and some overflows raise ``PanicException``, which is no ``Exception``. So length, depth and the number of
operators are bounded by a linear scan before it sees the text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import promql_parser as pp

from detector.rules.promql.ast import (
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Matching,
    Negation,
    Number,
    Range,
    Selector,
    String,
    Subquery,
    Type,
)
from detector.rules.promql.errors import ParseError
from detector.rules.promql.functions import SUPPORTED
from detector.series.labels import Matcher

MAX_LENGTH = 16_384
MAX_DEPTH = 64
MAX_OPERATORS = 400
MAX_SPAN_MS = 10 * 365 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(?P<comment>\#[^\n]*)|(?P<past>@\s*-)"""
    r"""|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<operator>[-+*/%^<>=!]+|\b(?:and|or|unless|atan2)\b)""",
    re.DOTALL | re.IGNORECASE,
)
# The parser's enumerations cannot be hashed: they are told apart by their text.
_OPS: dict[str, Literal["=", "!=", "=~", "!~"]] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_AGGREGATIONS = frozenset(
    ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values")
)
_MANY = {"OneToOne": "none", "ManyToOne": "left", "OneToMany": "right", "ManyToMany": "both"}
_TYPES: dict[str, Type] = {"Scalar": "scalar", "Vector": "vector", "Matrix": "matrix", "String": "string"}


@lru_cache(maxsize=4096)
def parse(text: str) -> Expr:
    """The tree of ``text``; raises :class:`ParseError`, whatever the text is."""
    _guard(text)
    try:
        return _convert(pp.parse(text))
    except ParseError:
        raise
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001  pyo3's PanicException derives from BaseException
        raise ParseError(_explain(str(error), text)) from None


def _guard(text: str) -> None:
    """Refuse what could overflow the parser's stack: a linear scan that skips strings and comments."""
    if len(text) > MAX_LENGTH:
        raise ParseError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    if not text.strip():
        raise ParseError("the expression is empty")
    depth = operators = 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "open":
                depth += 1
            case "close":
                depth -= 1
            case "operator":
                operators += len(token[0])
            case "past":
                raise ParseError("an @ time before 1970 is not supported")
        if depth > MAX_DEPTH:
            raise ParseError(f"more than {MAX_DEPTH} nested brackets")
        if operators > MAX_OPERATORS:
            raise ParseError(f"more than {MAX_OPERATORS} operators in one expression")


def _explain(error: str, text: str) -> str:
    if error == "invalid promql query":
        return f"not a PromQL expression: {_shorten(text)}"
    return error.splitlines()[0] if error else "the parser failed"


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else flat[:77] + "..."


def _convert(node: Any) -> Expr:
    match node:
        case pp.NumberLiteral():
            return Number(float(node.val))
        case pp.StringLiteral():
            return String(node.val)
        case pp.ParenExpr():
            return _convert(node.expr)
        case pp.UnaryExpr():
            return _negate(_convert(node.expr))
        case pp.VectorSelector():
            return _selector(node)
        case pp.MatrixSelector():
            return Range(_selector(node.vector_selector), _span(node.range))
        case pp.SubqueryExpr():
            step = 0 if node.step is None else _span(node.step)
            return Subquery(_convert(node.expr), _span(node.range), step, _signed(node.offset), _at(node.at))
        case pp.Call():
            return _call(node)
        case pp.AggregateExpr():
            return _aggregation(node)
        case pp.BinaryExpr():
            return _binary(node)
    raise ParseError(f"{type(node).__name__} is not supported")


def _name(member: Any) -> str:
    """``MatchOp.Equal`` -> ``Equal``."""
    return str(member).rpartition(".")[2]


def _negate(expr: Expr) -> Expr:
    return Number(-expr.value) if isinstance(expr, Number) else Negation(expr)


def _selector(node: Any) -> Selector:
    if node.matchers.or_matchers:
        raise ParseError("`or` between label matchers is not supported")
    matchers = [Matcher(m.name, _OPS[_name(m.op)], m.value) for m in node.matchers.matchers]
    if node.name is not None:
        matchers.insert(0, Matcher("__name__", "=", node.name))
    return Selector(tuple(matchers), _signed(node.offset), _at(node.at))


def _span(value: timedelta | None) -> int:
    ms = 0 if value is None else value // _MILLISECOND
    if not 0 < ms <= MAX_SPAN_MS:
        raise ParseError("a range must be longer than 0 and at most 10 years")
    return ms


def _signed(value: timedelta | None) -> int:
    ms = 0 if value is None else value // _MILLISECOND
    if abs(ms) > MAX_SPAN_MS:
        raise ParseError("an offset can be at most 10 years")
    return ms


def _at(node: Any) -> At:
    if node is None:
        return None
    if node.type == pp.AtModifierType.Start:
        return "start"
    if node.type == pp.AtModifierType.End:
        return "end"
    return int((node.at - _EPOCH) // _MILLISECOND)


def _call(node: Any) -> Call:
    name = node.func.name
    if name not in SUPPORTED:
        raise ParseError(f"the function {name}() is not supported")
    return Call(name, tuple(_convert(a) for a in node.args), _TYPES[_name(node.func.return_type)])


def _aggregation(node: Any) -> Aggregation:
    operator = str(node.op)
    if operator not in _AGGREGATIONS:
        raise ParseError(f"the aggregation {operator} is not supported")
    modifier = node.modifier
    labels = () if modifier is None else tuple(sorted(set(modifier.labels)))
    without = modifier is not None and modifier.type == pp.AggModifierType.Without
    param = None if node.param is None else _convert(node.param)
    return Aggregation(operator, _convert(node.expr), param, labels, without)


def _binary(node: Any) -> Binary:
    modifier = node.modifier
    left, right = _convert(node.lhs), _convert(node.rhs)
    operator = str(node.op)
    if modifier is None:
        return Binary(operator, left, right, Matching())
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise ParseError("the fill modifiers of vector matching are not supported")
    matching = Matching(
        on=modifier.matching is not None and modifier.matching.type == pp.LabelModifierType.Include,
        labels=() if modifier.matching is None else tuple(sorted(set(modifier.matching.labels))),
        many=_MANY[_name(modifier.card)],  # type: ignore[arg-type]
        include=tuple(modifier.group_labels or ()),
    )
    return Binary(operator, left, right, matching, bool(modifier.return_bool))
