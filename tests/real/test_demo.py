"""``detector demo`` as a newcomer sees it: the incident is on the board, and told, before the shop fails."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.daemon import free_port, until


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(500)
def test_the_demo_opens_its_incident_within_three_minutes_and_before_the_shop_fails(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "detector", "demo", "--listen", f"127.0.0.1:{port}"], stdout=out, stderr=out
        )
    try:
        shop = until(lambda: re.search(r"the shop: (http://[^/]+)/metrics", log.read_text()), 120, "the address")[1]
        printed = time.monotonic()

        def board() -> list[dict[str, object]]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/incidents", timeout=10) as answer:
                items: list[dict[str, object]] = json.load(answer)["items"]
                return items

        assert board() == [], "nothing opens while the shop is healthy"
        (incident,) = until(board, 180 - (time.monotonic() - printed), f"an incident\n{log.read_text()}")
        assert incident["phase"] == "predicted"
        assert incident["service"] == "demo-shop"
        with urllib.request.urlopen(f"{shop}/receipt", timeout=5) as answer:
            assert answer.status == 200, "the shop still serves"
        until(lambda: "WILL" in log.read_text(), 10, "the message is printed")
        until(lambda: fails(shop), 200, "the shop really fails")
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0, log.read_text()


def fails(shop: str) -> bool:
    """Whether a customer gets an error, or no answer at all."""
    try:
        request = urllib.request.Request(f"{shop}/order", data=b"", method="POST")
        for sent in (f"{shop}/receipt", request):
            with urllib.request.urlopen(sent, timeout=2) as answer:  # type: ignore[arg-type]
                answer.read()
    except (urllib.error.URLError, OSError):
        return True
    return False
