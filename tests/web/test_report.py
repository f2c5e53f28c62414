"""The first line is the point of contact: the form, and the reporter's own page by a signed link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.nouns import SYSTEM, Report, Reporter, Viewer
from detector.web.links import PREFIX, Links
from detector.web.options import WebOptions
from tests.rows import NOW
from tests.web.house import House, config_of, hashed, house

FORM = {"description": "Nothing can be bought.\n<b>White</b> page", "name": "Kim", "contact": "kim@example.org"}
ANN = Viewer("ann")


async def tell(home: House, **fields: str) -> str:
    """Send the form; the reporter's address."""
    answer = await home.client.post("/report", data=FORM | fields, allow_redirects=False)
    assert answer.status == 303, await answer.text()
    return answer.headers["Location"]


async def page(home: House, path: str) -> str:
    answer = await home.client.get(path)
    assert answer.status == 200
    return await answer.text()


async def test_a_report_by_the_form_gives_an_address_on_which_to_read_and_answer() -> None:
    async with house() as home:
        assert '<option value="storage">' in await page(home, "/report")
        link = await tell(home, service="shop")
        ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert (ticket.kind, ticket.service, ticket.reporter and ticket.reporter.contact) == (
            "undecided", "shop", "kim@example.org",
        )  # fmt: skip
        seen = await page(home, link)
        assert "Nothing can be bought.<br>" in seen
        assert "&lt;b&gt;White&lt;/b&gt; page" in seen
        await home.pipeline.act("INC-1", "note", ANN, now=NOW, text="for our eyes only")
        await home.pipeline.act("INC-1", "reply", ANN, now=NOW, text="Which browser?")
        await home.pipeline.act("INC-1", "wait", ANN, now=NOW, reason="user")
        seen = await page(home, link)
        assert "Which browser?" in seen
        assert "We wait for your answer." in seen
        assert "for our eyes only" not in seen
        answer = await home.client.post(link, data={"text": "Firefox"}, allow_redirects=False)
        assert answer.status == 303
        ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert ticket.waiting is None, "the answer was what it waited for"
        assert "Firefox" in await page(home, link)


@pytest.mark.parametrize(("verdict", "state"), [("yes", "closed"), ("no", "triaged")])
async def test_the_reporter_says_whether_it_is_solved(verdict: str, state: str) -> None:
    async with house() as home:
        link = await tell(home)
        await home.pipeline.act("INC-1", "resolve", ANN, now=NOW, text="restarted")
        assert "Is it solved?" in await page(home, link)
        answer = await home.client.post(link, data={"solved": verdict, "text": "thank you"}, allow_redirects=False)
        assert answer.status == 303
        ticket = await home.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert ticket.state in (state, "reopened")
        again = await home.client.post(link, data={"solved": "yes"})
        assert again.status == 409


async def test_a_link_that_was_not_made_here_opens_nothing() -> None:
    async with house() as home:
        link = await tell(home)
        await tell(home)
        other = link.replace("INC-1.", "INC-2.")
        for path in (other, link[:-1], f"{PREFIX}INC-1", f"{PREFIX}INC-1.", f"{PREFIX}..%2f", f"{PREFIX}%ff.x"):
            answer = await home.client.get(path)
            assert answer.status == 404, path
            assert "Nothing can be bought" not in await answer.text()
            assert (await home.client.post(path, data={"text": "x"})).status == 404


async def test_a_confidential_report_is_seen_by_its_reporter_and_not_by_the_desk() -> None:
    async with house() as home:
        link = await tell(home, security="true")
        assert "Nothing can be bought" in await page(home, link)
        assert "INC-1" not in await page(home, "/")
        assert (await home.client.get("/incidents/INC-1")).status == 404


async def test_the_link_needs_no_login_and_everything_else_does(tmp_path: Path) -> None:
    config = config_of(tmp_path, f"basic_auth_users: {{ann: '{hashed('secret')}'}}\n")
    links = Links(b"x" * 32)
    async with house(WebOptions(), config, links=links) as home:
        assert (await home.client.get("/report")).status == 401
        assert (await home.client.get(links.path("INC-1"))).status == 404
        await home.pipeline.report(Report("It is slow", NOW, Reporter("Kim")))
        seen = await page(home, links.path("INC-1"))
        assert "It is slow" in seen
        assert "Board" not in seen, "nothing of the desk is on it"
        for asset in re.findall(r'href="([^"]*/static/[^"]+)"', seen):
            assert (await home.client.get(asset)).status == 200, f"{asset} would ask for a password"


async def test_another_sites_page_cannot_answer_for_the_reporter() -> None:
    async with house() as home:
        link = await tell(home)
        answer = await home.client.post(link, data={"text": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status == 403


@pytest.mark.parametrize("field", ["description", "name"])
async def test_what_is_missing_is_said_and_what_was_written_is_kept(field: str) -> None:
    async with house() as home:
        answer = await home.client.post("/report", data=FORM | {field: " ", "contact": "kim@example.org"})
        text = await answer.text()
        assert (answer.status, f"Not sent: {field}" in text, 'value="kim@example.org"' in text) == (422, True, True)


def test_links_outlive_a_restart_and_their_secret_is_its_owners(tmp_path: Path) -> None:
    one, other = (Links.of(tmp_path / "link.key") for _ in range(2))
    assert one.key(other.path("INC-7").removeprefix(PREFIX)) == "INC-7"
    assert (tmp_path / "link.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link.key").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no secret of 32 bytes; remove it"):
        Links.of(tmp_path / "link.key")
    assert Links(b"y" * 32).key(one.path("INC-7").removeprefix(PREFIX)) is None
