"""Binary operators: arithmetic, comparison and set operators, with vector matching.

Which rows pair depends on labels alone, so a pairing is worked out once per change of the index and remembered on the
left side's labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.nouns import Times, Values
from detector.rules.promql.ast import COMPARISONS, SET_OPERATORS, Binary, Matching
from detector.rules.promql.columns import NAME, Labels, Mask, concatenate
from detector.rules.promql.errors import ExecutionError
from detector.rules.promql.kernels import row_groups
from detector.rules.promql.values import Vector

_Operand = Any  # float or float64[n]; numpy broadcasts one against the other

ARITHMETIC: Mapping[str, Callable[[_Operand, _Operand], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power,
    "atan2": np.arctan2,
}  # fmt: skip
COMPARE: Mapping[str, Callable[[_Operand, _Operand], Any]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip


def binary(node: Binary, left: Vector | float, right: Vector | float) -> Vector | float:
    """``left <operator> right`` for any mix of vectors and scalars."""
    if isinstance(left, Vector):
        if isinstance(right, Vector):
            return _set_operation(node, left, right) if node.operator in SET_OPERATORS else _paired(node, left, right)
        return _with_scalar(node, left, left.value, np.float64(right))
    if isinstance(right, Vector):
        return _with_scalar(node, right, np.float64(left), right.value)
    function = COMPARE if node.operator in COMPARISONS else ARITHMETIC
    return float(function[node.operator](np.float64(left), np.float64(right)))


def _with_scalar(node: Binary, vector: Vector, left: _Operand, right: _Operand) -> Vector:
    if not len(vector.value):
        return vector
    if node.operator not in COMPARISONS:
        return vector.marked(ARITHMETIC[node.operator](left, right))
    holds = COMPARE[node.operator](left, right)
    return vector.marked(holds.astype(np.float64)) if node.return_bool else vector.take(holds)


# --- pairing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Row ``many[i]`` pairs with row ``one[i]``; ``labels`` of the results; ``right`` keeps alive what keys the memory.

    ``unique``: no two pairs share a match group, so that one-to-one holds whatever a comparison filters.
    """

    right: Labels
    many: Times
    one: Times
    group: npt.NDArray[np.int32]
    unique: bool
    labels: Labels


def _match_groups(left: Labels, right: Labels, matching: Matching) -> tuple[npt.NDArray[np.int32], int]:
    """Match group of every row, those of ``left`` first, and how many groups there are."""
    names = matching.labels if matching.on else (left.names | right.names) - {NAME, *matching.labels}
    group, members = row_groups(np.hstack([left.matrix(tuple(names)), right.matrix(tuple(names))]))
    return group, len(members)


def _paired(node: Binary, left: Vector, right: Vector) -> Vector:
    many, one = (right, left) if node.matching.many == "right" else (left, right)
    if not len(left.value) or not len(right.value):
        return left.take(np.zeros(len(left.value), np.bool_))
    arithmetic = node.operator not in COMPARISONS
    key = ("pairs", id(one.labels), node.matching, arithmetic)
    pairs = many.labels.remembered(key, lambda: _pair(node, many.labels, one.labels))
    a, b = many.value[pairs.many], one.value[pairs.one]
    x, y = (b, a) if node.matching.many == "right" else (a, b)
    if arithmetic:
        _check(node, pairs, None)
        return Vector(pairs.labels, ARITHMETIC[node.operator](x, y))
    holds: Mask = COMPARE[node.operator](x, y)
    if node.return_bool:
        _check(node, pairs, None)
        return Vector(pairs.labels, a).marked(holds.astype(np.float64))
    _check(node, pairs, holds)
    return Vector(pairs.labels, x).take(holds)


def _pair(node: Binary, many: Labels, one: Labels) -> _Pairs:
    matching = node.matching
    group, count = _match_groups(many, one, matching)
    many_group, one_group = group[: many.size], group[many.size :]
    members = np.bincount(one_group, minlength=count)
    if members.max(initial=0) > 1:
        _refuse(node, one, np.flatnonzero(one_group == np.argmax(members > 1)))
    partner = np.full(count, -1, np.int64)
    partner[one_group] = np.arange(one.size)
    rows = np.flatnonzero(partner[many_group] >= 0)
    partners = partner[many_group[rows]]
    labels = _result_labels(node, many.take(rows), one.take(partners))
    unique = bool(np.bincount(many_group[rows], minlength=1).max(initial=0) <= 1)
    return _Pairs(one, rows, partners, many_group[rows], unique, labels)


def _result_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    labels = many if node.operator in COMPARISONS else many.without((NAME,))
    if matching.many == "none":
        return labels.only(matching.labels) if matching.on else labels.without(matching.labels)
    for name in matching.include:
        labels = labels.replaced(name, one.column(name), labels.unnamed)
    return labels


def _check(node: Binary, pairs: _Pairs, kept: Mask | None) -> None:
    """Several rows in one match group are an error one-to-one; with group_left/right their results must differ."""
    if pairs.unique:
        return
    if node.matching.many == "none":
        group = pairs.group if kept is None else pairs.group[kept]
        if np.bincount(group, minlength=1).max() > 1:
            raise ExecutionError(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            )
    elif not (pairs.labels if kept is None else pairs.labels.take(kept)).distinct():
        raise ExecutionError("multiple matches for labels: grouping labels must ensure unique matches")


def _refuse(node: Binary, one: Labels, rows: Times) -> None:
    side = "left" if node.matching.many == "right" else "right"
    shown = one.take(rows[:2])
    wanted = node.matching.labels if node.matching.on else tuple(one.names - {NAME, *node.matching.labels})
    group = _text(shown.only(wanted).label_sets()[0])
    sets = ", ".join(_text(labels) for labels in shown.label_sets())
    raise ExecutionError(
        f"found duplicate series for the match group {group} on the {side} hand-side of the operation: [{sets}];"
        "many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _text(labels: dict[str, str]) -> str:
    inner = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return "{" + inner + "}"


# --- sets --------------------------------------------------------------------------------------------------------


def _set_operation(node: Binary, left: Vector, right: Vector) -> Vector:
    key = ("set", node.operator, id(right.labels), node.matching)
    left_rows, right_rows, both, _ = left.labels.remembered(
        key, lambda: (*_set_rows(node, left.labels, right.labels), right.labels)
    )
    if both is None:
        return left.take(left_rows)
    if not right_rows.any():
        return left
    value: Values = np.concatenate([left.value, right.value[right_rows]])
    return Vector(both, value)


def _set_rows(node: Binary, left: Labels, right: Labels) -> tuple[Mask, Mask, Labels | None]:
    """Which rows of each side stay, and for ``or`` the labels of both together."""
    group, count = _match_groups(left, right, node.matching)
    on_left = np.zeros(count, np.bool_)
    on_left[group[: left.size]] = True
    on_right = np.zeros(count, np.bool_)
    on_right[group[left.size :]] = True
    if node.operator == "and":
        return on_right[group[: left.size]], np.zeros(right.size, np.bool_), None
    if node.operator == "unless":
        return ~on_right[group[: left.size]], np.zeros(right.size, np.bool_), None
    kept = ~on_left[group[left.size :]]
    return np.ones(left.size, np.bool_), kept, concatenate([left, right.take(kept)])
