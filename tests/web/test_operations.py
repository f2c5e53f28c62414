"""Metrics, health, reload; and Prometheus's query API as a data source meets it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from detector.mailbox import Overloaded
from detector.web.deps import ReloadRefused
from tests.web.house import house


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    async with house() as home:
        home.pipeline._telemetry.series.set(7)
        plain = await home.client.get("/metrics")
        assert plain.headers["Content-Type"].startswith("text/plain; version=")
        assert "detector_series" in {family.name for family in text_format(await plain.text())}
        answer = await home.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        text = await answer.text()
        assert text.endswith("# EOF\n")
        assert "detector_incidents_opened" in {family.name for family in openmetrics(text)}


async def test_health_and_readiness_say_why_not() -> None:
    async with house(ready=lambda: ("journal replay (34 %)",)) as home:
        healthy, ready = await home.client.get("/-/healthy"), await home.client.get("/-/ready")
        assert (healthy.status, await healthy.text()) == (200, "detector is healthy.\n".replace(".", ""))
        assert (ready.status, await ready.text()) == (503, "not ready: journal replay (34 %)\n")
        assert (await home.client.head("/-/healthy")).status == 200


async def test_reload_answers_what_changed_or_why_nothing_did() -> None:
    async def refused() -> Any:
        raise ReloadRefused(["detector.yml:3: listen: not an address", "detector.yml:9: unknown key"])

    async with house() as home:
        answer = await home.client.post("/-/reload")
        assert (answer.status, await answer.text()) == (200, "rules: 1 changed\n")
        assert (await home.client.get("/-/reload")).status == 405
    async with house(reload=refused) as home:
        answer = await home.client.post("/-/reload")
        problem = await answer.json(content_type="application/problem+json")
        assert answer.status == 422
        assert [error["detail"] for error in problem["errors"]][1] == "detector.yml:9: unknown key"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [("query?query=up", "query"), ("query_range?query=up&start=0&end=1&step=1", "query_range"), ("labels", "labels"),
     ("series?match[]=a&match[]=b", "series"), ("label/job/values", "label/job/values"), ("metadata", "metadata"),
     ("rules", "rules"), ("alerts", "alerts"), ("status/buildinfo", "status/buildinfo")],
)  # fmt: skip
async def test_queries_reach_the_engine_with_every_parameter(path: str, endpoint: str) -> None:
    async with house() as home:
        answer = await home.client.get(f"/api/v1/{path}")
        data = (await answer.json())["data"]
        assert data["endpoint"] == endpoint
        if "match" in path:
            assert data["params"]["match[]"] == ["a", "b"]


async def test_a_form_is_a_query_too() -> None:
    async with house() as home:
        answer = await home.client.post("/api/v1/query?time=5", data={"query": "up{a='b'}"})
        assert (await answer.json())["data"]["params"] == {"time": ["5"], "query": ["up{a='b'}"]}
        assert (await home.client.post("/api/v1/rules")).status == 405


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [(b"{}", "application/json", 415), (b"query=%FF", "application/x-www-form-urlencoded", 400),
     (b"\xff=1", "application/x-www-form-urlencoded", 400), (b"a=1&" * 500, "application/x-www-form-urlencoded", 400),
     (b"query=" + b"a" * 70_000, "application/x-www-form-urlencoded", 413)],
)  # fmt: skip
async def test_errors_have_prometheus_own_shape(data: bytes, kind: str, status: int) -> None:
    async with house() as home:
        answer = await home.client.post("/api/v1/query", data=data, headers={"Content-Type": kind})
        body = await answer.json()
        assert (answer.status, body["status"], body["errorType"]) == (status, "error", "bad_data")


async def test_refusals_and_overload_of_the_engine() -> None:
    async def busy(*_: Any) -> Any:
        raise Overloaded(3)

    async with house() as home:
        answer = await home.client.get("/api/v1/query?query=bad")
        assert (answer.status, (await answer.json())["errorType"]) == (400, "bad_data")
        unknown = await home.client.get("/api/v1/nothing")
        assert (unknown.status, (await unknown.json())["errorType"]) == (404, "not_found")
    async with house(query=busy) as home:
        answer = await home.client.get("/api/v1/query?query=up")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
        assert (await answer.json())["errorType"] == "unavailable"
