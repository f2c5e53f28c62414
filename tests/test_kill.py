"""``kill -9`` at random moments under load: nothing that was acknowledged is lost, and nobody is told twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon, Receiver, receiver, until
from tests.wire import REMOTE_WRITE, remote_write

CONFIG = """
channels:
  - name: hook
    type: webhook
    url: {url}
    secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
"""


class Load:
    """Alerts and samples, numbered; remembers which of them the daemon acknowledged."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.alerts: set[int] = set()
        self.samples: dict[int, int] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send_alerts, self._send_samples)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _send_alerts(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            status = self._post("/webhooks/alertmanager", json.dumps(webhook(number)).encode(), "application/json")
            if status is not None and 200 <= status < 300:
                self.alerts.add(number)
            self._stop.wait(0.02)

    def _send_samples(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            now = time.time_ns() // 1_000_000
            series = [({"__name__": "kill_test", "n": str(number), "job": "kill"}, [(now, float(number))])]
            if self._post("/api/v1/write", remote_write(series)) == 204:
                self.samples[number] = now
            self._stop.wait(0.01)

    def _post(self, path: str, body: bytes, kind: str | None = None) -> int | None:
        """The status; None when the answer never came: then it may be there or not."""
        try:
            return self.daemon.request("POST", path, body, {"Content-Type": kind} if kind else REMOTE_WRITE)[0]
        except OSError:
            return None
        except Exception:  # noqa: BLE001 - http.client: a connection cut in the middle of an answer
            return None


def webhook(number: int) -> dict[str, Any]:
    labels = {
        "alertname": f"Alert{number}", "n": str(number), "service": f"svc-{number % 7}", "severity": "warning",
    }  # fmt: skip
    alert = {
        "status": "firing", "labels": labels, "annotations": {"summary": "s"},
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "", "fingerprint": f"{number:016x}",
    }  # fmt: skip
    return {
        "version": "4", "groupKey": f"{{}}:{{n={number}}}", "status": "firing", "receiver": "r", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": labels, "commonAnnotations": {}, "externalURL": "", "alerts": [alert],
    }  # fmt: skip


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_kill_9_loses_nothing_and_tells_nobody_twice(kills: int, tmp_path: Path) -> None:
    dice = random.Random(kills)
    with receiver() as box:
        daemon = Daemon(tmp_path, CONFIG.format(url=box.url)).start()
        load = Load(daemon)
        load.start()
        try:
            for _ in range(kills):
                before = len(load.alerts)
                until(lambda before=before: len(load.alerts) > before + 3, 60, "alerts are acknowledged")  # type: ignore[misc]
                time.sleep(dice.uniform(0, 0.7))  # the moment of the kill is what is random here
                daemon.kill()
                daemon.start()
        finally:
            load.stop()
        try:
            every_alert_is_in_one_timeline(daemon, load)
            every_sample_is_in_an_answer(daemon, load)
            no_message_has_two_keys(box)
        finally:
            assert daemon.stop() == 0


def every_alert_is_in_one_timeline(daemon: Daemon, load: Load) -> None:
    where: dict[int, list[str]] = {number: [] for number in load.alerts}
    for incident in daemon.incidents():
        found = set()
        for entry in daemon.get(f"/api/incidents/{incident['key']}")["timeline"]:
            found |= set(numbers(entry["data"]))
        for number in found & load.alerts:
            where[number].append(incident["key"])
    wrong = {number: keys for number, keys in where.items() if len(keys) != 1}
    assert not wrong, f"{len(wrong)} of {len(where)} acknowledged alerts are not in exactly one timeline: {wrong}"


def numbers(value: Any) -> Iterator[int]:
    """The numbers of alerts whose labels are anywhere inside ``value``."""
    if isinstance(value, dict):
        if "n" in value and "alertname" in value:
            yield int(value["n"])
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)


def every_sample_is_in_an_answer(daemon: Daemon, load: Load) -> None:
    answer = daemon.get("/api/v1/query?query=kill_test%5B1h%5D")["data"]["result"]
    found = {
        int(series["metric"]["n"]): [(round(at * 1000), float(v)) for at, v in series["values"]] for series in answer
    }
    wrong = [number for number, at in load.samples.items() if found.get(number) != [(at, float(number))]]
    assert not wrong, f"{len(wrong)} of {len(load.samples)} acknowledged samples are not in the answer: {wrong[:20]}"


def no_message_has_two_keys(box: Receiver) -> None:
    threads: dict[str, set[str]] = {}
    names: dict[tuple[str, str], set[str]] = {}
    for message in box.messages:
        data = message["body"]["data"]
        threads.setdefault(data["incident"]["key"], set()).add(data["dedup_key"])
        names.setdefault((data["incident"]["key"], message["body"]["timestamp"] + data["event"]), set()).add(
            message["headers"]["webhook-id"]
        )
    assert threads
    assert all(len(keys) == 1 for keys in threads.values()), threads
    opened = [keys for (_, what), keys in names.items() if what.endswith("opened")]
    assert all(len(keys) == 1 for keys in opened), opened
