"""Events of other programs against the daemon: a real Alertmanager's PagerDuty receiver opens and resolves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, until
from tests.real.conftest import Run
from tests.real.servers import alertmanager

pytestmark = pytest.mark.real
KEY = "R0123456789abcdef0123456789abcde"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "daemon").start()
    yield made
    made.stop()


async def test_an_alertmanagers_pagerduty_receiver_opens_and_resolves_an_incident(
    tmp_path: Path, run: Run, daemon: Daemon
) -> None:
    server = await asyncio.to_thread(run, alertmanager(tmp_path / "am", {
        "route": {"receiver": "detector", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname"]},
        "receivers": [{"name": "detector", "pagerduty_configs": [{
            "url": f"{daemon.url}/v2/enqueue", "routing_key": KEY, "send_resolved": True, "severity": "critical",
            "component": "checkout", "class": "{{ .CommonLabels.alertname }}"}]}],
    }))  # fmt: skip
    await asyncio.to_thread(server.post, "/api/v2/alerts", [{"labels": {"alertname": "Down"}}])

    def opened() -> bool:
        return [i["service"] for i in daemon.incidents()] == ["checkout"]

    await asyncio.to_thread(until, opened, 20, "the incident")
    [incident] = daemon.incidents()
    assert (incident["source"], incident["symptoms"][0]["labels"]["alertname"]) == ("alert", "Down")
    [shown] = await asyncio.to_thread(server.get, "/api/v2/alerts")
    ended = {"labels": {"alertname": "Down"}, "startsAt": shown["startsAt"], "endsAt": shown["startsAt"]}
    await asyncio.to_thread(server.post, "/api/v2/alerts", [ended])

    def quiet() -> bool:
        return not daemon.incidents()[0]["symptoms"][0]["active"]

    await asyncio.to_thread(until, quiet, 20, "the resolve")


def test_an_acknowledgement_there_is_one_here_and_a_change_is_on_the_page(daemon: Daemon) -> None:
    payload = {"summary": "disk full", "source": "db1", "severity": "critical", "component": "storage"}
    sent = {"routing_key": KEY, "event_action": "trigger", "dedup_key": "d", "payload": payload}
    change = {"routing_key": KEY, "payload": {"summary": "deploy 41", "custom_details": {"service": "storage"}}}
    assert daemon.post("/v2/change/enqueue", change)["status"] == "success"
    assert daemon.post("/api/annotations", {"text": "failover", "tags": ["service:storage"]})["message"]
    assert daemon.post("/v2/enqueue", sent)["dedup_key"] == "d"
    assert daemon.post("/v2/enqueue", {"routing_key": KEY, "event_action": "acknowledge", "dedup_key": "d"})
    found = daemon.get("/api/incidents/INC-1")
    assert (found["state"], found["assignee"]) == ("diagnosing", "events-v2")
    assert {c["summary"] for c in found["changes"]} == {"deploy 41", "failover"}
    daemon.post("/v2/enqueue", {"routing_key": KEY, "event_action": "resolve", "dedup_key": "d"})
    assert not daemon.get("/api/incidents/INC-1")["symptoms"][0]["active"]
    status, body = daemon.request("POST", "/v2/enqueue", b'{"routing_key": "x"}', {"Content-Type": "application/json"})
    assert (status, b"invalid event" in body) == (400, True)
