"""What programs send gets an answer they understand, whatever they send: never a 429, never a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from detector.clock import rfc3339
from detector.ingest import receive
from detector.ingest.alertmanager import Shown
from detector.ingest.decode import Rejected
from detector.ingest.receive import Unavailable, routes
from detector.nouns import Alert, Report

NOW = 1_800_000_000_000
WRITE = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
GOOD = {"labels": {"alertname": "A", "severity": "page"}, "annotations": {"summary": "s"}}
Client = TestClient[web.Request, web.Application]


class Outcome:
    rejected: dict[str, int]
    first: Sequence[str] = ()

    def __init__(self, rejected: dict[str, int] | None = None, first: Sequence[str] = ()) -> None:
        self.rejected, self.first = rejected or {}, first


class Desk:
    """An intake that keeps what it gets, or answers what the test says."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.kept: list[Alert] = []
        self.reports: list[Report] = []
        self.outcome: Outcome | Rejected = Outcome()
        self.full: Unavailable | None = None

    def now(self) -> int:
        return NOW

    def _room(self) -> None:
        if self.full:
            raise self.full

    async def samples(self, kind: str, body: bytes, source: str) -> Outcome | Rejected:
        self._room()
        self.bodies.append(body)
        return self.outcome

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        self._room()
        self.kept.extend(alerts)

    async def report(self, report: Report, who: str = "reporter") -> str:
        self._room()
        self.reports.append(report)
        return "INC-7"

    def firing(self) -> list[Shown]:
        return [Shown(alert) for alert in self.kept]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk, aiohttp_client: AiohttpClient) -> Client:
    app = web.Application()
    app.router.add_routes(routes(desk))
    return await aiohttp_client(app)


async def problem(answer: ClientResponse, status: int) -> str:
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    document = json.loads(await answer.read())
    assert (document["status"], document["type"]) == (status, "about:blank")
    return str(document["detail"])


# --- remote write ---------------------------------------------------------------------------------


async def test_remote_write_is_answered_204_once_taken(client: Client, desk: Desk) -> None:
    answer = await client.post("/api/v1/write", data=b"abc", headers=WRITE)
    assert (answer.status, await answer.read()) == (204, b"")
    assert desk.bodies == [b"abc"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": "snappy"},
        {"Content-Type": "application/json", "Content-Encoding": "snappy"},
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "lz4"},
        {"Content-Encoding": "snappy"},
    ],
)
async def test_what_is_not_remote_write_1_is_415(client: Client, desk: Desk, headers: dict[str, str]) -> None:
    await problem(await client.post("/api/v1/write", data=b"abc", headers=headers), 415)
    assert desk.bodies == []


async def test_a_rejected_body_and_rejected_samples_are_told_apart(client: Client, desk: Desk) -> None:
    desk.outcome = Rejected(413, "too-large", "inflates to 300 MiB")
    assert "300 MiB" in await problem(await client.post("/api/v1/write", data=b"x", headers=WRITE), 413)
    desk.outcome = Outcome({"out-of-order": 2}, ["up{a=1}"])
    detail = await problem(await client.post("/api/v1/write", data=b"x", headers=WRITE), 400)
    assert "2 out-of-order" in detail
    assert "up{a=1}" in detail


# --- alerts ---------------------------------------------------------------------------------------


async def test_alerts_are_kept_and_shown_as_an_alertmanager_shows_them(client: Client, desk: Desk) -> None:
    answer = await client.post("/api/v2/alerts", json=[GOOD])
    assert (answer.status, await answer.read()) == (200, b"")
    (shown,) = await (await client.get("/api/v2/alerts")).json()
    assert shown["labels"] == GOOD["labels"]
    assert shown["status"]["state"] == "active"
    assert shown["startsAt"] == rfc3339(NOW)
    for wanted, count in (('severity="page"', 1), ("severity=none", 0), ("alertname=~A|B", 1)):
        assert len(await (await client.get("/api/v2/alerts", params={"filter": wanted})).json()) == count
    await problem(await client.get("/api/v2/alerts", params={"filter": "a=~("}), 400)
    await problem(await client.get("/api/v2/alerts/groups", params={"filter": "?"}), 400)
    assert await (await client.get("/api/v2/alerts", params={"active": "false"})).json() == []
    (group,) = await (await client.get("/api/v2/alerts/groups")).json()
    assert group["alerts"] == [shown]
    assert (await (await client.get("/api/v2/status")).json())["cluster"]["status"] == "disabled"
    assert (await (await client.get("/api/v2/receivers")).json())[0]["name"] == "detector"


async def test_valid_alerts_are_kept_and_the_others_named(client: Client, desk: Desk) -> None:
    detail = await problem(await client.post("/api/v2/alerts", json=[{"labels": {}}, GOOD, 5]), 400)
    assert "alerts[0]: at least one label" in detail
    assert "alerts[2]" in detail
    assert len(desk.kept) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_webhook_is_taken(client: Client, desk: Desk, method: str) -> None:
    body = {"version": "4", "groupKey": "g", "alerts": [GOOD | {"status": "firing"}]}
    assert (await client.request(method, "/webhooks/alertmanager", json=body)).status == 200
    assert desk.kept[0].group_key == "g"


# --- overload, size, encodings --------------------------------------------------------------------


POSTS: list[tuple[str, bytes, dict[str, str]]] = [
    ("/api/v1/write", b"abc", WRITE),
    ("/api/v2/alerts", json.dumps([GOOD]).encode(), {}),
    ("/webhooks/alertmanager", json.dumps({"version": "4", "alerts": []}).encode(), {}),
    ("/api/reports", b'{"description": "slow"}', {}),
]


@pytest.mark.parametrize(("path", "body", "headers"), POSTS)
async def test_overload_is_503_with_retry_after(
    client: Client, desk: Desk, path: str, body: bytes, headers: dict[str, str]
) -> None:
    desk.full = Unavailable("the disk is full", 9)
    answer = await client.post(path, data=body, headers=headers)
    assert await problem(answer, 503) == "the disk is full"
    assert answer.headers["Retry-After"] == "9"


@pytest.mark.parametrize(("path", "body", "headers"), POSTS)
async def test_a_body_beyond_the_limit_is_413_declared_or_not(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(receive, "JSON_BYTES", 1000)
    monkeypatch.setattr(receive, "REPORT_BYTES", 1000)

    async def stream() -> Any:
        for _ in range(300):
            yield b"x" * 10

    await problem(await client.post(path, data=b"x" * 3000, headers=headers), 413)
    await problem(await client.post(path, data=stream(), headers=headers), 413)


@pytest.mark.parametrize(("path", "body", "headers"), POSTS[1:])
async def test_gzip_is_read_and_its_bombs_are_not(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, headers: dict[str, str]
) -> None:
    encoding = {"Content-Encoding": "gzip"}
    assert (await client.post(path, data=gzip.compress(body), headers=encoding)).status in (200, 201)
    bomb = gzip.compress(b" " * (64 << 20))
    await problem(await client.post(path, data=bomb, headers=encoding), 413)


@pytest.mark.parametrize(("path", "body", "headers"), POSTS[1:])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_damaged_encodings_are_400(
    client: Client, path: str, body: bytes, headers: dict[str, str], encoding: str
) -> None:
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    for damaged in (b"not packed at all", packed[:12] + b"\xff\xff\xff" + packed[15:], packed[: len(packed) // 2]):
        answer = await client.post(path, data=damaged, headers={"Content-Encoding": encoding})
        assert answer.status == 400, (damaged, await answer.text())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b"null", b"[NaN]", b"1e999999", b'"\\ud800"',
     b'{"description": 5}', b'{"description": ""}', b"[[]]", b'{"alerts": 5}'],
)  # fmt: skip
@pytest.mark.parametrize("path", [path for path, *_ in POSTS[1:]])
async def test_hostile_json_is_400(client: Client, path: str, body: bytes) -> None:
    answer = await client.post(path, data=body)
    await problem(answer, 413 if len(body) > receive.REPORT_BYTES and path == "/api/reports" else 400)


async def test_a_sender_that_goes_away_leaves_nothing_behind(client: Client, desk: Desk) -> None:
    assert client.port is not None
    for lie in (b"Content-Length: 500\r\n\r\n[{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n[", b"\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\n" + lie)
        await writer.drain()
        writer.close()
    assert (await client.post("/api/v2/alerts", json=[GOOD])).status == 200
    assert len(desk.kept) == 1


async def test_a_body_that_never_ends_is_not_waited_for(
    client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "PATIENCE_S", 0.1)

    async def endless() -> Any:
        yield b"["
        await asyncio.sleep(60)

    # As raw deflate the other one ends early, and aiohttp goes on waiting.
    odd = client.post("/api/v2/alerts", data=b"[" * 1_000_000, headers={"Content-Encoding": "deflate"})
    for sent in (client.post("/api/v2/alerts", data=endless()), odd):
        assert "did not arrive within" in await problem(await sent, 503)
    assert desk.kept == []


# --- reports --------------------------------------------------------------------------------------


async def test_a_report_is_answered_with_its_ticket(client: Client, desk: Desk) -> None:
    body = {"description": "Die Kasse hängt", "title": "Kasse", "service": "checkout", "security": True,
            "reporter": {"name": "Ada", "contact": "ada@example.org", "language": "de"}}  # fmt: skip
    answer = await client.post("/api/reports", json=body, headers={"Idempotency-Key": "k1"})
    assert answer.status == 201
    assert (await answer.json())["key"] == "INC-7"
    (report,) = desk.reports
    assert (report.description, report.idempotency_key, report.received_at) == ("Die Kasse hängt", "k1", NOW)
    assert report.security
    assert report.reporter is not None
    assert report.reporter.language == "de"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"description": " "}, "description"), ({"title": "x"}, "description"),
        ({"description": "x" * 20_001}, "20000"), ({"description": "x", "extra": 1}, "extra"),
        ({"description": "x", "kind": "fire"}, "undecided, incident, request"),
        ({"description": "x", "title": "y" * 201}, "title"), ({"description": "x", "reporter": {}}, "name"),
    ],
)  # fmt: skip
async def test_a_report_with_a_wrong_field_names_it(client: Client, body: dict[str, Any], word: str) -> None:
    assert word in await problem(await client.post("/api/reports", json=body), 400)
