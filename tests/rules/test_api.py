"""The query API's answers, as Grafana and promtool expect them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.rules.api import answer
from detector.rules.promql.engine import Engine
from tests.rules.scene import T0, Scene, groups_of, labels_of

RULES = """
groups:
  - name: g
    rules:
      - {record: 'up:sum', expr: sum(up)}
      - {alert: Down, expr: up == 0, labels: {severity: critical}, annotations: {summary: '{{ $labels.job }} down'}}
"""
S = T0 // 1000


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(groups_of(RULES), {
        labels_of("up", job="a", instance="1"): lambda t: 1.0,
        labels_of("up", job="b", instance="2"): lambda t: 0.0,
        labels_of("load", job="a"): lambda t: t,
    }).run(120)  # fmt: skip


def call(scene: Scene, what: str, **params: str | list[str]) -> tuple[int, Any]:
    many = {k.replace("match", "match[]"): tuple(v) if isinstance(v, list) else (v,) for k, v in params.items()}
    status, body = answer(scene.store, Engine(scene.store), scene.ruler, what, many, T0 + 120_000)
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    assert (status == 200) == (body["status"] == "success")
    return status, body["data"] if status == 200 else (body["errorType"], body["error"])


def test_instant_queries(scene: Scene) -> None:
    assert call(scene, "query", query='up{job="a"}')[1] == {
        "resultType": "vector",
        "result": [{"metric": {"__name__": "up", "instance": "1", "job": "a"}, "value": [S + 120, "1"]}],
    }
    assert call(scene, "query", query="1 / 0", time=f"{S}.5")[1] == {
        "resultType": "scalar",
        "result": [S + 0.5, "+Inf"],
    }
    assert call(scene, "query", query='"x"')[1] == {"resultType": "string", "result": [S + 120, "x"]}
    matrix = call(scene, "query", query="load[30s]", time="2027-01-15T08:01:00Z")[1]
    assert matrix["resultType"] == "matrix"
    assert matrix["result"][0]["values"] == [[S + 45, "45"], [S + 60, "60"]]


def test_range_queries(scene: Scene) -> None:
    data = call(scene, "query_range", query="sum by (job) (up)", start=str(S), end=str(S + 60), step="30s")[1]
    assert data == {
        "resultType": "matrix",
        "result": [
            {"metric": {"job": "a"}, "values": [[S, "1"], [S + 30, "1"], [S + 60, "1"]]},
            {"metric": {"job": "b"}, "values": [[S, "0"], [S + 30, "0"], [S + 60, "0"]]},
        ],
    }


@pytest.mark.parametrize(
    ("what", "params", "status", "kind", "message"),
    [
        ("query", {}, 400, "bad_data", '"query" is missing'),
        ("query", {"query": "sum("}, 400, "bad_data", 'invalid parameter "query"'),
        ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data", 'invalid parameter "time"'),
        ("query", {"query": "up", "time": "1e300"}, 400, "bad_data", 'invalid parameter "time"'),
        ("query", {"query": "up * on () up"}, 422, "execution", "many-to-many"),
        ("query", {"query": "count_over_time(up[5y:1ms])"}, 503, "timeout", "too many samples"),
        ("query_range", {"query": "up", "start": "1", "end": "0", "step": "1"}, 400, "bad_data", "before start"),
        ("query_range", {"query": "up", "start": "0", "end": "9", "step": "0"}, 400, "bad_data", "zero or negative"),
        ("query_range", {"query": "up", "start": "0", "end": "11000", "step": "1"}, 400, "bad_data", "11,000 points"),
        ("query_range", {"query": "up[5m]", "start": "0", "end": "9", "step": "1"}, 422, "execution", "range query"),
        ("series", {}, 400, "bad_data", "no match[]"),
        ("labels", {"match": "sum(up)"}, 400, "bad_data", "not a series selector"),
        ("labels", {"limit": "-1"}, 400, "bad_data", '"limit"'),
        ("rules", {"type": "other"}, 400, "bad_data", "not supported value"),
        ("nonsense", {}, 404, "not_found", "does not exist"),
    ],
)
def test_errors(scene: Scene, what: str, params: dict[str, str], status: int, kind: str, message: str) -> None:
    got, (got_kind, got_message) = call(scene, what, **params)
    assert (got, got_kind) == (status, kind)
    assert message in got_message


def test_what_there_is(scene: Scene) -> None:
    assert call(scene, "labels")[1] == ["__name__", "instance", "job"]
    assert call(scene, "label/job/values")[1] == ["a", "b"]
    assert call(scene, "label/job/values", match=["load"])[1] == ["a"]
    assert call(scene, "label_values", name="__name__", limit="1")[1] == ["load"]
    found = call(scene, "series", match=['{job="a"}', "load"])[1]
    assert sorted(s["__name__"] for s in found) == ["load", "up"]
    assert call(scene, "metadata", metric="up")[1]["up"][0]["type"]
    assert call(scene, "status/buildinfo")[1]["version"]


def test_rules_and_alerts(scene: Scene) -> None:
    [group] = call(scene, "rules")[1]["groups"]
    assert (group["name"], group["interval"]) == ("g", 15)
    record, alert = group["rules"]
    assert (record["type"], record["health"]) == ("recording", "ok")
    assert (alert["state"], alert["query"], alert["duration"]) == ("firing", "up == 0", 0)
    assert [r["type"] for r in call(scene, "rules", type="alert")[1]["groups"][0]["rules"]] == ["alerting"]
    [firing] = call(scene, "alerts")[1]["alerts"]
    assert firing["labels"] == {"alertname": "Down", "instance": "2", "job": "b", "severity": "critical"}
    assert (firing["state"], firing["value"], firing["annotations"]) == ("firing", "0", {"summary": "b down"})
    assert firing["activeAt"] == "2027-01-15T08:00:00.000Z"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        ["query", "query_range", "series", "labels", "label/a/values", "metadata", "rules", "label//values"]
    ),
    st.dictionaries(
        st.sampled_from(["query", "time", "start", "end", "step", "timeout", "match[]", "limit", "metric", "type"]),
        st.text(max_size=12)
        | st.sampled_from(["up", "1", "1e9", "sum(up)", "NaN", "-5", "5m", "2027-01-15T08:01:00Z"]),
    ),
)
def test_no_parameters_raise(scene: Scene, what: str, params: dict[str, str]) -> None:
    status, body = answer(scene.store, Engine(scene.store), scene.ruler, what, {k: (v,) for k, v in params.items()}, T0)
    assert status in (200, 400, 404, 422, 503)
    json.dumps(body, allow_nan=False)
