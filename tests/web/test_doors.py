"""What a browser may be tricked into: other names for us, other sites' pages, foreign content in ours."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from detector.web.doors import CSP
from detector.web.options import WebOptions
from tests.rows import NOW
from tests.web.house import House, filling, house


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9797", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9797", "127.1.2.3", "[::1]:9797",
             "detector.localhost", "localhost."],
)  # fmt: skip
async def test_loopback_names_are_ours(host: str) -> None:
    async with house() as home:
        assert (await home.client.get("/api/incidents", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9797", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1",
             "0.0.0.0",              "[::2]", "10.0.0.1:9797", "127.0.0.1@evil.example", "xn--localhost"],
)  # fmt: skip
async def test_other_names_are_421(host: str) -> None:
    async with house() as home:
        for path in ("/", "/api/incidents", "/-/healthy", "/nothing"):
            answer = await home.client.get(path, headers={"Host": host})
            assert answer.status == 421, path
        assert "web.hosts" in (await answer.text())


@pytest.mark.parametrize(
    "host", ["detector.example", "DETECTOR.example:443", "other.example", "10.9.8.7:9797", "[2001:db8::1]"]
)
async def test_configured_names_are_ours_and_an_address_on_every_address(host: str) -> None:
    options = WebOptions(
        listen=":9797", allow_anonymous=True, external_url="https://detector.example", hosts=("other.example",)
    )
    async with house(options) as home:
        assert (await home.client.get("/api/incidents", headers={"Host": host})).status == 200
        assert (await home.client.get("/api/incidents", headers={"Host": "evil.example"})).status == 421


async def raw(home: House, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", home.client.port)
    with closing(writer):
        writer.write(text)
        await writer.drain()
        return await asyncio.wait_for(reader.read(65536), 10)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n", b" 400 "),
        (b"GET /-/healthy HTTP/1.0\r\n\r\n", b" 200 "),
        (b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n", b" 400 "),
        (b"GET /-/healthy HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n", b" 400 "),
        (b"GET /-/healthy HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n", b" 400 "),
        (b"NONSENSE\r\n\r\n", b" 400 "),
    ],
)
async def test_requests_that_no_client_writes(request_: bytes, status: bytes) -> None:
    async with house() as home:
        assert status in (await raw(home, request_)).split(b"\r\n")[0] + b" "


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
    {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "file://"}, {"Origin": "http://[::1"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, {"Sec-Fetch-Site": "nonsense"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_another_sites_page_changes_nothing(headers: dict[str, str]) -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        for path in ("/api/incidents/INC-1/ack", "/incidents/INC-1/ack", "/-/reload"):
            assert (await home.client.post(path, headers=headers)).status == 403, path
        ticket = await (await home.client.get("/api/incidents/INC-1", headers=headers)).json()
        assert ticket["assignee"] is None


async def test_our_own_page_and_programs_change_things() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        own = home.url
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": own}, {}):
            answer = await home.client.post("/api/incidents/INC-1/note", json={"text": "x"}, headers=headers)
            assert answer.status == 200, headers


async def test_an_external_url_is_our_own_origin() -> None:
    async with house(WebOptions(external_url="https://detector.example")) as home:
        await home.pipeline.step([filling()], [], NOW)
        headers = {"Origin": "https://detector.example"}
        answer = await home.client.post("/api/incidents/INC-1/note", json={"text": "x"}, headers=headers)
        assert answer.status == 200


@pytest.mark.parametrize(
    "path", ["/", "/incidents/INC-1", "/services", "/nothing", "/api/incidents", "/static/app.js", "/metrics"]
)
async def test_every_answer_is_hardened(path: str) -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        headers = (await home.client.get(path)).headers
        assert headers["Content-Security-Policy"] == CSP
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Server" not in headers
        assert "unsafe" not in CSP


async def test_a_charts_own_policy_lets_no_script_run() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        found = await (await home.client.get("/api/incidents/INC-1")).json()
        answer = await home.client.get(f"/incidents/INC-1/chart/{found['symptoms'][0]['id']}.svg?theme=dark")
        assert (answer.status, answer.content_type) == (200, "image/svg+xml")
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert (await home.client.get("/incidents/INC-1/chart/other.svg")).status == 404
