"""Answers that are shared: one making for all who ask at once, none for whom it is another's, none that is old."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from detector.nouns import SYSTEM, Report, Reporter
from detector.pipeline import Pipeline
from detector.web.options import WebConfig
from detector.web.shared import Made, Shared
from tests.rows import NOW, rows, symptom
from tests.web.house import hashed, house


class Maker:
    """Counts how often it makes; each making ends when it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def make(self) -> Made:
        self.count += 1
        self.asked.set()
        await self.go.wait()
        if self.fails:
            raise web.HTTPConflict
        return Made(f"made {self.count} {'x' * 3000}".encode(), "text/plain")


async def served(pipeline: Pipeline, maker: Maker) -> TestClient[web.Request, web.Application]:
    shared = Shared(pipeline.desk)
    pipeline.subscribe(shared.committed)

    async def answer(request: web.Request) -> web.Response:
        return await shared.answer(request, request.query_string, maker.make)

    app = web.Application()
    app.router.add_get("/", answer)
    client = TestClient(TestServer(app))
    await client.start_server()
    return client


async def asked(client: TestClient[web.Request, web.Application], query: str = "", **headers: str) -> str:
    answer = await client.get(f"/?{query}", headers=headers)
    return (await answer.text())[:6] if answer.status == 200 else str(answer.status)


async def test_twenty_who_ask_at_once_are_answered_by_one_making_until_something_is_committed() -> None:
    async with rows() as pipeline:
        maker = Maker()
        client = await served(pipeline, maker)
        waiting = [asyncio.create_task(asked(client)) for _ in range(20)]
        await maker.asked.wait()
        maker.go.set()
        assert set(await asyncio.gather(*waiting)) == {"made 1"}
        assert await asked(client, "other") == "made 2"
        await pipeline.step([symptom()], [], NOW)
        assert await asked(client) == "made 3"
        # Another process of the same desk tells nobody here; the timeline does.
        other = Pipeline(pipeline.desk, pipeline.policy, pipeline._telemetry)
        await other.load(NOW)
        await other.act("INC-1", "note", SYSTEM, now=NOW, text="from elsewhere")
        assert await asked(client) == "made 4"
        await client.close()


async def test_what_fails_fails_for_those_who_waited_and_is_tried_again() -> None:
    async with rows() as pipeline:
        maker = Maker()
        maker.fails = True
        client = await served(pipeline, maker)
        maker.go.set()
        assert await asked(client) == "409"
        maker.fails = False
        assert await asked(client) == "made 2"
        await client.close()


@pytest.mark.parametrize(("accepts", "packed"), [("gzip", True), ("identity", False)])
async def test_it_is_packed_for_those_who_take_it_packed(accepts: str, packed: bool) -> None:
    async with rows() as pipeline:
        maker = Maker()
        maker.go.set()
        client = await served(pipeline, maker)
        answer = await client.get("/", headers={"Accept-Encoding": accepts})
        assert (await answer.text()).startswith("made 1")
        assert (answer.headers.get("Content-Encoding") == "gzip") is packed
        assert answer.headers["Vary"] == "Accept-Encoding"
        await client.close()


async def test_nobody_gets_a_page_that_was_made_for_another_or_before_their_own_act() -> None:
    config = WebConfig(basic_auth_users={"ann": hashed("a"), "ben": hashed("b")})
    async with house(config=config) as home:
        await home.pipeline.step([symptom()], [], NOW)
        ann, ben = ({"Authorization": f"Basic {code}"} for code in ("YW5uOmE=", "YmVuOmI="))
        for who in (ann, ben):
            assert "unacknowledged" in await (await home.client.get("/?tab=open", headers=who)).text()
        acked = await home.client.post("/api/incidents/INC-1/ack", json={}, headers=ann)
        assert acked.status == 200
        assert "held by you" in await (await home.client.get("/?tab=open", headers=ann)).text()
        assert "held by ann" in await (await home.client.get("/?tab=open", headers=ben)).text()
        assert (await home.client.get("/?tab=open")).status == 401


async def test_a_restricted_ticket_is_in_no_shared_list() -> None:
    async with house() as home:
        await home.pipeline.report(Report("a mailbox was read", NOW, Reporter("Kim"), security=True))
        assert (await (await home.client.get("/api/incidents")).json())["items"] == []
        assert await home.pipeline.desk.timelines([(await home.pipeline.desk.every_open(SYSTEM))[0]], SYSTEM)
