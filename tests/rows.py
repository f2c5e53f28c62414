"""Symptoms, alerts and a pipeline on SQLite in memory, for tests of the rows storey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from detector.nouns import Alert, Impact, Symptom
from detector.pipeline import Pipeline, Policy
from detector.series.identity import symptom_id
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.tickets.desk import Desk
from detector.tickets.owed import Route

NOW = 1_795_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def symptom(name: str = "disk", *, service: str = "storage", onset: int = NOW, **values: Any) -> Symptom:
    """A forecast's symptom; ``left`` (ms) sets its time to impact."""
    labels = values.pop("labels", {"name": name, "service": service})
    left = values.pop("left", None)
    if left is not None:
        values["impact"] = Impact(onset + left * 8 // 10, onset + left, onset + left * 12 // 10)
    defaults: dict[str, Any] = {
        "detector": "forecast", "kind": "exhaustion", "metric": "free_bytes", "score": 6.0, "value": 1.0,
        "lower": None, "upper": None, "first_at": onset, "last_at": onset, "active": True,
        "summary": f"{name} runs out", "category": "capacity/disk", "item": name,
    }  # fmt: skip
    values = defaults | values
    return Symptom(
        id=symptom_id(values["detector"], labels, onset), name=name, service=service, labels=labels, **values
    )


def alert(name: str = "HighLatency", *, status: str = "firing", at: int = NOW, **values: Any) -> Alert:
    labels = {"alertname": name, "service": "web", "severity": "warning"} | values.pop("labels", {})
    defaults: dict[str, Any] = {
        "fingerprint": "".join(sorted(f"{k}{v}" for k, v in labels.items()))[:60], "annotations": {"summary": name},
        "starts_at": NOW, "ends_at": None, "expires_at": None, "received_at": at, "group_key": "g",
    }  # fmt: skip
    return Alert(labels=labels, status=status, **(defaults | values))  # type: ignore[arg-type]


@asynccontextmanager
async def rows(
    policy: Policy | None = None, routes: tuple[Route, ...] = (Route("ops"),), url: str | None = None
) -> AsyncIterator[Pipeline]:
    desk = await Desk.open(url or address(None), routes)
    try:
        pipeline = Pipeline(desk, policy or Policy(), Telemetry(CollectorRegistry()))
        await pipeline.load(NOW)
        yield pipeline
    finally:
        await desk.close()
