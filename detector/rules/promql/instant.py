"""Functions of instant vectors and scalars: arithmetic, dates, labels, histograms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import re2

from detector.nouns import Ids, Values
from detector.rules.promql import kernels
from detector.rules.promql.columns import NAME
from detector.rules.promql.errors import ExecutionError
from detector.rules.promql.values import Value, Vector

InstantFunction = Callable[[Vector, Sequence[Value]], Vector]
"""The vector (the first argument of that type) and all arguments."""


def format_value(value: float) -> str:
    """As Go's ``FormatFloat(v, 'f', -1, 64)``: the shortest text that reads back, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text[:-2] if text.endswith(".0") else text


# --- arithmetic ------------------------------------------------------------------------------------------------


def _ufunc(function: Callable[[Values], Values]) -> InstantFunction:
    return lambda vector, args: vector.marked(function(vector.value))


def _scalar(args: Sequence[Value], i: int, default: float = math.nan) -> float:
    if i >= len(args):
        return default
    value = args[i]
    assert isinstance(value, float)
    return value


def _round(vector: Vector, args: Sequence[Value]) -> Vector:
    # Upstream multiplies by the inverse: for 0.1 that is what rounds 2.15 to the nearest tenth as people expect.
    inverse = 1.0 / np.float64(_scalar(args, 1, 1.0))
    return vector.marked(np.floor(vector.value * inverse + 0.5) / inverse)


def _clamp(vector: Vector, args: Sequence[Value]) -> Vector:
    low, high = _scalar(args, 1), _scalar(args, 2)
    if low > high:
        return vector.take(np.zeros(len(vector.value), np.bool_))
    return vector.marked(_bounded(vector.value, low, high))


def _bounded(value: Values, low: float, high: float) -> Values:
    return np.maximum(low, np.minimum(high, value))


def _clamp_min(vector: Vector, args: Sequence[Value]) -> Vector:
    return vector.marked(np.maximum(vector.value, _scalar(args, 1)))


def _clamp_max(vector: Vector, args: Sequence[Value]) -> Vector:
    return vector.marked(np.minimum(vector.value, _scalar(args, 1)))


def _sgn(value: Values) -> Values:
    return np.where(value > 0, 1.0, np.where(value < 0, -1.0, value))


def _sort(descending: bool) -> InstantFunction:
    def function(vector: Vector, args: Sequence[Value]) -> Vector:
        key = -vector.value if descending else vector.value
        return vector.take(np.argsort(key, kind="stable"))  # NaN last, either way

    return function


# --- dates (UTC) -----------------------------------------------------------------------------------------------


def _date(part: Callable[[npt.NDArray[np.datetime64]], npt.NDArray[np.int64]]) -> InstantFunction:
    def function(vector: Vector, args: Sequence[Value]) -> Vector:
        # Seconds beyond the calendar's reach have no date.
        usable = np.abs(vector.value) < 1e11
        seconds = np.where(usable, vector.value, 0).astype(np.int64).astype("datetime64[s]")
        return vector.marked(np.where(usable, part(seconds).astype(np.float64), np.nan))

    return function


def _since(t: npt.NDArray[np.datetime64], start: str, unit: str) -> npt.NDArray[np.int64]:
    out: npt.NDArray[np.int64] = (t.astype(f"datetime64[{unit}]") - t.astype(f"datetime64[{start}]")).astype(np.int64)
    return out


def _month_length(t: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    month = t.astype("datetime64[M]")
    out: npt.NDArray[np.int64] = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return out


# --- labels ----------------------------------------------------------------------------------------------------

_QUIET = re2.Options()
_QUIET.log_errors = False
_GROUP = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def _expand(template: str, match: re.Match[str]) -> str:
    """Go's ``Regexp.Expand``: ``$1``, ``${name}``, ``$$``; a group that is not there is empty."""

    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except (IndexError, KeyError, error):
            return ""

    error = re2.error
    return _GROUP.sub(group, template)


def _text(args: Sequence[Value], i: int) -> str:
    value = args[i]
    assert isinstance(value, str)
    return value


def _relabelled(vector: Vector, target: str, codes: Ids, changed: npt.NDArray[np.bool_]) -> Vector:
    labels = vector.labels
    unnamed = labels.unnamed
    if target == NAME and unnamed is not None:
        unnamed = unnamed & ~changed  # a name that was given on purpose stays
    relabelled = labels.replaced(target, codes, unnamed)
    if not relabelled.distinct():
        raise ExecutionError("vector cannot contain metrics with the same labelset")
    return Vector(relabelled, vector.value)


def _label_replace(vector: Vector, args: Sequence[Value]) -> Vector:
    target, replacement, source, pattern = (_text(args, i) for i in range(1, 5))
    if not target:
        raise ExecutionError(f"invalid destination label name in label_replace(): {target}")
    try:
        regex = re2.compile(f"(?s:{pattern})", _QUIET)
    except re2.error:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from None
    labels, texts = vector.labels, vector.labels.texts
    values, inverse = np.unique(labels.column(source), return_inverse=True)
    codes = np.zeros(len(values), np.int32)
    matched = np.zeros(len(values), np.bool_)
    for i, code in enumerate(values.tolist()):
        match = regex.fullmatch(texts.text(code))
        if match is not None:
            matched[i] = True
            codes[i] = texts.code(_expand(replacement, match))
    changed = matched[inverse]
    return _relabelled(vector, target, np.where(changed, codes[inverse], labels.column(target)), changed)


def _label_join(vector: Vector, args: Sequence[Value]) -> Vector:
    target, separator = _text(args, 1), _text(args, 2)
    sources = [_text(args, i) for i in range(3, len(args))]
    for source in sources:
        if not source:
            raise ExecutionError("invalid source label name in label_join(): ")
    if not target:
        raise ExecutionError(f"invalid destination label name in label_join(): {target}")
    labels, texts = vector.labels, vector.labels.texts
    matrix = labels.matrix(sources)
    group, members = kernels.row_groups(matrix)
    joined = [texts.code(separator.join(texts.text(c) for c in matrix[:, m].tolist())) for m in members.tolist()]
    codes = np.asarray(joined, np.int32)[group] if joined else np.zeros(labels.size, np.int32)
    return _relabelled(vector, target, codes, np.ones(labels.size, np.bool_))


# --- classic histograms ----------------------------------------------------------------------------------------


def _bound(text: str) -> float:
    """A bucket's upper bound, NaN when the label does not say one. Go's ParseFloat takes no spaces; nor do we."""
    try:
        return math.nan if text != text.strip() else float(text)
    except ValueError:
        return math.nan


def histogram_quantile(q: float, vector: Vector) -> Vector:
    """The ``q``-quantile of every classic histogram in ``vector``: buckets are what differs only in ``le``."""
    labels = vector.labels
    codes, inverse = np.unique(labels.column("le"), return_inverse=True)
    bounds = np.array([_bound(labels.texts.text(c)) for c in codes.tolist()], np.float64)[inverse]
    usable = ~np.isnan(bounds) & (labels.column("le") != 0)
    if not usable.all():
        vector, bounds = vector.take(usable), bounds[usable]
        labels = vector.labels
    groups = labels.groups(labels.names - {"le"})
    order = np.lexsort((bounds, groups.group))
    value = kernels.bucket_quantile(groups.first, bounds[order], vector.value[order], q)
    return Vector(groups.labels.marked(), value)


_ARITHMETIC: Mapping[str, Callable[[Values], Values]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "exp": np.exp, "ln": np.log, "log2": np.log2,
    "log10": np.log10, "sqrt": np.sqrt, "sgn": _sgn, "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin,
    "asinh": np.arcsinh, "atan": np.arctan, "atanh": np.arctanh, "cos": np.cos, "cosh": np.cosh, "sin": np.sin,
    "sinh": np.sinh, "tan": np.tan, "tanh": np.tanh, "deg": np.degrees, "rad": np.radians,
}  # fmt: skip

DATES: Mapping[str, InstantFunction] = {
    "minute": _date(lambda t: _since(t, "h", "m")),
    "hour": _date(lambda t: _since(t, "D", "h")),
    "day_of_week": _date(lambda t: (t.astype("datetime64[D]").astype(np.int64) + 4) % 7),
    "day_of_month": _date(lambda t: _since(t, "M", "D") + 1),
    "day_of_year": _date(lambda t: _since(t, "Y", "D") + 1),
    "days_in_month": _date(_month_length),
    "month": _date(lambda t: _since(t, "Y", "M") + 1),
    "year": _date(lambda t: t.astype("datetime64[Y]").astype(np.int64) + 1970),
}

FUNCTIONS: Mapping[str, InstantFunction] = {
    **{name: _ufunc(function) for name, function in _ARITHMETIC.items()},
    **DATES,
    "round": _round,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "sort": _sort(descending=False),
    "sort_desc": _sort(descending=True),
    "label_replace": _label_replace,
    "label_join": _label_join,
}
