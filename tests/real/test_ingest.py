"""Real senders meet ingest: what a Prometheus and an Alertmanager send is what we understood, and the reverse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from detector.clock import SystemClock
from detector.ingest.alertmanager import Shown
from detector.ingest.backfill import HistoryChunk, history
from detector.ingest.decode import Decoded, Rejected
from detector.ingest.decode.exposition import ExpositionDecoder
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.ingest.discovery import targets
from detector.ingest.options import GlobalOptions, ScrapeConfig
from detector.ingest.receive import Stored, routes
from detector.ingest.scrape import Scraper, ScrapeResult
from detector.nouns import Alert, Report
from detector.series.labels import Matcher
from detector.series.limits import Limits
from detector.series.store import Store
from tests.real.conftest import Run
from tests.real.servers import Server, alertmanager, eventually, prometheus

pytestmark = pytest.mark.real
LIMITS = Limits()


class Intake:
    """The smallest thing that takes everything: a store, and lists."""

    def __init__(self) -> None:
        self.store = Store(LIMITS)
        self.remote_write, self.expositions = RemoteWriteDecoder(), ExpositionDecoder()
        self.refused: list[Rejected] = []
        self.batches: list[Decoded] = []
        self.kept: list[Alert] = []
        self.failed: list[ScrapeResult] = []

    def now(self) -> int:
        return SystemClock().now()

    async def samples(self, kind: str, body: bytes, source: str) -> Stored | Rejected:
        return self._take(self.remote_write.decode(body, self.store.index, LIMITS))

    async def scraped(self, result: ScrapeResult) -> None:
        if result.error:
            self.failed.append(result)
        self._take(self.expositions.scrape(result, self.store.index, LIMITS))

    def _take(self, decoded: Decoded | Rejected) -> Decoded | Rejected:
        if isinstance(decoded, Rejected):
            self.refused.append(decoded)
        else:
            self.store.accept(decoded.batch)
            self.batches.append(decoded)
        return decoded

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        self.kept.extend(alerts)

    async def report(self, report: Report, who: str = "reporter") -> str:
        return "INC-1"

    def firing(self) -> list[Shown]:
        return [Shown(alert) for alert in self.kept if alert.status == "firing"]

    def latest(self, **labels: str) -> dict[str, float]:
        """Newest value by instance."""
        ids = self.store.index.select([Matcher(name, "=", value) for name, value in labels.items()])
        at, value = self.store.latest(ids, self.now())
        return {
            self.store.index.labels_of(int(i)).get("instance", ""): float(v)
            for i, t, v in zip(ids, at, value, strict=True)
            if t >= 0
        }


@pytest.fixture
def intake() -> Intake:
    return Intake()


@pytest.fixture
async def address(intake: Intake) -> AsyncIterator[str]:
    """Where the intake listens."""
    app = web.Application()
    app.router.add_routes(routes(intake))
    async with TestServer(app) as server:
        yield f"127.0.0.1:{server.port}"


async def test_a_prometheus_writes_and_alerts_and_its_history_is_read(
    tmp_path: Path, run: Run, node: Server, intake: Intake, address: str
) -> None:
    rules = {"groups": [{"name": "g", "interval": "1s", "rules": [
        {"alert": "Always", "expr": "up == 1", "labels": {"severity": "page", "odd": "ü\"\\"},
         "annotations": {"summary": "{{ $labels.instance }} is up"}},
    ]}]}  # fmt: skip
    tmp_path.joinpath("rules.yml").write_text(json.dumps(rules))
    tmp_path.joinpath("targets.json").write_text(json.dumps([{"targets": [node.address]}]))
    server = await asyncio.to_thread(run, prometheus(tmp_path / "prometheus", {
        "global": {"scrape_interval": "1s", "external_labels": {"cluster": "test"}},
        "rule_files": [str(tmp_path / "rules.yml")],
        "scrape_configs": [{"job_name": "node", "file_sd_configs": [{"files": [str(tmp_path / "targets.json")]}]}],
        "remote_write": [{"url": f"http://{address}/api/v1/write", "queue_config": {"batch_send_deadline": "200ms"}}],
        "alerting": {"alertmanagers": [{"api_version": "v2", "static_configs": [{"targets": [address]}]}]},
    }))  # fmt: skip

    up = await eventually(lambda: intake.latest(__name__="up", job="node"), 20, "samples by remote write")
    assert up == {node.address: 1.0}
    assert intake.latest(__name__="node_load1", cluster="test").keys() == {node.address}
    alert = await eventually(lambda: intake.kept[-1] if intake.kept else None, 20, "an alert by API v2")
    assert alert.labels == {
        "alertname": "Always", "cluster": "test", "instance": node.address, "job": "node", "severity": "page",
        "odd": "ü\"\\",
    }  # fmt: skip
    assert alert.annotations == {"summary": f"{node.address} is up"}
    assert alert.status == "firing"
    assert alert.expires_at is not None
    assert intake.now() < alert.expires_at < intake.now() + 600_000
    assert intake.refused == []

    await history_is_what_the_prometheus_has(server)

    tmp_path.joinpath("targets.json").write_text("[]")
    await eventually(lambda: not intake.latest(__name__="up", job="node"), 20, "a stale marker ends the series")


async def history_is_what_the_prometheus_has(server: Server) -> None:
    end = SystemClock().now()
    start = end - 3 * 60_000
    async with aiohttp.ClientSession() as session:
        chunks = [c async for c in history(session, server.url, ['{job="node"}'], start, end)]
    got = {key: value for chunk in chunks for key, value in flattened(chunk).items()}
    answer = await asyncio.to_thread(server.get, "/api/v1/query", query='{job="node"}[3m]', time=f"{end / 1000:.3f}")
    expected = {
        tuple(sorted(series["metric"].items())): [(round(t * 1000), float(v)) for t, v in series["values"]]
        for series in answer["data"]["result"]
    }
    assert len(expected) > 100
    assert got.keys() == expected.keys()
    for key, samples in expected.items():
        assert got[key] == [(t, v) for t, v in samples if t > start] or any(np.isnan(v) for _, v in samples)


def flattened(chunk: HistoryChunk) -> dict[Any, list[tuple[int, float]]]:
    return {
        labels: list(zip(at.tolist(), value.tolist(), strict=True))
        for labels, at, value in zip(chunk.labels, chunk.at, chunk.value, strict=True)
    }


async def test_an_alertmanager_notifies_and_both_ways_agree_on_the_fingerprint(
    tmp_path: Path, run: Run, intake: Intake, address: str
) -> None:
    server = await asyncio.to_thread(run, alertmanager(tmp_path / "am", {
        "route": {"receiver": "detector", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname"]},
        "receivers": [{"name": "detector", "webhook_configs": [
            {"url": f"http://{address}/webhooks/alertmanager", "send_resolved": True}]}],
    }))  # fmt: skip
    labels = {"alertname": "Odd", "empty": "", "text": 'ü "quoted" \\ \n', "service": "checkout"}
    await asyncio.to_thread(server.post, "/api/v2/alerts", [{"labels": labels, "annotations": {"summary": "s"}}])

    firing = await eventually(lambda: intake.kept[0] if intake.kept else None, 20, "the webhook")
    (shown,) = await asyncio.to_thread(server.get, "/api/v2/alerts")
    assert firing.fingerprint == shown["fingerprint"]
    assert firing.labels == shown["labels"]
    assert (firing.status, firing.receiver, firing.annotations) == ("firing", "detector", {"summary": "s"})

    async with aiohttp.ClientSession() as session:  # the same by API v2
        async with session.post(f"http://{address}/api/v2/alerts", json=[{"labels": labels}]) as answer:
            assert answer.status == 200
    assert intake.kept[-1].fingerprint == firing.fingerprint

    ended = {"labels": labels, "startsAt": shown["startsAt"], "endsAt": shown["startsAt"]}
    await asyncio.to_thread(server.post, "/api/v2/alerts", [ended])
    resolved = await eventually(
        lambda: next((alert for alert in intake.kept if alert.status == "resolved"), None), 20, "the resolve"
    )
    assert (resolved.fingerprint, resolved.starts_at) == (firing.fingerprint, firing.starts_at)
    assert resolved.ends_at is not None


async def test_real_expositions_are_scraped_whole(tmp_path: Path, run: Run, node: Server, intake: Intake) -> None:
    server = await asyncio.to_thread(run, prometheus(tmp_path / "prometheus", {
        "scrape_configs": [{"job_name": "self", "scrape_interval": "500ms", "scrape_timeout": "400ms",
                            "static_configs": [{"targets": [node.address]}]}],
    }))  # fmt: skip
    scraper = Scraper(intake, SystemClock())
    fast = GlobalOptions.model_validate({"scrape_interval": "500ms", "scrape_timeout": "450ms"})
    jobs = [
        ScrapeConfig.model_validate({"job_name": "node", "static_configs": [{"targets": [node.address]}]}),
        ScrapeConfig.model_validate({"job_name": "prometheus", "static_configs": [{"targets": [server.address]}]}),
    ]
    await scraper.apply(jobs, fast, Path())
    try:
        await eventually(lambda: len(intake.batches) >= 6, 20, "scrapes of both")
        assert intake.refused == []
        assert intake.latest(__name__="up") == {node.address: 1.0, server.address: 1.0}
        assert [batch.rejected for batch in intake.batches if batch.rejected] == []
        await like_the_prometheus(server, intake, node)
        await scraper.apply(jobs[:1], fast, Path())
        assert intake.latest(__name__="up").keys() == {node.address}
    finally:
        await scraper.close()


async def like_the_prometheus(server: Server, intake: Intake, node: Server) -> None:
    """The same target has the same series in a Prometheus, but for what it says about its own scrapes."""

    def scraped() -> Any:
        found = server.get("/api/v1/series", **{"match[]": '{job="self"}'})["data"]
        return found if len(found) > 100 else None

    theirs = {tuple(sorted((series | {"job": "node"}).items())) for series in await eventually(scraped, 20, "a scrape")}
    index = intake.store.index
    ours = {tuple(sorted(index.labels_of(int(i)).items())) for i in index.select([Matcher("job", "=", "node")])}
    odd = {name for series in theirs ^ ours for key, name in series if key == "__name__"}
    assert {name for name in odd if not name.startswith(("node_netstat", "node_network", "go_", "promhttp"))} == set()
    assert len(theirs & ours) > 100


STEPS: list[list[dict[str, Any]]] = [
    [{"source_labels": ["__address__"], "regex": "([^:]+):(\\d+)", "target_label": "port",
      "replacement": "$2-${1}x$1x"}],
    [{"source_labels": ["a", "b"], "separator": "/", "target_label": "joined"}],
    [{"source_labels": ["a"], "target_label": "shard", "action": "hashmod", "modulus": 97}],
    [{"source_labels": ["a", "none"], "target_label": "shard", "action": "hashmod", "modulus": 12345}],
    [{"regex": "__meta_(.+)|([ab])", "replacement": "x_${1}${2}", "action": "labelmap"}],
    [{"regex": "a|exported.*", "action": "labeldrop"}],
    [{"regex": "__.*|job|b", "action": "labelkeep"}],
    [{"source_labels": ["b"], "target_label": "b", "action": "uppercase"}],
    [{"source_labels": ["a"], "target_label": "low", "action": "lowercase"}],
    [{"source_labels": ["a"], "regex": "fo", "target_label": "z", "replacement": "no"}],
    [{"source_labels": ["a"], "regex": "(?P<first>F)(.*)", "target_label": "$first", "replacement": "$$-$first-$2-$7"}],
    [{"target_label": "a", "replacement": ""}],
    [{"source_labels": ["a"], "regex": "F.*", "action": "drop"}],
    [{"source_labels": ["a"], "regex": "F.*", "action": "keep"}],
    [{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}],
    [{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}],
    [{"target_label": "__metrics_path__", "replacement": "/probe"},
     {"target_label": "__scheme__", "replacement": "https"},
     {"source_labels": ["__address__"], "target_label": "__param_target"},
     {"target_label": "instance", "replacement": "given"}],
    [{"source_labels": ["__address__"], "target_label": "instance", "replacement": "$1", "regex": "(.*):.*"}],
]  # fmt: skip


async def test_relabelling_is_the_one_of_a_real_prometheus(tmp_path: Path, run: Run) -> None:
    jobs = [
        {"job_name": f"job{i}", "scrape_interval": "1h", "params": {"module": ["m n"]}, "relabel_configs": steps,
         "static_configs": [{"targets": ["127.0.0.1:9"], "labels": {"a": "Foo bär", "b": "bar", "__meta_env": "x"}}]}
        for i, steps in enumerate(STEPS)
    ]  # fmt: skip
    server = await asyncio.to_thread(run, prometheus(tmp_path / "prometheus", {"scrape_configs": jobs}))

    def known() -> Any:
        found = server.get("/api/v1/targets")["data"]
        return found if len(found["activeTargets"]) + len(found["droppedTargets"]) == len(jobs) else None

    found = await eventually(known, 30, "all targets are discovered")
    theirs = {active["scrapePool"]: (active["scrapeUrl"], active["labels"]) for active in found["activeTargets"]}
    for job in jobs:
        config = ScrapeConfig.model_validate(job)
        ours = [(t.url, dict(t.labels)) for t in targets(config, GlobalOptions(), {})]
        expected = [theirs[config.job_name]] if config.job_name in theirs else []
        assert ours == expected, job["relabel_configs"]
