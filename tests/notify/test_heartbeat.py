"""The dead man's switch: it beats only while everything works, in its own rhythm, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from detector.clock import ManualClock
from detector.notify.heartbeat import Heartbeat, HeartbeatOptions
from detector.telemetry import Telemetry
from tests.contract.receivers import Loopback
from tests.notify.tickets import NOW

TOKEN = "0b8f-secret"


class Watchdog(Loopback):
    """What healthchecks.io does with a ping: takes any GET, answers OK. ``beat`` is set by each."""

    def __init__(self) -> None:
        super().__init__()
        self.beat = asyncio.Event()

    async def receive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.method == "GET"
        self.beat.set()
        return web.Response(text="OK")


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    server = Watchdog()
    await server.start()
    yield server
    await server.stop()


class Health:
    """What the daemon knows of itself."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self.broken = False

    async def __call__(self) -> str | None:
        if self.broken:
            raise OSError("database is locked")
        return self.wrong


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def make(
    watchdog: Watchdog, session: aiohttp.ClientSession, health: Health
) -> tuple[Heartbeat, ManualClock, Telemetry]:
    clock, telemetry = ManualClock(NOW), Telemetry(CollectorRegistry())
    options = HeartbeatOptions.model_validate({"url": f"{watchdog.url}/{TOKEN}", "timeout": "1s"})
    return Heartbeat(options, health, session, clock, telemetry), clock, telemetry


def beats(telemetry: Telemetry, result: str) -> float:
    return telemetry.registry.get_sample_value("detector_heartbeats_total", {"result": result}) or 0.0


async def test_it_beats_every_minute_while_all_is_well(watchdog: Watchdog, session: aiohttp.ClientSession) -> None:
    heart, clock, telemetry = make(watchdog, session, Health())
    due = NOW
    for minute in range(3):
        assert due == NOW + minute * 60_000
        clock.set(due)
        due = await heart.beat(due)
    assert beats(telemetry, "sent") == len(watchdog.seen) == 3


async def test_it_runs_until_it_is_cancelled(watchdog: Watchdog, session: aiohttp.ClientSession) -> None:
    heart, _, _ = make(watchdog, session, Health())
    task = asyncio.create_task(heart.run())
    await watchdog.beat.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "wrong", ["no samples for 2 min", "evaluations are 40 s behind", "the database takes no writes"]
)
async def test_it_is_withheld_when_anything_does_not_work(
    watchdog: Watchdog, session: aiohttp.ClientSession, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    heart, _, telemetry = make(watchdog, session, health)
    health.wrong = wrong
    assert await heart.beat(NOW) == NOW + 60_000
    assert watchdog.seen == []
    assert beats(telemetry, "withheld") == 1
    assert f"heartbeat withheld: {wrong}" in caplog.text
    health.wrong = None
    await heart.beat(NOW + 60_000)
    assert len(watchdog.seen) == 1


async def test_a_check_that_fails_has_not_said_healthy(watchdog: Watchdog, session: aiohttp.ClientSession) -> None:
    health = Health()
    heart, _, telemetry = make(watchdog, session, health)
    health.broken = True
    await heart.beat(NOW)
    assert watchdog.seen == []
    assert beats(telemetry, "withheld") == 1


async def test_failures_are_counted_and_the_address_is_not_told(
    watchdog: Watchdog, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    heart, _, telemetry = make(watchdog, session, Health())
    watchdog.answers = [(500, {}), (302, {"Location": f"{watchdog.url}/elsewhere"})]
    await heart.beat(NOW)
    await heart.beat(NOW)
    await watchdog.stop()
    await heart.beat(NOW)
    assert beats(telemetry, "failed") == 3
    assert TOKEN not in caplog.text
    assert len(watchdog.seen) == 2, "the redirect was not followed"


async def test_a_slow_fetch_does_not_shift_the_rhythm(watchdog: Watchdog, session: aiohttp.ClientSession) -> None:
    heart, clock, _ = make(watchdog, session, Health())
    clock.set(NOW + 61_000)  # the beat that was due at NOW ends a minute later
    assert await heart.beat(NOW) == NOW + 120_000


@pytest.mark.parametrize(
    "raw", [{}, {"url": "ftp://x"}, {"url": "https://x", "interval": "0"}, {"url": "https://u:p@x"}]
)
def test_mistakes_are_told(raw: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"url|interval|http"):
        HeartbeatOptions.model_validate(raw)
