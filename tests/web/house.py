"""The web room around the real desk and pipeline: only what lies upstairs (queries, charts, status) is stood in for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bcrypt
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from detector.clock import Clock, ManualClock
from detector.nouns import ChangeEvent, Evidence, Impact, Symptom
from detector.pipeline import Pipeline
from detector.series.identity import symptom_id
from detector.telemetry import Telemetry
from detector.tickets.outbox import Outbox
from detector.tickets.people import People
from detector.tickets.subscribers import Subscribers
from detector.tickets.trace import Trace
from detector.tickets.views import Views
from detector.web.app import create_app
from detector.web.auth import Access
from detector.web.deps import Deps, OnCallFact, ServiceFact, SourceFact, StatusFacts, Theme
from detector.web.options import WebConfig, WebOptions
from tests.rows import HOUR, MINUTE, NOW, rows

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="300"/>'


def hashed(password: str) -> str:
    """A bcrypt hash of the least cost, written as `htpasswd` does."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


async def query(endpoint: str, params: Mapping[str, Sequence[str]]) -> tuple[int, Mapping[str, Any]]:
    """Answers what it was asked, or refuses as Prometheus does."""
    if params.get("query") == ("bad",):
        return 400, {"status": "error", "errorType": "bad_data", "error": "invalid parameter"}
    return 200, {"status": "success", "data": {"endpoint": endpoint, "params": {k: list(v) for k, v in params.items()}}}


async def chart(
    symptom: Symptom, theme: Theme, width: int, height: int, changes: Sequence[ChangeEvent] = ()
) -> bytes | None:
    return SVG if symptom.evidence is not None else None


async def reload() -> Sequence[str]:
    return ("rules: 1 changed",)


def deps(pipeline: Pipeline, clock: Clock, telemetry: Telemetry, options: WebOptions, config: WebConfig) -> Deps:
    def status() -> StatusFacts:
        return StatusFacts(
            version="0.1.0", since=NOW - 3 * HOUR, series=12_480, rules=64, evaluated_at=clock.now() - 4_000,
            sources=(SourceFact("node", "scrape", clock.now() - 2_000), SourceFact("shop", "remote write")),
        )  # fmt: skip

    return Deps(
        options=options, access=Access(options, config), people=People(pipeline.desk, clock), clock=clock,
        telemetry=telemetry, desk=pipeline.desk,
        actions=pipeline, trace=Trace(pipeline.desk), views=Views(pipeline.desk), query=query, status=status,
        outbox=Outbox(pipeline.desk),
        subscribers=Subscribers(pipeline.desk),
        healthy=lambda: (), ready=lambda: (), reload=reload, chart=chart,
        services=lambda: (ServiceFact("storage", "storage", "high", ("network",), "https://runbooks.example/storage"),),
        changes=pipeline.changes, needs=lambda service: ("network",) if service == "storage" else (),
        oncall=lambda: (OnCallFact("storage", ("ann",), ("console",)), OnCallFact("web")),
    )  # fmt: skip


@dataclass
class House:
    """A served web room and what stands behind it."""

    client: TestClient[web.Request, web.Application]
    pipeline: Pipeline
    clock: ManualClock

    @property
    def url(self) -> str:
        return str(self.client.make_url("")).rstrip("/")


@asynccontextmanager
async def house(
    options: WebOptions | None = None, config: WebConfig | None = None, url: str | None = None, **changed: Any
) -> AsyncIterator[House]:
    """``changed``: fields of :class:`Deps` that a test wants otherwise."""
    clock = ManualClock(NOW)
    async with rows(url=url) as pipeline:
        made = deps(pipeline, clock, pipeline._telemetry, options or WebOptions(), config or WebConfig())
        app = create_app(replace(made, **changed))
        async with TestClient(TestServer(app)) as client:
            yield House(client, pipeline, clock)


def filling(
    name: str = "/data", *, service: str = "storage", at: int = NOW, left: int = 38 * MINUTE, **values: Any
) -> Symptom:
    """A file system that fills up: evidence as the forecast leaves it, ``left`` ms until it is full."""
    times = tuple(range(at - 30 * MINUTE, at + 1, 30_000))
    level = [6.0e8 * (left + at - t) / (left + 30 * MINUTE) for t in times]
    wave = [v + 4e6 * ((i * 7) % 5 - 2) for i, v in enumerate(level)]
    forecast = tuple(
        (at + left * k // 8, level[-1] * (1 - k / 6.5), level[-1] * (1 - k / 8), level[-1] * (1 - k / 9.5))
        for k in range(9)
    )
    evidence = Evidence(times, tuple(wave), limit=0.0, forecast=forecast, unit="bytes")
    labels = values.pop(
        "labels",
        {"__name__": "node_filesystem_avail_bytes", "instance": "db1:9100", "mountpoint": name, "job": service},
    )
    defaults: dict[str, Any] = {
        "detector": "forecast", "kind": "exhaustion", "name": "node_filesystem_avail_bytes",
        "metric": "node_filesystem_avail_bytes", "score": 6.2, "value": wave[-1], "lower": None, "upper": None,
        "first_at": at - 6 * MINUTE, "last_at": at, "active": True, "category": "capacity/disk", "item": f"db1 {name}",
        "summary": f"Free space on {name} falls 1.1 MiB a minute and is gone in {left // MINUTE} min",
        "impact": Impact(at + left * 82 // 100, at + left, at + left * 137 // 100), "evidence": evidence,
    }  # fmt: skip
    values = defaults | values
    identity = symptom_id(values["detector"], labels, values["first_at"])
    return Symptom(id=identity, service=service, labels=labels, **values)


def config_of(tmp: Path, text: str) -> WebConfig:
    """A web configuration file as the daemon reads it."""
    from detector.config.load import read, validate

    path = tmp / "web.yml"
    path.write_text(text)
    return validate(read(path), WebConfig)
