"""History is read whole, each sample once, in order of time, in answers of bounded size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from detector.ingest import backfill
from detector.ingest.backfill import BackfillError, HistoryChunk, history
from detector.series.labels import Index

HOUR = 3_600_000
END = 1_800_000_000_000 // HOUR * HOUR + 1234
RAW = END - 35 * 60_000
WEEK = END - 7 * 86_400_000


class Prometheus:
    """The three endpoints that history asks, over series of one sample every 15 s. ``closed``: ranges as before 3.0."""

    def __init__(self, metrics: list[str], closed: bool = False) -> None:
        self.metrics, self.closed, self.most_names, self.asked = metrics, closed, 10**9, 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/label/__name__/values", self.names)
        app.router.add_post("/api/v1/query", self.query)
        app.router.add_post("/api/v1/query_range", self.query_range)
        return app

    async def names(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": self.metrics})

    async def query(self, request: web.Request) -> web.Response:
        form = await request.post()
        names, span = re.fullmatch(r'\{.*__name__=~"(.*)"\}\[(\d+)ms\]', str(form["query"])).groups()  # type: ignore[union-attr]
        high = round(float(str(form["time"])) * 1000)
        low = high - int(span) - self.closed
        return self.answer(names, [t for t in range(low // 15_000 * 15_000, high + 1, 15_000) if low < t <= high])

    async def query_range(self, request: web.Request) -> web.Response:
        form = await request.post()
        names = re.fullmatch(r'\{.*__name__=~"(.*)"\}', str(form["query"])).group(1)  # type: ignore[union-attr]
        start, end, step = (round(float(str(form[key])) * 1000) for key in ("start", "end", "step"))
        return self.answer(names, list(range(start, end + 1, step)))

    def answer(self, names: str, times: list[int]) -> web.Response:
        self.asked += 1
        found = [name for name in names.split("|") if name in self.metrics]
        if len(found) > self.most_names:
            error = "query processing would load too many samples into memory in query execution"
            return web.json_response({"status": "error", "error": error}, status=422)
        series = [
            {"metric": {"__name__": name, "job": "a"}, "values": [[t / 1000, str(t % 1000)] for t in times]}
            for name in found
        ]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": series}})


async def taken(
    server: AiohttpServer, prometheus: Prometheus, *, start: int = RAW, step: int = 0, selector: str = '{job="a"}',
    progress: Callable[[float], None] = lambda _: None,
) -> list[HistoryChunk]:  # fmt: skip
    peer = await server(prometheus.app())
    async with aiohttp.ClientSession() as session:
        url = str(peer.make_url("/"))
        return [c async for c in history(session, url, [selector], start, END, progress, step=step)]


def times(chunks: list[HistoryChunk], metric: str) -> list[int]:
    return [
        t
        for chunk in chunks
        for labels, at in zip(chunk.labels, chunk.at, strict=True)
        if dict(labels)["__name__"] == metric
        for t in at.tolist()
    ]


@pytest.mark.parametrize("closed", [False, True])
async def test_every_sample_comes_once_and_in_order_whatever_the_version(
    aiohttp_server: AiohttpServer, closed: bool
) -> None:
    metrics = [f"m{i}" for i in range(95)]
    shares: list[float] = []
    chunks = await taken(aiohttp_server, Prometheus(metrics, closed), progress=shares.append)
    expected = [t for t in range(RAW // 15_000 * 15_000, END + 1, 15_000) if RAW < t <= END]
    assert all(times(chunks, metric) == expected for metric in metrics)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


async def test_a_week_comes_in_one_chunk_at_the_multiples_of_the_step(aiohttp_server: AiohttpServer) -> None:
    chunks = await taken(aiohttp_server, Prometheus(["m"]), start=WEEK, step=HOUR)
    assert len(chunks) == 1
    assert times(chunks, "m") == list(range(WEEK // HOUR * HOUR + HOUR, END // HOUR * HOUR + 1, HOUR))


def test_only_series_that_the_index_knows_are_taught() -> None:
    index = Index()
    id = index.intern((("__name__", "m"), ("job", "a")), "a")
    labels = ((("__name__", "gone"), ("job", "a")), (("__name__", "m"), ("job", "a")))
    two = np.array([1, 2])
    chunk = HistoryChunk(labels, (two, two + 10), (np.ones(2), np.zeros(2)))
    ids, at, value = chunk.known(index)
    assert (ids.tolist(), at.tolist(), value.tolist()) == ([id, id], [11, 12], [0.0, 0.0])
    assert index.size == 1


async def test_answers_that_are_too_large_are_asked_for_in_parts(aiohttp_server: AiohttpServer) -> None:
    prometheus = Prometheus([f"m{i}" for i in range(10)])
    prometheus.most_names = 3
    chunks = await taken(aiohttp_server, prometheus)
    assert len(times(chunks, "m9")) == len(times(chunks, "m0")) == 140


async def test_a_metric_that_cannot_be_read_costs_only_itself(
    aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prometheus = Prometheus(["m0", "m1"])
    prometheus.most_names = 0
    assert await taken(aiohttp_server, prometheus) == []
    assert "m0 is left out: query processing would load too many samples" in caplog.text


async def test_answers_are_bounded(aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "MOST_BYTES", 2000)
    assert await taken(aiohttp_server, Prometheus(["m0", "m1"])) != []


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ('{job="a"}', '{job="a",__name__=~"x|y"}'),
        ('{job="a",}', '{job="a",__name__=~"x|y"}'),
        ("{}", '{__name__=~"x|y"}'),
        ("up", '{__name__="up",__name__=~"x|y"}'),
        ('up{job="a"}', '{__name__="up",job="a",__name__=~"x|y"}'),
    ],
)
def test_selectors_are_narrowed_to_metrics(selector: str, expected: str) -> None:
    assert backfill._narrowed(selector, ["x", "y"]) == expected


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [(200, "<html>", "not a Prometheus"), (500, "", "not a Prometheus"), (401, "", "check basic_auth"),
     (400, json.dumps({"status": "error", "error": "parse error"}), "parse error"), (200, "[" * 100_000, "not a Prom")],
)  # fmt: skip
async def test_what_is_no_prometheus_is_said(aiohttp_server: AiohttpServer, status: int, body: str, word: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    peer = await aiohttp_server(app)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(BackfillError, match=word):
            _ = [c async for c in history(session, str(peer.make_url("/")), ["{}"], RAW, END)]


async def test_nobody_there_is_said(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(BackfillError, match=f"127.0.0.1:{unused_tcp_port}"):
            _ = [c async for c in history(session, f"http://127.0.0.1:{unused_tcp_port}", ["{}"], RAW, END)]


def test_a_chunk_becomes_a_batch_in_order_of_time_that_says_what_is_new() -> None:
    index = Index()
    labels = ((("__name__", "a"), ("job", "j")), (("__name__", "b"), ("job", "j")))
    chunk = HistoryChunk(labels, (np.array([1, 3]), np.array([2, 4])), (np.array([1.0, 3.0]), np.array([2.0, 4.0])))
    batch = chunk.decode(index).batch
    assert batch.at.tolist() == [1, 2, 3, 4]
    assert batch.series.tolist() == [0, 1, 0, 1]
    assert [born.labels for born in batch.born] == list(labels)
    assert chunk.decode(index).batch.born == ()
    assert index.drain()[0] == ()
