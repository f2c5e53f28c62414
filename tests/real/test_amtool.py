"""The real amtool works against the daemon as against an Alertmanager: alerts, silences, status."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import binary
from tests.daemon import Daemon

pytestmark = pytest.mark.real


@pytest.fixture
def ask() -> Callable[..., str]:
    amtool = binary("amtool", "prometheus-alertmanager")

    def run(url: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [amtool, f"--alertmanager.url={url}", *arguments], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    return run


def test_amtool_adds_asks_silences_and_ends(tmp_path: Path, ask: Callable[..., str]) -> None:
    daemon = Daemon(tmp_path).start()
    try:
        ask(daemon.url, "alert", "add", "alertname=Slow", "service=checkout", "--annotation=summary=hm")
        assert "Slow" in ask(daemon.url, "alert", "query")
        [shown] = json.loads(ask(daemon.url, "alert", "query", "-o", "json", "service=checkout"))
        assert (shown["annotations"], shown["status"]["state"]) == ({"summary": "hm"}, "active")
        assert json.loads(ask(daemon.url, "alert", "query", "-o", "json", "service=other")) == []

        id = ask(daemon.url, "silence", "add", "alertname=Slow", "--comment=patching", "--duration=2h").strip()
        [silence] = json.loads(ask(daemon.url, "silence", "query", "-o", "json"))
        assert (silence["id"], silence["comment"], silence["status"]["state"]) == (id, "patching", "active")
        # Suppressed alerts are not among the active ones, which is what amtool asks for by default.
        assert json.loads(ask(daemon.url, "alert", "query", "-o", "json")) == []
        [shown] = json.loads(ask(daemon.url, "alert", "query", "-o", "json", "--silenced"))
        assert shown["status"]["silencedBy"] == [id]

        ask(daemon.url, "silence", "update", id, "--duration=4h")
        ask(daemon.url, "silence", "expire", id)
        assert json.loads(ask(daemon.url, "silence", "query", "-o", "json")) == []
        [expired] = json.loads(ask(daemon.url, "silence", "query", "-o", "json", "--expired"))
        assert expired["status"]["state"] == "expired"
        assert json.loads(ask(daemon.url, "alert", "query", "-o", "json"))[0]["status"]["state"] == "active"

        refused = ask(daemon.url, "silence", "add", "alertname=~.*", "--comment=all", code=1)
        assert "empty string" in refused
        assert "receiver: detector" in ask(daemon.url, "config", "show")
    finally:
        daemon.stop()
