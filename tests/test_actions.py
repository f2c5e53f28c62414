"""Actions of runbooks against a real server on loopback: called once, with what was shown, and answered or lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from detector.clock import ManualClock
from detector.daemon.actions import LOST, ActionRunner
from detector.nouns import SYSTEM, ActionTaken, Ticket
from detector.pipeline import Pipeline, Policy
from detector.tickets.options import TicketOptions
from tests.rows import HOUR, NOW, rows, symptom


@dataclass
class Hook:
    """What an action calls."""

    url: str = ""
    status: int = 200
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()

    async def take(request: web.Request) -> web.Response:
        made.calls.append((await request.text(), dict(request.headers)))
        return web.Response(
            status=made.status, text="grown <b>to</b> 20 GiB", headers={"Location": "http://127.0.0.1:1/"}
        )

    app = web.Application()
    app.router.add_post("/grow", take)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/grow"))
        yield made


def policy(hook: Hook, **action: Any) -> Policy:
    one = {"name": "grow", "says": "adds 10 GiB", "url": hook.url, "every": 0, "headers_file": "headers"} | action
    options = {"response": {"runbooks": [{"name": "disk", "actions": [one]}]}}
    return Policy(tickets=TicketOptions.model_validate(options))


async def run(pipeline: Pipeline, hook: Hook, tmp_path: Path) -> ActionTaken:
    (tmp_path / "headers").write_text("Authorization: Bearer s3cret\n")
    async with aiohttp.ClientSession() as session:
        runner = ActionRunner(pipeline, session, ManualClock(NOW + 5), lambda: tmp_path)
        pipeline.subscribe(runner.committed)
        await pipeline.step([symptom('a"b', left=5 * HOUR)], [], NOW)
        await pipeline.act("INC-1", "run", SYSTEM, now=NOW + 1, name="grow", confirmed=True)
        await runner.close()
    return (await ticket(pipeline)).actions[-1]


async def ticket(pipeline: Pipeline) -> Ticket:
    found = await pipeline.desk.ticket("INC-1", SYSTEM)
    assert found is not None
    return found


async def test_an_action_is_called_once_with_what_was_shown_and_its_answer_is_kept(hook: Hook, tmp_path: Path) -> None:
    async with rows(policy(hook, body='{"disk": "$item", "for": "$key"}')) as pipeline:
        taken = await run(pipeline, hook, tmp_path)
        assert (taken.result, taken.said) == ("succeeded", "answered 200: grown <b>to</b> 20 GiB")
        [(body, headers)] = hook.calls
        assert body == r'{"disk": "a\"b", "for": "INC-1"}', "no name breaks out of its quotes"
        assert headers["Authorization"] == "Bearer s3cret"
        assert headers["Idempotency-Key"].startswith("INC-1/grow/")
        said = str([entry.data for entry in await pipeline.desk.timeline("INC-1", SYSTEM)])
        assert "s3cret" not in said


@pytest.mark.parametrize(("status", "why"), [(500, "server-error"), (403, "unauthorized"), (302, "redirected")])
async def test_what_fails_is_said_and_never_tried_again(hook: Hook, tmp_path: Path, status: int, why: str) -> None:
    hook.status = status
    async with rows(policy(hook)) as pipeline:
        taken = await run(pipeline, hook, tmp_path)
        assert taken.result == "failed"
        assert why in taken.said
        assert len(hook.calls) == 1


async def test_headers_that_cannot_be_read_keep_it_from_being_called(hook: Hook, tmp_path: Path) -> None:
    async with rows(policy(hook, headers_file="missing")) as pipeline:
        taken = await run(pipeline, hook, tmp_path)
        assert (taken.result, hook.calls) == ("failed", [])


async def test_what_ran_when_the_last_process_ended_is_lost_and_not_run_again(hook: Hook, tmp_path: Path) -> None:
    async with rows(policy(hook)) as pipeline:
        await pipeline.step([symptom(left=5 * HOUR)], [], NOW)
        await pipeline.act("INC-1", "run", SYSTEM, now=NOW + 1, name="grow", confirmed=True)
        async with aiohttp.ClientSession() as session:
            await ActionRunner(pipeline, session, ManualClock(NOW + 5), lambda: tmp_path).forget_lost()
        [taken] = (await ticket(pipeline)).actions
        assert (taken.result, taken.said, hook.calls) == ("failed", LOST, [])
