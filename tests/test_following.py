"""A webhook that follows the desk: every change, once, in order, signed; and once more when it is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook

from detector.clock import SystemClock
from detector.notify.channels.webhook import WebhookChannel, WebhookOptions
from detector.notify.deliver import Deliverer
from detector.nouns import SYSTEM, Report, Sent
from detector.pipeline import Pipeline
from detector.telemetry import Telemetry
from detector.tickets.database import address
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import NOW, rows, symptom
from tests.web.house import house

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
FOLLOWS = (Route("hook", urgencies=(), changes=True),)


@pytest_asyncio.fixture
async def received() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a receiver that checks every signature, and what it was sent."""
    found: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.text()
        Webhook(SECRET).verify(body, dict(request.headers))
        found.append(json.loads(body) | {"id": request.headers["webhook-id"]})
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook")), found


async def deliver(pipeline: Pipeline, url: str) -> None:
    clock = SystemClock()  # receivers refuse signatures of another time
    async with aiohttp.ClientSession() as session:
        options = WebhookOptions.model_validate({"name": "hook", "type": "webhook", "url": url, "secret": SECRET})
        channel = WebhookChannel(options, session, clock)
        worker = Deliverer(Outbox(pipeline.desk), [channel], clock, Telemetry(CollectorRegistry()), "", UTC)
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(10):
            while (await Outbox(pipeline.desk).waiting())[0]:  # noqa: ASYNC110 - a table tells nobody
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_change_is_handed_over_once_and_in_order(
    received: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, found = received
    async with rows(routes=FOLLOWS, url=address(tmp_path / "desk.db")) as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.act("INC-1", "ack", SYSTEM, now=NOW + 1)
        await pipeline.act("INC-1", "note", SYSTEM, now=NOW + 2, text="<b>")
        await deliver(pipeline, url)
        assert [sent["type"] for sent in found] == ["incident.change"] * 3
        told = [[change["what"] for change in sent["data"]["changes"]] for sent in found]
        assert told[0][:2] == ["opened", "symptom-joined"]
        assert (told[1][0], told[2]) == ("acknowledged", ["noted"])
        assert found[2]["data"]["changes"][0]["data"] == {"text": "<b>"}
        assert found[2]["data"]["incident"]["key"] == "INC-1"
        whole = [entry.what for entry in await pipeline.desk.timeline("INC-1", SYSTEM)]
        assert whole == [what for one in told for what in one], "what follows the timeline does not lengthen it"
        # Once more, under the same names: a receiver knows what it has seen.
        first = [sent["id"] for sent in found]
        assert await Outbox(pipeline.desk).replay("hook", NOW + 1, SystemClock().now()) == 2
        await deliver(pipeline, url)
        assert [sent["id"] for sent in found[3:]] == first[1:]


async def test_nothing_confidential_and_no_shadow_is_handed_over(
    received: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, found = received
    async with rows(routes=FOLLOWS, url=address(tmp_path / "desk.db")) as pipeline:
        await pipeline.report(Report("leak", NOW, security=True))
        await deliver(pipeline, url)
        assert found == []


async def test_whoever_only_follows_is_told_nothing_else() -> None:
    async with rows(routes=FOLLOWS) as pipeline:
        await pipeline.step([symptom(left=600_000)], [], NOW)
        await pipeline.act("INC-1", "resolve", SYSTEM, now=NOW + 1, force=True)
        outbox, events = Outbox(pipeline.desk), []
        while (message := await outbox.claim("hook", NOW + 10, 1000)) is not None:
            events.append(message.event)
            await outbox.settle(message.id, Sent(), NOW + 10)
        assert events == ["change", "change"]


async def test_a_replay_is_asked_for_by_name_and_time() -> None:
    async with house(followers=lambda: ["hook"]) as home:

        async def ask(channel: str, body: Any) -> tuple[int, Any]:
            answer = await home.client.post(f"/api/channels/{channel}/replay", json=body)
            return answer.status, await answer.json(content_type=None)

        assert await ask("hook", {"since": "2026-01-01T00:00:00Z"}) == (200, {"messages": 0})
        assert (await ask("hook", {"since": "soon"}))[0] == 422
        status, problem = await ask("pager", {"since": "2026-01-01T00:00:00Z"})
        assert (status, "those that do: hook" in problem["detail"]) == (404, True)
