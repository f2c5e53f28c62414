"""The register of data breaches (P29), on both databases: what it holds, who may read it, and what leaves the house."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from detector.clock import ManualClock, rfc3339
from detector.daemon import export_database
from detector.nouns import Report, Reporter, Viewer
from detector.web.api import breaches
from detector.web.auth import VIEWER
from detector.web.options import WebConfig, WebOptions
from tests.process.conftest import Desk
from tests.rows import DAY, HOUR, NOW, symptom
from tests.web.house import House, deps, house

SOL = Viewer("sol", restricted=True)
KIM = Reporter("=Kim", "kim@example.org")


async def breached(desk: Desk) -> None:
    """One that was confirmed and is worked on, one that was dismissed, and an incident that is no breach."""
    for text in ("A mailbox was read by a stranger", "A letter lay open"):
        await desk.pipeline.report(Report(text, desk.now, KIM, service="mail", security=True))
    await desk.pipeline.step([symptom(service="shop")], [], desk.now)
    await desk.act("judge", SOL, verdict="confirmed", text="the log shows it")
    await desk.pass_time(HOUR)
    await desk.act("check", SOL, item="contain", text="accounts locked")
    await desk.act("check", SOL, item="assess", text="212 addresses were read")
    await desk.act("check", SOL, item="notify-regulator", text="by the form, no. 77")
    await desk.act("fix", SOL, text="passwords reset")
    await desk.act("judge", SOL, "INC-2", verdict="dismissed", text="a rehearsal")


async def exported(url: str, folder: Path, **options: object) -> str:
    """`detector db export` on the database while the desk is open."""
    config = folder / "detector.yml"
    config.write_text(json.dumps({"tickets": {"database": url}}))
    clock = ManualClock(NOW + DAY)
    return await asyncio.to_thread(
        lambda: export_database(config, folder, output=str(folder / "out"), clock=clock, **options)  # type: ignore[arg-type]
    )


def url_of(desk: Desk) -> str:
    return desk.pipeline.desk.engine.url.render_as_string(hide_password=False)


async def test_P29_the_register_has_the_facts_the_effects_and_the_remedies_of_every_breach(
    desk: Desk, tmp_path: Path
) -> None:
    await breached(desk)
    said = await exported(url_of(desk), tmp_path, breaches=True)
    assert said.endswith("2 entries of the register of data breaches")
    one, two = json.loads((tmp_path / "out" / "breaches.json").read_text())["items"]
    assert (one["key"], one["verdict"], one["suspected"]) == ("INC-1", "confirmed", {"at": rfc3339(NOW), "who": "=Kim"})
    assert [(j["verdict"], j["who"], j["text"]) for j in one["judgements"]] == [
        ("confirmed", "sol", "the log shows it")
    ]  # fmt: skip
    assert one["effects"] == "212 addresses were read"
    done = {remedy["item"]: (remedy["who"], remedy["text"]) for remedy in one["remedies"] if remedy["done_at"]}
    assert done["contain"] == ("sol", "accounts locked")
    assert {remedy["item"] for remedy in one["remedies"] if not remedy["done_at"]} == {"notify-people", "review"}
    assert [measure["text"] for measure in one["measures"]] == ["passwords reset"]
    regulator = one["regulator"]
    assert (regulator["due_at"], regulator["clock"]) == (rfc3339(NOW + 3 * DAY), "met")
    assert (regulator["notified_by"], regulator["notified_at"] < regulator["due_at"]) == ("sol", True)
    assert (two["key"], two["verdict"], two["judgements"][0]["text"]) == ("INC-2", "dismissed", "a rehearsal")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "breaches.csv").read_text())))
    assert [(line["key"], line["verdict"], line["regulator_clock"]) for line in lines] == [
        ("INC-1", "confirmed", "met"), ("INC-2", "dismissed", "met"),
    ]  # fmt: skip
    assert lines[0]["suspected_by"] == "'=Kim", "a spreadsheet calculates nothing that a reporter wrote"


async def test_P29_the_record_of_tickets_leaves_the_house_without_the_restricted_ones_unless_they_are_asked_for(
    desk: Desk, tmp_path: Path
) -> None:
    await breached(desk)
    await exported(url_of(desk), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == ["INC-3"]
    assert lines[0]["timeline"][0]["what"] == "opened"
    assert lines[0]["symptoms"][0]["labels"]
    await exported(url_of(desk), tmp_path, restricted=True, since=rfc3339(NOW + 1))
    lines = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines} >= {"INC-1", "INC-2"}
    assert (tmp_path / "out" / "incidents.jsonl").stat().st_mode & 0o077 == 0


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def home(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    async with house(url=url) as made:
        yield made


async def test_P29_the_register_is_shown_to_those_only_who_may_see_restricted_tickets(home: House) -> None:
    await breached(Desk(home.pipeline))
    refused = await home.client.get("/api/breaches")
    assert (refused.status, "INC" in await refused.text()) == (403, False)
    async with TestClient(TestServer(seen_by(SOL, home))) as client:
        items = (await (await client.get("/api/breaches")).json())["items"]
    assert [(item["key"], item["verdict"]) for item in items] == [("INC-1", "confirmed"), ("INC-2", "dismissed")]
    assert all(breaches.Breach.model_validate(item) for item in items)


def seen_by(viewer: Viewer, home: House) -> web.Application:
    """The register's route as it is for ``viewer``, whoever let them in."""

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[VIEWER] = viewer
        return await handler(request)

    app = web.Application(middlewares=[let_in])
    made = deps(home.pipeline, home.clock, home.pipeline._telemetry, WebOptions(), WebConfig())
    app.add_routes(breaches.routes(made))
    return app
