"""From the evaluation that completes the evidence to the message in a channel's hands.

``python -m benchmarks.page_latency [--incidents 200] [--rate 4]`` starts the daemon with its shipped configuration, one
rule file and a webhook channel. Service after service gets into trouble, as samples by remote write; each is an
incident of its own. Prints how long after the evaluation that found it the message arrived, ms, and how long after
the sample: at most an evaluation interval and the lateness (15 s and 6 s by default) more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import cramjam
from aiohttp import web

from benchmarks.alert_latency import free_address, ready, running
from benchmarks.fleet import varint
from detector.clock import parse_rfc3339
from detector.config.compose import load

CONFIG = """
channels:
  - {{name: pager, type: webhook, url: "http://{receiver}/", secret: "{secret}"}}
rule_files: [{rules}]
"""
RULES = """
groups:
  - name: trouble
    rules:
      - {alert: Trouble, expr: trouble > 0, labels: {severity: critical, category: errors}}
"""
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
           "X-Prometheus-Remote-Write-Version": "0.1.0"}  # fmt: skip


def sample(service: str, at: int, value: float) -> bytes:
    """A remote-write request of one sample."""
    pairs = b"".join(
        b"\x0a" + varint(len(pair)) + pair
        for pair in (
            b"\x0a" + varint(len(name)) + name.encode() + b"\x12" + varint(len(text)) + text.encode()
            for name, text in (("__name__", "trouble"), ("job", service), ("service", service))
        )
    )
    point = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at)
    series = pairs + b"\x12" + varint(len(point)) + point
    return bytes(cramjam.snappy.compress_raw(b"\x0a" + varint(len(series)) + series))


async def measure(url: str, receiver: str, incidents: int, rate: float) -> dict[str, Any]:
    times = load(None).root.evaluation
    arrived = asyncio.Event()
    sent: dict[str, float] = {}
    evaluated: dict[str, tuple[float, float]] = {}

    async def take(request: web.Request) -> web.Response:
        now, message = time.time(), await request.json()
        incident = message["data"]["incident"]
        # Samples may be so late: the evaluation of 12:00:00 runs at 12:00:06.
        slot = (parse_rfc3339(incident["opened_at"]) - times.lateness) // times.interval * times.interval
        due = (slot + times.lateness) / 1000
        evaluated.setdefault(incident["service"], (now, now - due))
        if len(evaluated) == incidents:
            arrived.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    host, port = receiver.split(":")
    await web.TCPSite(runner, host, int(port)).start()
    async with aiohttp.ClientSession() as session:
        await ready(session, url)
        for number in range(incidents):
            service = f"s{number}"
            sent[service] = time.time()
            body = sample(service, int(time.time() * 1000), 1.0)
            async with session.post(f"{url}/api/v1/write", data=body, headers=HEADERS) as answer:
                assert answer.status == 204, await answer.text()
            await asyncio.sleep(1 / rate)
        async with asyncio.timeout(60):
            await arrived.wait()
    await runner.cleanup()
    after = sorted(1000 * late for _, late in evaluated.values())
    whole = sorted(came - sent[service] for service, (came, _) in evaluated.items())

    def at(values: list[float], share: float) -> float:
        return round(values[min(len(values) - 1, int(len(values) * share))], 1)

    return {
        "incidents": incidents,
        "evaluation_to_message_ms": {"p50": at(after, 0.5), "p99": at(after, 0.99), "most": at(after, 1.0)},
        "sample_to_message_s": {"p50": at(whole, 0.5), "p99": at(whole, 0.99)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=200)
    parser.add_argument("--rate", type=float, default=4.0, help="services that get into trouble a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        address, receiver = free_address(), free_address()
        (home / "rules.yml").write_text(RULES)
        config = CONFIG.format(receiver=receiver, secret="s" * 32, rules=home / "rules.yml")
        (home / "detector.yml").write_text(config)
        with running(home, address, "--config", str(home / "detector.yml")):
            print(json.dumps(asyncio.run(measure(f"http://{address}", receiver, options.incidents, options.rate))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
