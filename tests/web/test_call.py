"""An agent who logs a call: on the page, as JSON, and in the shell; the timeline says who wrote it down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth

from detector.ingest import receive
from detector.nouns import SYSTEM, TimelineEntry
from detector.shell import Wrong, log_call
from detector.web.auth import VIEWER
from detector.web.options import WebOptions
from tests.rows import NOW
from tests.web.house import House, config_of, hashed, house
from tests.web.test_openapi import Reports

FORM = {"description": "Nothing can be bought", "name": "Kim", "contact": "+49 30 1"}
TOLD = {"description": "It is slow", "channel": "call", "reporter": {"name": "Kim", "contact": "+49 30 1"}}


async def opened(home: House, key: str = "INC-1") -> TimelineEntry:
    return (await home.pipeline.desk.timeline(key, SYSTEM))[0]


async def test_whoever_is_logged_in_logs_it_under_the_own_name(tmp_path: Path) -> None:
    config = config_of(tmp_path, f"basic_auth_users: {{ann: '{hashed('secret')}'}}\n")
    intake = Reports()
    ingest = receive.routes(intake, lambda request: request[VIEWER].name)
    async with house(config=config, ingest=ingest) as home:
        intake.pipeline = home.pipeline
        ann = {"Authorization": encode_basic_auth("ann", "secret")}
        assert "Somebody called" in await (await home.client.get("/report", headers=ann)).text()
        answer = await home.client.post("/report", data=FORM | {"call": "true"}, headers=ann, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/incidents/INC-1")
        assert (await home.client.post("/api/reports", json=TOLD, headers=ann)).status == 201
        assert (await home.client.post("/api/reports", json=TOLD | {"channel": "json"}, headers=ann)).status == 201
        seen = [
            ((await opened(home, f"INC-{n}")).who, (await opened(home, f"INC-{n}")).data["channel"]) for n in (1, 2, 3)
        ]
        assert seen == [("ann", "call"), ("ann", "call"), ("reporter", "json")]
        ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert ticket.reporter is not None
        assert (ticket.reporter.name, ticket.first_response_at) == ("Kim", None)
        page = await (await home.client.get("/incidents/INC-1", headers=ann)).text()
        assert "Reported by a call" in page


async def test_an_own_report_is_its_reporters() -> None:
    async with house() as home:
        await home.client.post("/report", data=FORM, allow_redirects=False)
        entry = await opened(home)
        assert (entry.who, entry.data["channel"], entry.at) == ("reporter", "page", NOW)


async def test_a_mistake_keeps_the_tick() -> None:
    async with house() as home:
        answer = await home.client.post("/report", data=FORM | {"call": "true", "description": " "})
        assert (answer.status, 'value="true" checked' in await answer.text()) == (422, True)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"reporter": None}, "a call is logged with the name of who called"),
        ({"reporter": {"name": " "}}, "a call is logged with the name of who called"),
        ({"channel": "pigeon"}, "'pigeon' is not allowed; allowed: json, call"),
    ],
)
async def test_what_is_wrong_with_a_call_is_said(changed: dict[str, object], why: str) -> None:
    async with house(ingest=receive.routes(Reports())) as home:
        answer = await home.client.post("/api/reports", json=TOLD | changed)
        assert (answer.status, why in await answer.text()) == (400, True)


async def test_the_shell_logs_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    intake = Reports()
    async with house(ingest=receive.routes(intake), options=WebOptions()) as home:
        intake.pipeline = home.pipeline
        fields = ["name=Kim", "contact=kim@example.org", "service=shop", "security=true"]
        assert await asyncio.to_thread(log_call, home.url, "It is down", False, fields)
        assert capsys.readouterr().out == "INC-1\n"
        ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert ticket.reporter is not None
        assert (ticket.reporter.contact, ticket.service, ticket.restricted) == ("kim@example.org", "shop", True)
        assert not await asyncio.to_thread(log_call, home.url, "It is down", False, [])
        assert "name of who called" in capsys.readouterr().err
        with pytest.raises(Wrong, match="colour=red"):
            log_call(home.url, "x", False, ["colour=red"])
        with pytest.raises(Wrong, match="needs what was told"):
            log_call(home.url, None, False)
