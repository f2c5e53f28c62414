"""Aggregations over groups of equal labels. The groups are worked out once per change of the index."""

from __future__ import annotations

import math

import numpy as np

from detector.nouns import Times, Values
from detector.rules.promql import kernels
from detector.rules.promql.ast import Aggregation
from detector.rules.promql.columns import NAME, Groups
from detector.rules.promql.errors import ExecutionError
from detector.rules.promql.instant import format_value
from detector.rules.promql.values import Vector

_EVERYTHING = 1 << 62


def aggregate(node: Aggregation, vector: Vector, param: float | str | None) -> Vector:
    """``node`` over ``vector``; ``param`` is k, q, or the label of ``count_values``."""
    labels = vector.labels
    if node.operator == "count_values":
        assert isinstance(param, str)
        return _count_values(node, vector, param)
    by = labels.names - {*node.labels, NAME} if node.without else labels.names & set(node.labels)
    groups = labels.groups(by)
    if node.operator in ("topk", "bottomk"):
        assert isinstance(param, float)
        return vector.take(_extremes(vector.value, groups, param, node.operator == "topk"))
    return Vector(groups.labels, _reduce(node.operator, groups, vector.value, param))


def _reduce(operator: str, groups: Groups, value: Values, param: float | str | None) -> Values:
    first = groups.first
    if operator == "count":
        return np.diff(first).astype(np.float64)
    if operator == "group":
        return np.ones(groups.labels.size)
    ordered = value[groups.order]
    match operator:
        case "sum":
            return kernels.total(first, ordered)
        case "avg":
            return kernels.mean(first, ordered)
        case "min":
            return kernels.extreme(first, ordered, kernels.MINIMUM)
        case "max":
            return kernels.extreme(first, ordered, kernels.MAXIMUM)
        case "stdvar":
            return kernels.variance(first, ordered)
        case "stddev":
            return np.sqrt(kernels.variance(first, ordered))
        case "quantile":
            assert isinstance(param, float)
            return kernels.quantile(first, ordered, param)
    raise ExecutionError(f"the aggregation {operator} is not supported")


def _extremes(value: Values, groups: Groups, param: float, largest: bool) -> Times:
    """The rows of the k largest or smallest values of each group, best first; NaN only where nothing else is left."""
    if math.isnan(param):
        raise ExecutionError("Parameter value is NaN")
    if param >= _EVERYTHING:
        raise ExecutionError(f"Scalar value {param:g} overflows int64")
    if param <= -_EVERYTHING:
        raise ExecutionError(f"Scalar value {param:g} underflows int64")
    k = int(param)
    if k < 1:
        return np.empty(0, np.int64)
    key = -value if largest else value
    order = np.lexsort((key, np.isnan(value), groups.group))
    rank = np.arange(len(order)) - groups.first[:-1][groups.group[order]]
    kept: Times = order[rank < k]
    return kept


def _count_values(node: Aggregation, vector: Vector, label: str) -> Vector:
    if not label:
        raise ExecutionError(f'invalid label name "{label}"')
    labels, texts = vector.labels, vector.labels.texts
    values, inverse = np.unique(vector.value, return_inverse=True)
    codes = np.array([texts.code(format_value(v)) for v in values.tolist()], np.int32)
    by = labels.names - {*node.labels, NAME} if node.without else labels.names & set(node.labels)
    valued = labels.only(by).replaced(label, codes[inverse] if len(codes) else np.empty(0, np.int32), None)
    groups = valued.groups(valued.names)
    return Vector(groups.labels, np.diff(groups.first).astype(np.float64))
