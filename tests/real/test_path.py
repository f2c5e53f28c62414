"""The whole path with real servers: a real Prometheus and Alertmanager feed the daemon, somebody is paged in time.

Everything is at its default but addresses; Prometheus scrapes every second, so that a fault of minutes is enough.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, binary
from tests.daemon import Daemon, Receiver, free_port, receiver, until
from tests.real.conftest import Run
from tests.real.servers import alertmanager, node_exporter, prometheus

HOOK = """
channels:
  - {{name: hook, type: webhook, url: "{url}", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}
"""
SIZE_MIB = 8
QUIET_S = 60
FILL_S = 210

# Runs inside the namespace: fills the file system evenly and writes down when the first write failed.
FILLER = """
import sys, time
target, note, size, quiet, fill = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
time.sleep(quiet)
start, written = time.time(), 0
with open(target + "/fill", "wb", buffering=0) as file:
    while True:
        want = int(size * (time.time() - start) / fill)
        try:
            while written < want:
                written += file.write(b"x" * min(4096, want - written))
        except OSError:
            break
        time.sleep(0.2)
open(note, "w").write(repr(time.time()))
"""


@pytest.fixture
def box() -> Iterator[Receiver]:
    with receiver() as box:
        yield box


@pytest.fixture
def daemon(tmp_path: Path, box: Receiver) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "daemon", HOOK.format(url=box.url)).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log[-3000:]


def scrape(job: str, address: str, interval: str = "1s", **labels: str) -> dict[str, Any]:
    return {
        "job_name": job, "scrape_interval": interval, "scrape_timeout": interval,
        "static_configs": [{"targets": [address], "labels": labels}],
    }  # fmt: skip


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(600)
def test_a_file_system_that_fills_up_is_foreseen_and_told_before_the_first_write_fails(
    tmp_path: Path, run: Run, daemon: Daemon, box: Receiver
) -> None:
    # A short path: messages cut long ones.
    port, mount, note = free_port(), Path(tempfile.mkdtemp(prefix="vol-")), tmp_path / "failed-at"
    (tmp_path / "fill.py").write_text(FILLER)
    exporter = binary("prometheus-node-exporter", "prometheus-node-exporter")
    script = (
        f"mount -t tmpfs -o size={SIZE_MIB}m tmpfs {mount} && "
        f"{{ {sys.executable} {tmp_path}/fill.py {mount} {note} {SIZE_MIB << 20} {QUIET_S} {FILL_S} & }} && "
        f"exec {exporter} --web.listen-address=127.0.0.1:{port}"
    )
    # A process 1 of its own: node_exporter lists the mounts of process 1.
    space = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script],
        start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        run(
            prometheus(
                tmp_path / "prometheus",
                {
                    "scrape_configs": [scrape("node", f"127.0.0.1:{port}")],
                    "remote_write": [{"url": f"{daemon.url}/api/v1/write"}],
                },
            )
        )
        opened = until(
            lambda: [i for i in daemon.incidents() if i["category"] == "capacity/disk"],
            QUIET_S + FILL_S + 30, f"an incident about the disk\n{daemon.log[-2000:]}",
        )[0]  # fmt: skip
        assert not note.exists(), "the incident came after the first write had failed"
        told = until(lambda: box.messages, 10, "the message arrives")[0]["body"]["data"]
        failed_at = float(until(lambda: note.exists() and note.read_text(), FILL_S + 60, "the file system fills up"))
        left = failed_at - seconds(opened["opened_at"])
        assert opened["service"] == "node"
        assert opened["phase"] == "predicted"
        assert told["incident"]["key"] == opened["key"]
        assert str(mount) in told["subject"]
        error = abs(seconds(opened["predicted_disruption_at"]) - failed_at)
        assert error <= 0.3 * left, f"off by {error:.0f} s with {left:.0f} s left"
        assert len(daemon.incidents()) == 1, daemon.incidents()
        handed_over = 'detector_incident_latency_seconds_bucket{le="2.0"}'
        assert daemon.metric(handed_over) == 1, "from the evaluation to the message took over 2 s"
    finally:
        os.killpg(space.pid, signal.SIGKILL)
        space.wait(10)
        mount.rmdir()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(400)
def test_a_killed_target_opens_one_incident_and_its_return_resolves_it(tmp_path: Path, box: Receiver) -> None:
    exporter = node_exporter(tmp_path / "node")
    config = {
        "rule_files": [str(ROOT / "config" / "rules" / "*.yml")],
        "scrape_configs": [scrape("node", exporter.address)],
        "incidents": {"quiet_period": "20s"},
    }
    daemon = Daemon(tmp_path / "daemon", json.dumps(config)).start()
    try:
        exporter.start()
        until(lambda: daemon.value("up == 1"), 30, "the target is scraped")
        exporter.stop()
        # A deploy's restart: away for less than a minute.
        until(lambda: daemon.value("up == 0"), 30, "the target is down")
        exporter.start()
        until(lambda: daemon.value("up == 1"), 30, "the target is back")
        assert daemon.incidents() == []
        exporter.stop()
        (opened,) = until(daemon.incidents, 120, "an incident about the target")
        assert (opened["service"], opened["category"], opened["phase"]) == ("node", "availability", "disrupting")
        exporter.start()
        resolved = until(lambda: [i for i in daemon.incidents() if i["state"] == "resolved"], 120, "it is resolved")
        assert [(i["key"], i["resolution"]) for i in resolved] == [(opened["key"], "self-recovered")]
        assert len(daemon.incidents()) == 1
    finally:
        exporter.stop()
        assert daemon.stop() == 0


@pytest.mark.real
def test_an_alert_of_a_real_prometheus_reaches_a_ticket_by_both_ways_once(
    tmp_path: Path, run: Run, daemon: Daemon, box: Receiver
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups:\n- name: g\n  interval: 1s\n  rules:\n"
        "  - {alert: ShopSlow, expr: vector(1), labels: {severity: warning, service: shop}}\n"
    )
    manager = run(
        alertmanager(
            tmp_path / "alertmanager",
            {
                "route": {"receiver": "detector", "group_wait": "1s", "group_interval": "1s"},
                "receivers": [
                    {"name": "detector", "webhook_configs": [{"url": f"{daemon.url}/webhooks/alertmanager"}]}
                ],
            },
        )
    )
    run(
        prometheus(
            tmp_path / "prometheus",
            {
                "rule_files": [str(rules)],
                "alerting": {
                    "alertmanagers": [
                        {"static_configs": [{"targets": [manager.address]}]},
                        {"static_configs": [{"targets": [f"127.0.0.1:{daemon.port}"]}]},
                    ]
                },
            },
            "--rules.alert.resend-delay=1s",
        )
    )

    def both_ways() -> bool:
        received = daemon.request("GET", "/metrics")[1].decode()
        return 'source="webhook"' in received and 'source="api-v2"' in received

    until(both_ways, 60, "the alert arrives by webhook and by API v2")
    (incident,) = daemon.incidents()
    assert (incident["service"], incident["source"]) == ("shop", "alert")
    assert len(incident["symptoms"]) == 1
    until(lambda: box.messages, 20, "somebody is told")
    assert len(box.messages) == 1


@pytest.mark.real
def test_a_query_sees_what_prometheus_wrote(tmp_path: Path, run: Run, daemon: Daemon, node: Any) -> None:
    source = run(
        prometheus(
            tmp_path / "prometheus",
            {
                "scrape_configs": [scrape("node", node.address)],
                "remote_write": [{"url": f"{daemon.url}/api/v1/write", "queue_config": {"batch_send_deadline": "1s"}}],
            },
        )
    )
    until(lambda: daemon.value("count(node_cpu_seconds_total)"), 30, "samples arrive")
    at = time.time() - 5
    for expr in ("node_memory_MemTotal_bytes", "count by (mode) (node_cpu_seconds_total)", "up"):
        ours = daemon.get(f"/api/v1/query?query={expr.replace(' ', '%20')}&time={at}")["data"]["result"]
        theirs = source.get("/api/v1/query", query=expr, time=str(at))["data"]["result"]
        key = lambda item: sorted(item["metric"].items())  # noqa: E731
        assert sorted(ours, key=key) == sorted(theirs, key=key)
