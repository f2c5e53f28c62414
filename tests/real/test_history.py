"""At start the daemon reads what a real Prometheus remembers, password and all, and goes on without it if it must."""

from __future__ import annotations

import base64
import time
import urllib.request
from pathlib import Path

import bcrypt
import pytest

from tests.daemon import Daemon, until
from tests.real.conftest import Run
from tests.real.servers import Server, prometheus
from tests.wire import REMOTE_WRITE, remote_write

pytestmark = pytest.mark.real
STEP_MS = 15_000
MINUTES = 40
DAYS = 4
PASSWORD = "pässword"

CONFIG = """
backfill:
  url: {url}
  basic_auth: {{username: ada, password: {password}}}
  match: ['{{job="app"}}']
"""


@pytest.fixture
def remembering(tmp_path: Path, run: Run) -> Server:
    """A Prometheus behind a password; somebody wrote two series to it, 40 minutes at 15 s, and four days of one."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ada: '{hashed}'}}\n")
    server = run(prometheus(tmp_path / "prometheus", {}, f"--web.config.file={tmp_path / 'web.yml'}"))
    now = int(time.time() * 1000)
    raw = now - MINUTES * 60_000
    past = range(raw - DAYS * 86_400_000, raw, 300_000)
    for job, times in (("app", [*past, *range(raw, now, STEP_MS)]), ("other", [*range(raw, now, STEP_MS)])):
        labels = {"__name__": "orders_total", "job": job, "instance": "a:1"}
        body = remote_write([(labels, [(at, float(i)) for i, at in enumerate(times)])])
        who = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        headers = REMOTE_WRITE | {"Authorization": f"Basic {who}"}
        request = urllib.request.Request(f"{server.url}/api/v1/write", body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 204
    return server


def count(daemon: Daemon, job: str) -> float:
    answer = daemon.get(f"/api/v1/query?query=count_over_time(orders_total%7Bjob=%22{job}%22%7D%5B1h%5D)")
    return sum(float(series["value"][1]) for series in answer["data"]["result"])


def test_the_daemon_remembers_what_the_prometheus_did(tmp_path: Path, remembering: Server) -> None:
    daemon = Daemon(tmp_path / "daemon", CONFIG.format(url=remembering.url, password=PASSWORD)).start()
    try:
        samples = MINUTES * 60_000 // STEP_MS
        until(lambda: count(daemon, "app") >= samples - 1, 30, "history is read")
        assert count(daemon, "other") == 0
        until(lambda: f"samples read from {remembering.url}" in daemon.log, 5, "it says so")
        until(lambda: "season: 1 series know the time of day" in daemon.log, 20, "the week before is read as well")
    finally:
        assert daemon.stop() == 0, daemon.log[-3000:]


def test_a_wrong_password_is_said_and_the_daemon_starts_all_the_same(tmp_path: Path, remembering: Server) -> None:
    daemon = Daemon(tmp_path / "daemon", CONFIG.format(url=remembering.url, password="wrong")).start()
    try:
        until(lambda: "check basic_auth" in daemon.log, 10, "the reason is in the log")
        body = remote_write([({"__name__": "up", "job": "app"}, [(int(time.time() * 1000), 1.0)])])
        until(lambda: daemon.request("POST", "/api/v1/write", body, REMOTE_WRITE)[0] == 204, 10, "samples are taken")
        assert PASSWORD not in daemon.log
        assert "wrong" not in daemon.log
    finally:
        assert daemon.stop() == 0, daemon.log[-3000:]
