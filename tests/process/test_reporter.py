"""The lines of the process that a reporter sees, over HTTP, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from detector.nouns import SYSTEM, Viewer
from tests.rows import NOW
from tests.web.house import House, house

ANN = Viewer("ann")


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def home(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    async with house(url=url) as made:
        yield made


async def reported(home: House) -> str:
    answer = await home.client.post(
        "/report", data={"description": "Nothing can be bought", "name": "Kim"}, allow_redirects=False
    )
    return answer.headers["Location"]


async def test_P01_the_desk_is_reached_by_page_and_the_reporter_reads_and_answers_by_a_signed_link(home: House) -> None:
    link = await reported(home)
    await home.pipeline.act("INC-1", "reply", ANN, now=NOW, text="Which browser?")
    assert "Which browser?" in await (await home.client.get(link)).text()
    await home.client.post(link, data={"text": "Firefox"})
    said = [(e.what, e.data.get("text")) for e in await home.pipeline.desk.timeline("INC-1", SYSTEM)]
    assert ("answered", "Firefox") in said


@pytest.mark.parametrize(("verdict", "ends"), [("yes", True), ("no", False)])
async def test_P23_the_reporter_says_solved_or_not_solved_and_the_process_ends_or_goes_on(
    home: House, verdict: str, ends: bool
) -> None:
    link = await reported(home)
    await home.pipeline.act("INC-1", "resolve", ANN, now=NOW, text="restarted the shop")
    await home.client.post(link, data={"solved": verdict, "text": "see for yourself"})
    ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
    assert ticket is not None
    assert (ticket.state == "closed", ticket.reopenings == 1) == (ends, not ends)
