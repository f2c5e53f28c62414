"""One backtest: batches and alerts in order of event time through shard and pipeline, incidents and report out.

What is computed depends on the input and the configuration only: batches are cut at the boundaries of the evaluation,
so the same input gives the same incidents, byte for byte, however it arrives.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detector.backtest.report import Truth, TruthError, judge, read_truth
from detector.clock import ManualClock, parse_rfc3339
from detector.config.compose import Loaded, load
from detector.ingest.recordings import Recording, RecordingError, read, read_alerts
from detector.notify.messages import incident
from detector.nouns import SYSTEM, Alert, Batch
from detector.pipeline import Pipeline, Policy
from detector.shard import Plan, Shard
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.tickets.desk import Desk, TicketQuery

DAY_MS = 86_400_000


class BacktestError(Exception):
    """The input cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Request:
    """A backtest as asked for on the command line."""

    config: Path | None
    openmetrics: Path | None
    prometheus: str | None
    start: str | None
    end: str | None
    alerts: Path | None
    truth: Path | None
    output: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay found."""

    incidents: list[dict[str, Any]]
    services: int
    start: int
    end: int


def run_backtest(request: Request) -> None:
    """Run it and write ``request.output``; raises BacktestError or ConfigError."""
    loaded = load(request.config)
    try:
        truth = read_truth(request.truth) if request.truth else None
        alerts = read_alerts(request.alerts) if request.alerts else []
    except (TruthError, RecordingError) as error:
        raise BacktestError(str(error)) from None
    replay = Replay(loaded)
    try:
        recording = _recording(request, replay)
    except RecordingError as error:
        raise BacktestError(str(error)) from None
    outcome = asyncio.run(replay.run(recording, alerts, progress=sys.stderr.isatty()))
    document: dict[str, Any] = {"incidents": outcome.incidents}
    if truth is not None:
        document["report"] = {"detector": report(outcome, truth)}
    try:
        request.output.parent.mkdir(parents=True, exist_ok=True)
        request.output.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise BacktestError(f"{request.output}: cannot be written: {error.strerror}") from None


def report(outcome: Outcome, truth: Truth) -> dict[str, Any]:
    """The figures of the detector against the truth; shadow incidents are on no board and in no count."""
    seen = [item for item in outcome.incidents if item["mode"] != "shadow" and item["merged_into"] is None]
    return judge(seen, truth, outcome.end, outcome.services * (outcome.end - outcome.start) / DAY_MS)


def _recording(request: Request, replay: Replay) -> Recording:
    if request.openmetrics is not None:
        return read(request.openmetrics, replay.shard.store.index)
    assert request.prometheus is not None
    assert request.start is not None
    assert request.end is not None
    try:
        start, end = parse_rfc3339(request.start), parse_rfc3339(request.end)
    except ValueError as error:
        raise BacktestError(str(error)) from None
    if start >= end:
        raise BacktestError("--start must be before --end")
    from detector.backtest.live import LiveError, fetch

    try:
        return fetch(request.prometheus, start, end, replay.shard.store.index)
    except LiveError as error:
        raise BacktestError(str(error)) from None


class Replay:
    """A shard and a pipeline that are driven by a recording's own timeline, gaps included."""

    def __init__(self, loaded: Loaded) -> None:
        root = loaded.root
        self.loaded = loaded
        self.slot = root.evaluation.interval
        self.shard = Shard(
            Plan(root.limits, loaded.groups, root.anomaly, loaded.catalogue.service_of, root.global_.external_labels)
        )
        self._seq = 0

    async def run(self, recording: Recording, alerts: Sequence[Alert], progress: bool = False) -> Outcome:
        """Replay everything; ``progress``: show how far it is, on standard error."""
        desk = await Desk.open(address(None))
        try:
            return await self._run(desk, recording, alerts, progress)
        finally:
            await desk.close()

    async def _run(self, desk: Desk, recording: Recording, alerts: Sequence[Alert], progress: bool) -> Outcome:
        loaded = self.loaded
        policy = Policy(loaded.catalogue, loaded.root.incidents, loaded.root.noise, loaded.root.tickets)
        pipeline = Pipeline(desk, policy, Telemetry(CollectorRegistry()), on_control=self._control)
        clock = ManualClock(recording.start)
        await pipeline.load(recording.start)
        waiting = sorted(alerts, key=lambda alert: alert.received_at)
        due: int | None = None
        start = recording.start // self.slot * self.slot
        with _bar(progress, recording.end - start) as advance_bar:
            for to, batches in _slots(recording.batches(self.slot), start, recording.end, self.slot):
                for batch in batches:
                    self._accept(batch)
                now = to
                clock.set(now)
                arrived = []
                while waiting and waiting[0].received_at <= now:
                    arrived.append(waiting.pop(0))
                if arrived:
                    await pipeline.step([], arrived, now)
                findings = self.shard.advance(to).findings
                if findings.symptoms:
                    await pipeline.step(findings.symptoms, [], now)
                if arrived or findings.symptoms or (due is not None and due <= now):
                    due = await pipeline.tick(now)
                advance_bar(to - start)
        incidents = await self._incidents(pipeline)
        return Outcome(incidents, self._services(), recording.start, recording.end)

    def _accept(self, batch: Batch) -> None:
        self._seq += 1
        self.shard.accept(self._seq, batch)

    def _control(self, control: Any) -> None:
        self._seq += 1
        self.shard.control(self._seq, control)

    def _services(self) -> int:
        index = self.shard.store.index
        seen = {self.loaded.catalogue.service_of(index.labels_of(int(id))) for id in index.select(())}
        return max(1, len(seen))

    async def _incidents(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for mode in (None, "shadow"):
            cursor: str | None = None
            while True:
                page = await pipeline.desk.tickets(TicketQuery(mode=mode, limit=500, cursor=cursor), SYSTEM)
                for ticket in page.items:
                    timeline = await pipeline.desk.timeline(ticket.key, SYSTEM)
                    found.append(incident(replace(ticket), timeline))
                cursor = page.next
                if cursor is None:
                    break
        return sorted(found, key=lambda item: (item["opened_at"], int(item["key"].removeprefix("INC-"))))


def _slots(batches: Iterator[Batch], start: int, end: int, slot: int) -> Iterator[tuple[int, list[Batch]]]:
    """Every boundary from ``start`` to beyond ``end`` with the batches that end at or before it; gaps have none."""
    pending = next(batches, None)
    to = start + slot
    while True:
        ready: list[Batch] = []
        while pending is not None and (not len(pending.at) or int(pending.at.max()) <= to):
            ready.append(pending)
            pending = next(batches, None)
        if pending is not None and int(np.min(pending.at)) <= to:
            raise AssertionError("a recording's batches end at the boundaries")
        yield to, ready
        if pending is None and to >= end:
            return
        to += slot


class _bar:
    """A progress bar on standard error in hours of the recording; silent when not asked for."""

    def __init__(self, shown: bool, total: int) -> None:
        self._progress = Progress(
            TextColumn("replaying"),
            BarColumn(),
            TextColumn("{task.completed:.1f} of {task.total:.1f} h"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._total = total

    def __enter__(self) -> Any:
        self._progress.start()
        task = self._progress.add_task("", total=self._total / 3_600_000)
        return lambda done: self._progress.update(task, completed=done / 3_600_000)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
