"""From an alert's arrival to its committed ticket: 200 alerts a second, each another service, on a file.

``python -m benchmarks.alert_latency [seconds]`` prints the share of the core that it took, and p50 and p99 in ms.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from detector.ingest.alertmanager import fingerprint
from detector.nouns import Alert
from detector.pipeline import Pipeline, Policy
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.tickets.desk import Desk
from detector.tickets.owed import Route

RATE = 200
START = 1_795_000_000_000


def alert(number: int, at: int) -> Alert:
    """The first of its episode, of a service that nobody has met."""
    labels = {"alertname": "HighLatency", "service": f"s{number}", "severity": "warning", "instance": f"h{number}:80"}
    text = {"summary": "Requests are slow", "description": "More than 5 % of the requests took over a second"}
    return Alert(fingerprint(labels), labels, text, "firing", START, None, None, at, group_key="g")


async def measure(seconds: int, folder: Path) -> dict[str, float]:
    """Latency in ms of every alert posted alone, at a steady rate, in a desk that delivers to two channels."""
    desk = await Desk.open(address(folder / "desk.db"), (Route("pager", ("page",)), Route("chat")))
    pipeline = Pipeline(desk, Policy(), Telemetry(CollectorRegistry()))
    await pipeline.load(START)
    decider = asyncio.create_task(pipeline.run())
    took: list[float] = []

    async def post(number: int) -> None:
        began = time.perf_counter()
        await pipeline.alerts([alert(number, START + number * 1000 // RATE)], START + number * 1000 // RATE)
        took.append((time.perf_counter() - began) * 1000)

    begun, cpu = time.perf_counter(), _cpu()
    posts = []
    for number in range(seconds * RATE):
        if (wait := begun + number / RATE - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        posts.append(asyncio.create_task(post(number)))
    await asyncio.gather(*posts)
    busy = (_cpu() - cpu) / (time.perf_counter() - begun)
    decider.cancel()
    await desk.close()
    took.sort()
    return {
        "alerts": len(took),
        "core_share": round(busy, 3),
        "p50_ms": round(took[len(took) // 2], 2),
        "p99_ms": round(took[len(took) * 99 // 100], 2),
        "most_ms": round(took[-1], 2),
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"alert_to_ticket": asyncio.run(measure(seconds, Path(folder)))}))


if __name__ == "__main__":
    main()
