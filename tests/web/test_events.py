"""Live events: what pages hear, what they never hear, and what becomes of slow and closed ones."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from detector.nouns import Report
from detector.tickets.desk import Committed
from detector.web.options import WebLimits, WebOptions
from detector.web.sse import Hub
from tests.rows import NOW
from tests.web.house import House, filling, house


async def heard(home: House, wanted: int, **headers: str) -> AsyncIterator[dict[str, str]]:
    """The next ``wanted`` events but the status line's, as they come."""
    async with home.client.get("/api/events", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        event: dict[str, str] = {}
        while wanted:
            line = (await asyncio.wait_for(answer.content.readline(), 10)).decode().rstrip("\r\n")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                if event.get("event") != "status":
                    wanted -= 1
                yield event
                event = {}


async def events(home: House, act: Any, wanted: int = 1, **headers: str) -> list[dict[str, str]]:
    found = []
    async for event in heard(home, wanted, **headers):
        if event.get("event") == "status":
            if act is not None:
                await act()
                act = None
        else:
            found.append(event)
    return found


async def test_a_page_hears_of_a_new_incident_and_what_becomes_of_it() -> None:
    async with house() as home:

        async def act() -> None:
            await home.pipeline.step([filling()], [], NOW)
            await home.client.post("/api/incidents/INC-1/ack", json={})

        first, second = await events(home, act, 2)
        assert first["event"] == "ticket"
        assert json.loads(first["data"]) | {"version": 0} == {
            "key": "INC-1", "version": 0, "state": "triaged", "phase": "predicted", "priority": "P2",
            "service": "storage", "assignee": None,
        }  # fmt: skip
        assert json.loads(second["data"])["assignee"] == "operator"
        assert second["id"].endswith("-2")


async def test_a_page_that_comes_back_hears_what_it_missed() -> None:
    async with house() as home:
        text = await (await home.client.get("/")).text()
        here = text.split('data-here="')[1].split('"')[0]
        await home.pipeline.step([filling()], [], NOW)
        await home.pipeline.step([filling("/b", service="b")], [], NOW)
        missed = await events(home, None, 2, **{"Last-Event-ID": here})
        assert [json.loads(event["data"])["key"] for event in missed] == ["INC-1", "INC-2"]
        (last,) = await events(home, None, 1, **{"Last-Event-ID": missed[0]["id"]})
        assert json.loads(last["data"])["key"] == "INC-2"


@pytest.mark.parametrize("last", ["1-0", "x", "-", f"{NOW}-99", f"{NOW}--1", "9" * 500])
async def test_a_page_from_before_a_restart_is_told_to_read_anew(last: str) -> None:
    async with house() as home:
        (event,) = await events(home, None, 1, **{"Last-Event-ID": last})
        assert event["event"] == "reset"


async def test_restricted_tickets_and_shadows_leave_no_trace() -> None:
    async with house() as home:

        async def act() -> None:
            await home.pipeline.report(Report("leak", NOW, service="crm", security=True))
            await home.pipeline.step([filling()], [], NOW)

        (event,) = await events(home, act)
        assert json.loads(event["data"])["service"] == "storage"
        assert event["id"].endswith("-1"), "not even a number is missing"


def committed(number: int) -> Committed:
    from detector.nouns import Ticket

    return Committed(Ticket(f"INC-{number}", 1, "incident", "triaged", "detected", "s", NOW, "page", "predicted"), ())


async def test_a_slow_page_loses_its_place_and_nobody_waits() -> None:
    hub = Hub(NOW, clients=2, queue=8)
    slow = hub.join(None)
    for number in range(1000):
        hub.committed(committed(number))
    assert slow.qsize() <= 8
    assert None in [slow.get_nowait() for _ in range(slow.qsize())], "it is told to read anew"


async def test_more_pages_than_allowed_are_503() -> None:
    async with house(WebOptions(limits=WebLimits(events_clients=1))) as home:
        async with home.client.get("/api/events") as first:
            assert first.status == 200
            second = await home.client.get("/api/events")
            assert (second.status, second.headers["Retry-After"]) == (503, "30")
        for _ in range(50):
            async with home.client.get("/api/events") as third:
                if third.status == 200:
                    return
            await home.pipeline.step([filling()], [], NOW)
        pytest.fail("a closed page kept its place")


async def test_a_closed_tab_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with house() as home:
        for number in range(5):
            answer = await home.client.get("/api/events")
            await answer.content.readline()
            answer.close()
            await home.pipeline.step([filling(f"/{number}", service=f"s{number}")], [], NOW)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_a_shutdown_does_not_wait_for_browsers() -> None:
    async with house() as home:
        answer = await home.client.get("/api/events")
        await answer.content.readline()
        async with asyncio.timeout(3):
            await home.client.server.close()
