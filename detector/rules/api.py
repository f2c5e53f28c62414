"""The Prometheus HTTP API v1 as data: parameters in, status and JSON-ready body out. No HTTP, no clock.

``answer`` never raises on what a user may ask: errors become ``bad_data`` (400), ``execution`` (422), ``timeout`` (503)
and ``not_found`` (404), as upstream words them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detector.clock import parse_rfc3339, rfc3339
from detector.nouns import Ids
from detector.options import parse_duration
from detector.rules.alerting import Instance
from detector.rules.groups import Rule
from detector.rules.promql.adapter import parse
from detector.rules.promql.ast import Expr, Selector
from detector.rules.promql.engine import Budget, Engine
from detector.rules.promql.errors import BudgetExceeded, ExecutionError, ParseError
from detector.rules.promql.instant import format_value
from detector.rules.promql.values import Series, Value, Vector
from detector.rules.ruler import GroupState, Ruler, RuleState
from detector.series.labels import Matcher
from detector.series.store import Store

MAX_POINTS = 11_000
MAX_SAMPLES = 50_000_000
MAX_SECONDS = 10.0
MAX_TIME_MS = 253_402_300_800_000
DEFAULT_LIMIT = 100_000
VERSION = "3.0.0"
"""The version of Prometheus whose API this is; Grafana chooses its features by it."""

Params = Mapping[str, tuple[str, ...]]
Answer = tuple[int, dict[str, Any]]


class _BadData(Exception):
    """A parameter is wrong; the message names it."""


def answer(store: Store, engine: Engine, ruler: Ruler, what: str, params: Params, now: int) -> Answer:
    """The answer to ``/api/v1/<what>`` with all values of each parameter, at ``now`` (ms)."""
    try:
        return 200, {"status": "success", "data": _data(store, engine, ruler, what.strip("/"), params, now)}
    except (_BadData, ParseError) as error:
        return _error(400, "bad_data", str(error))
    except ExecutionError as error:
        return _error(422, "execution", str(error))
    except BudgetExceeded as error:
        return _error(503, "timeout", str(error))
    except KeyError:
        return _error(404, "not_found", f"/api/v1/{what} does not exist")


def _error(status: int, kind: str, message: str) -> Answer:
    return status, {"status": "error", "errorType": kind, "error": message}


def _data(store: Store, engine: Engine, ruler: Ruler, what: str, params: Params, now: int) -> Any:
    if match := re.fullmatch(r"label/(.+)/values", what):
        return _label_values(store, match[1], params)
    match what:
        case "query":
            return _query(engine, params, now)
        case "query_range":
            return _query_range(engine, params)
        case "series":
            return _series(store, params)
        case "labels":
            return _limited(store.index.label_names(_matched(store, params)), params)
        case "label_values":
            return _label_values(store, _one(params, "name"), params)
        case "metadata":
            return _metadata(store, params)
        case "rules":
            return {"groups": _rules(ruler, params)}
        case "alerts":
            return {"alerts": _alerts(ruler)}
        case "status/buildinfo" | "buildinfo":
            return {"version": VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
    raise KeyError(what)


# --- queries -------------------------------------------------------------------------------------------------------


def _query(engine: Engine, params: Params, now: int) -> dict[str, Any]:
    at = _time(params, "time", now)
    expr = _expression(params)
    return _value(engine.instant(expr, at, _budget(params)), at)


def _query_range(engine: Engine, params: Params) -> dict[str, Any]:
    start, end = _time(params, "start"), _time(params, "end")
    step = _step(_one(params, "step"))
    if end < start:
        raise _BadData('invalid parameter "end": end timestamp must not be before start time')
    if (end - start) // step + 1 > MAX_POINTS:
        raise _BadData(
            f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. Try decreasing the query "
            "resolution (?step=XX)"
        )
    return _value(engine.range(_expression(params), start, end, step, _budget(params)), end)


def _expression(params: Params) -> Expr:
    try:
        return parse(_one(params, "query"))
    except ParseError as error:
        raise _BadData(f'invalid parameter "query": {error}') from None


def _budget(params: Params) -> Budget:
    """At most :data:`MAX_SECONDS`, less when ``timeout`` says so: a query occupies the thread that takes samples in."""
    seconds = MAX_SECONDS
    if "timeout" in params:
        seconds = min(seconds, _step(_one(params, "timeout")) / 1000)
    deadline = time.monotonic() + seconds
    return Budget(MAX_SAMPLES, lambda: time.monotonic() > deadline)


def _value(value: Value, at: int) -> dict[str, Any]:
    if isinstance(value, float):
        return {"resultType": "scalar", "result": [_seconds(at), format_value(value)]}
    if isinstance(value, str):
        return {"resultType": "string", "result": [_seconds(at), value]}
    if isinstance(value, Vector):
        sets, stamp = value.labels.label_sets(), _seconds(at)
        result = [
            {"metric": labels, "value": [stamp, format_value(v)]}
            for labels, v in zip(sets, value.value.tolist(), strict=True)
        ]
        return {"resultType": "vector", "result": result}
    return {"resultType": "matrix", "result": _matrix(value)}


def _matrix(series: Series) -> list[dict[str, Any]]:
    """Series in the order of their labels, as upstream sorts a matrix; those without samples left out."""
    out = []
    at, value, first = series.at.tolist(), series.value.tolist(), series.first.tolist()
    for row, labels in enumerate(series.labels.label_sets()):
        span = range(first[row], first[row + 1])
        if span:
            out.append({"metric": labels, "values": [[_seconds(at[i]), format_value(value[i])] for i in span]})
    return sorted(out, key=lambda item: list(item["metric"].items()))


def _seconds(at: int) -> float | int:
    return at // 1000 if at % 1000 == 0 else at / 1000


# --- what there is -------------------------------------------------------------------------------------------------


def _series(store: Store, params: Params) -> list[dict[str, str]]:
    if not params.get("match[]"):
        raise _BadData("no match[] parameter provided")
    ids = _matched(store, params)
    assert ids is not None
    return [store.index.labels_of(i) for i in _limited(ids.tolist(), params)]


def _label_values(store: Store, name: str, params: Params) -> list[str]:
    return _limited(store.index.label_values(name, _matched(store, params)), params)


def _matched(store: Store, params: Params) -> Ids | None:
    """The series that any of ``match[]`` selects; None: all."""
    texts = params.get("match[]", ())
    if not texts:
        return None
    found = [store.index.select(_matchers(text)) for text in texts[:100]]
    return np.unique(np.concatenate(found)).astype(np.int32)


def _matchers(text: str) -> Sequence[Matcher]:
    try:
        expr = parse(text)
    except ParseError as error:
        raise _BadData(f'invalid parameter "match[]": {error}') from None
    if not isinstance(expr, Selector):
        raise _BadData(f'invalid parameter "match[]": {text} is not a series selector')
    return expr.matchers


def _limited(items: list[Any], params: Params) -> list[Any]:
    text = params.get("limit", ("0",))[0]
    if re.fullmatch(r"\d{1,9}", text) is None:
        raise _BadData('invalid parameter "limit": a number that is not negative is expected')
    return items[: int(text) or DEFAULT_LIMIT]


def _metadata(store: Store, params: Params) -> dict[str, list[dict[str, str]]]:
    wanted = params.get("metric", ("",))[0]
    types = store.index.metric_types()
    names = [name for name in sorted(types) if not wanted or name == wanted]
    return {name: [{"type": types[name] or "unknown", "help": "", "unit": ""}] for name in _limited(names, params)}


# --- rules ---------------------------------------------------------------------------------------------------------


def _rules(ruler: Ruler, params: Params) -> list[dict[str, Any]]:
    wanted = params.get("type", ("",))[0]
    if wanted not in ("", "alert", "record"):
        raise _BadData(f'not supported value "{wanted}"')
    return [_group(state, wanted) for state in ruler.groups]


def _group(state: GroupState, wanted: str) -> dict[str, Any]:
    group = state.group
    rules = [r for r in state.rules if not wanted or r.rule.alerting == (wanted == "alert")]
    return {
        "name": group.name,
        "file": group.file,
        "interval": group.interval / 1000,
        "limit": group.limit,
        "evaluationTime": state.seconds,
        "lastEvaluation": rfc3339(state.evaluated_at),
        "rules": [_rule(r) for r in rules],
    }


def _rule(state: RuleState) -> dict[str, Any]:
    rule = state.rule
    common = {
        "name": rule.name,
        "query": rule.text,
        "labels": {name: template.source for name, template in rule.labels},
        "health": "err" if state.error else "ok" if state.evaluated_at else "unknown",
        "lastError": state.error,
        "evaluationTime": state.seconds,
        "lastEvaluation": rfc3339(state.evaluated_at),
    }
    if not rule.alerting:
        return {**common, "type": "recording"}
    states = {instance.state for instance in state.active.values()}
    return {
        **common,
        "type": "alerting",
        "state": "firing" if "firing" in states else "pending" if states else "inactive",
        "duration": rule.hold / 1000,
        "keepFiringFor": rule.keep / 1000,
        "annotations": {name: template.source for name, template in rule.annotations},
        "alerts": [_alert(rule, instance) for _, instance in sorted(state.active.items())],
    }


def _alerts(ruler: Ruler) -> list[dict[str, Any]]:
    return [
        _alert(state.rule, instance)
        for group in ruler.groups
        for state in group.rules
        for _, instance in sorted(state.active.items())
    ]


def _alert(rule: Rule, instance: Instance) -> dict[str, Any]:
    annotations = instance.annotations or {name: template.source for name, template in rule.annotations}
    return {
        "labels": dict(instance.labels),
        "annotations": dict(annotations),
        "state": instance.state,
        "activeAt": rfc3339(instance.active_at),
        "value": format_value(instance.value),
    }


# --- parameters ----------------------------------------------------------------------------------------------------


def _one(params: Params, name: str) -> str:
    values = params.get(name, ())
    if not values or not values[0]:
        raise _BadData(f'the parameter "{name}" is missing')
    return values[0]


def _time(params: Params, name: str, default: int | None = None) -> int:
    """Unix seconds or RFC 3339, as ms."""
    if default is not None and not params.get(name, ("",))[0]:
        return default
    text = _one(params, name)
    seconds = _number(text)
    if seconds is not None and math.isfinite(seconds) and abs(seconds) * 1000 < MAX_TIME_MS:
        return round(seconds * 1000)
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise _BadData(f'invalid parameter "{name}": cannot parse "{text[:40]}" to a valid timestamp') from None


def _step(text: str) -> int:
    """Seconds or a Prometheus duration, as ms, at least 1."""
    seconds = _number(text)
    try:
        ms = parse_duration(text) if seconds is None else seconds * 1000
    except ValueError:
        raise _BadData(f'invalid parameter "step": cannot parse "{text[:40]}" to a valid duration') from None
    if not 1 <= ms < MAX_TIME_MS:
        raise _BadData("zero or negative query resolution step widths are not accepted. Try a positive integer")
    return int(ms)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[-+]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][-+]?\d{1,3})?", text) else None
