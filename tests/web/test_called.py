"""The link in a call: what it opens, for whom and how long; that nothing acts on a GET; and what a forged one does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from detector.daemon.duty import Duty
from detector.nouns import SYSTEM, Report, Ticket
from detector.oncall.options import OnCallOptions
from detector.pipeline import Policy
from detector.web.links import CALLED, OPENS_MS, PROOF, Links
from detector.web.options import WebOptions
from tests.rows import HOUR, MINUTE, NOW, symptom
from tests.web.house import House, config_of, filling, hashed, house

ONCALL = OnCallOptions.model_validate(
    {
        "people": [{"name": "Ann B. Ünsal", "channels": ["ann"]}, {"name": "ben", "channels": ["ben", "broken"]}],
        "schedules": [{"name": "web", "zone": "Europe/Berlin", "layers": [
            {"people": ["ben"], "days": ["mon", "tue", "wed", "thu", "fri"]}]}],
        "policies": [{"name": "all", "steps": [{"schedule": "web"}]}],
    }
)  # fmt: skip
ANN = "Ann B. Ünsal"


@dataclass
class Home:
    house: House
    links: Links
    duty: Duty
    sent: list[tuple[str, str]]

    async def get(self, path: str, status: int = 200) -> str:
        answer = await self.house.client.get(path, headers={"Accept": "text/html"})
        assert answer.status == status, await answer.text()
        return await answer.text()

    async def post(self, path: str, status: int = 303, **fields: str) -> str:
        answer = await self.house.client.post(path, data=fields, allow_redirects=False)
        assert answer.status == status, await answer.text()
        return await answer.text()

    async def ticket(self, key: str = "INC-1") -> Ticket:
        found = await self.house.pipeline.desk.ticket(key, SYSTEM)
        assert found is not None
        return found


@asynccontextmanager
async def home(tmp_path: Path | None = None, **options: Any) -> AsyncIterator[Home]:
    links, sent = Links(b"k" * 32), []
    config = config_of(tmp_path, f"basic_auth_users: {{ann: '{hashed('secret')}'}}\n") if tmp_path else None

    async def send(channel: str, path: str) -> None:
        if channel == "broken":
            raise LookupError("no channel 'broken'")
        sent.append((channel, path))

    made: dict[str, Any] = {}

    class Late:
        """The duty needs the pipeline that the house builds."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made["duty"], name)

    async with house(WebOptions(), config, links=links, duty=Late(), **options) as one:
        one.pipeline.set_policy(Policy(oncall=ONCALL))
        made["duty"] = Duty(lambda: ONCALL, lambda: UTC, one.pipeline, links, one.clock, one.pipeline._telemetry, send)
        yield Home(one, links, made["duty"], sent)


async def test_whoever_was_called_sees_the_incident_without_a_login_and_takes_it_by_a_press(tmp_path: Path) -> None:
    async with home(tmp_path) as h:
        await h.house.pipeline.step([filling()], [], NOW)
        link = h.links.called(["INC-1"], ANN, NOW)
        assert (await h.house.client.get("/incidents/INC-1")).status == 401
        for _ in range(3):  # a scanner of mail looks several times
            seen = await h.get(link)
        assert "Free space on /data falls" in seen
        assert 'src="data:image/svg+xml;base64,' in seen
        assert "Board" not in seen
        assert (await h.ticket()).acknowledged_at is None, "looking is no word"
        for asset in re.findall(r'href="([^"]*/static/[^"]+)"', seen):
            await h.get(asset)
        await h.post(link, act="ack")
        ticket = await h.ticket()
        assert (ticket.assignee, ticket.state) == (ANN, "diagnosing")
        assert "You hold it: paging has stopped." in await h.get(link)


async def test_what_is_not_theirs_goes_back_with_a_reason_and_help_is_asked_for() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        link = h.links.called(["INC-1"], ANN, NOW)
        assert "say why it is not yours" in await h.post(link, 409, act="not-mine", reason=" ")
        await h.post(link, act="help", person="ben", text="<b>key</b>")
        await h.post(link, act="not-mine", reason="the network's")
        ticket = await h.ticket()
        assert (ticket.responders, ticket.declined) == (("ben",), (ANN,))
        seen = await h.get(link)
        assert "&lt;b&gt;key&lt;/b&gt;" in seen
        assert "It is not theirs: the next one is called: the network" in seen
        await h.post(link, 422, act="resolve")
        await h.post(link, 409, act="help", person="nobody")


async def test_somebody_elses_is_not_taken_away() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        await h.post(h.links.called(["INC-1"], "ben", NOW), act="ack")
        said = await h.post(h.links.called(["INC-1"], ANN, NOW), 409, act="ack")
        assert "INC-1 is held by ben already" in said
        assert (await h.ticket()).assignee == "ben"


async def test_after_twelve_hours_it_opens_nothing() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        link = h.links.called(["INC-1"], ANN, NOW)
        h.house.clock.set(NOW + OPENS_MS - 1)
        await h.get(link)
        h.house.clock.set(NOW + OPENS_MS)
        assert "This link has expired" in await h.get(link, 410)
        await h.post(link, 410, act="ack")
        assert (await h.ticket()).acknowledged_at is None


async def test_nobody_changes_what_a_link_says() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        await h.house.pipeline.step([symptom("other", service="mail", left=MINUTE)], [], NOW)
        link = h.links.called(["INC-1"], ANN, NOW)
        numbers, who, until, sign = link.removeprefix(CALLED).split(".")
        ben = h.links.called(["INC-1"], "ben", NOW).split(".")[1]
        other = Links(b"o" * 32).called(["INC-1"], ANN, NOW).removeprefix(CALLED)
        proof = h.links.proof(ANN, "ann", NOW).removeprefix(PROOF)
        reporter = h.links.path("INC-1").rpartition("/")[2]
        for forged in (
            f"2.{who}.{until}.{sign}", f"{numbers}-2.{who}.{until}.{sign}", f"{numbers}.{ben}.{until}.{sign}",
            f"{numbers}.{who}.f{until}.{sign}", f"{numbers}.{who}.{until}.", f"{numbers}.{who}.{until}", "x", "....",
            f"{numbers}.{who}.{until}.{sign[:-1]}", other, proof, reporter, "%ff.%00", "a" * 4000,
        ):  # fmt: skip
            assert "Free space" not in await h.get(CALLED + forged, 404), forged
            await h.post(CALLED + forged, 404, act="ack")
            await h.get(PROOF + forged, 404) if forged != proof else None
        assert (await h.ticket()).acknowledged_at is None


async def test_who_is_called_no_more_has_no_link_either() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        await h.get(h.links.called(["INC-1"], "zoe", NOW), 410)


async def test_of_what_is_restricted_it_says_that_it_exists_and_does_nothing() -> None:
    async with home() as h:
        await h.house.pipeline.report(Report("Passwords lie about", NOW, security=True, service="vault"))
        link = h.links.called(["INC-1"], ANN, NOW)
        seen = await h.get(link)
        assert "A restricted incident" in seen
        for secret in ("Passwords", "vault", "L3", "security"):
            assert secret not in seen
        for act in ("ack", "not-mine", "help"):
            said = await h.post(link, 409, act=act, reason="x", person="ben")
            assert "Passwords" not in said
        assert (await h.ticket()).acknowledged_at is None
        assert "Passwords" not in await h.get(h.links.called(["INC-1", "INC-1"], ANN, NOW))


async def test_many_are_taken_by_one_press_and_what_somebody_has_stays_theirs() -> None:
    async with home() as h:
        for n in range(3):
            await h.house.pipeline.step([symptom(f"d{n}", service=f"s{n}", left=30 * MINUTE)], [], NOW)
        link = h.links.called(["INC-1", "INC-2", "INC-3"], ANN, NOW)
        await h.post(h.links.called(["INC-2"], "ben", NOW), act="ack")
        assert "3 incidents need you" in await h.get(link)
        said = await h.post(link, 200, act="ack")
        assert "INC-2 is held by ben already" in said
        assert [(await h.ticket(f"INC-{n}")).assignee for n in (1, 2, 3)] == [ANN, "ben", ANN]
        assert "Acknowledge all" not in await h.get(link)


async def test_another_sites_page_cannot_press_the_button() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        link = h.links.called(["INC-1"], ANN, NOW)
        answer = await h.house.client.post(link, data={"act": "ack"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status == 403
        answer = await h.house.client.get(link)
        assert answer.headers["Cache-Control"] == "no-store"
        assert 'content="no-referrer"' in await answer.text()


async def test_a_test_message_is_proven_by_its_button_and_by_nothing_else() -> None:
    async with home() as h:
        seen = await h.post("/oncall/test", 200, person="ben")
        assert "no channel &#39;broken&#39;" in seen
        ((channel, path),) = h.sent
        assert channel == "ben"
        await h.get(path)
        assert "ben never said that a test message arrives on ben" in await h.get("/oncall")
        assert "Thank you, ben: ben reaches you." in await h.post(path, 200)
        assert "ben never said that a test message arrives on ben" not in (seen := await h.get("/oncall"))
        assert "ben never said that a test message arrives on broken" in seen
        assert "was sent less than 30 s ago" in await h.post("/oncall/test", 409, person="ben")
        assert "zoe is not among people" in await h.post("/oncall/test", 409, person="zoe")
        h.house.clock.set(NOW + OPENS_MS)
        await h.post(path, 410)


async def test_the_page_shows_who_is_on_call_what_comes_and_the_gaps() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        seen = await h.get("/oncall")
        assert "<b>ben</b>" in seen
        assert seen.count("nobody: a gap") >= 2
        assert "schedule web: nobody from" in seen
        assert "The shift on web" in seen
        assert 'href="/incidents/INC-1"' in seen
        await h.get("/oncall?at=1795000000")
        await h.get("/oncall?at=99999999999999", 400)


async def test_api_who_is_on_call_the_report_and_the_calendars() -> None:
    async with home() as h:
        await h.house.pipeline.step([filling()], [], NOW)
        body = await (await h.house.client.get("/api/oncall")).json()
        assert body["items"][0]["team"] == "storage"
        assert (body["schedules"][0]["people"], body["schedules"][0]["next"]) == (["ben"], [])
        assert {problem["kind"] for problem in body["problems"]} == {"gap", "unproven"}
        report = await (await h.house.client.get("/api/oncall/report?schedule=web")).json()
        assert [ticket["key"] for ticket in report["opened"]] == ["INC-1"]
        assert (await h.house.client.get("/api/oncall/report?schedule=x")).status == 404
        answer = await h.house.client.get("/api/oncall/web.ics")
        assert answer.content_type == "text/calendar"
        assert b"SUMMARY:ben" in await answer.read()
        assert (await h.house.client.get("/api/oncall/people/Ann%20B.%20%C3%9Cnsal.ics")).status == 200
        for path in ("/api/oncall/none.ics", "/api/oncall/people/none.ics"):
            assert (await h.house.client.get(path)).status == 404
        sent = await h.house.client.post("/api/oncall/test", json={"person": "ben"})
        items = (await sent.json())["items"]
        assert [(item["channel"], item["sent"]) for item in items] == [("ben", True), ("broken", False)]
        assert (await h.house.client.post("/api/oncall/test", json={"person": "ben"})).status == 409


async def test_a_page_says_why_nobody_is_woken_and_offers_the_steps() -> None:
    async with home() as h:
        hours = ONCALL.model_copy(update={"working_hours": _never_now()})
        h.house.pipeline.set_policy(Policy(oncall=hours))
        service = symptom(service="storage", severity=None, left=23 * HOUR, disruption=False)
        await h.house.pipeline.step([service], [], NOW)
        await h.house.pipeline.act("INC-1", "prioritise", SYSTEM, now=NOW, priority="P2", reason="x")
        ticket = await h.ticket()
        assert ticket.deferred_since is not None
        seen = await h.get("/incidents/INC-1")
        assert "Nobody is woken for it until" in seen
        assert 'action="/incidents/INC-1/not-mine"' in seen
        assert '<option value="ben">ben</option>' in seen
        body = await (await h.house.client.get("/api/incidents/INC-1")).json()
        assert body["deferred"]["wakes_at"]
        await h.post("/incidents/INC-1/help", person="ben")
        assert "asked to help: ben" in await h.get("/incidents/INC-1")


def _never_now() -> Any:
    from datetime import datetime

    from detector.worktime import WorkingHours

    later = datetime.fromtimestamp((NOW + 2 * HOUR) / 1000, UTC)
    day = later.strftime("%a").lower()
    hours = [f"{later.hour:02d}:00", f"{later.hour:02d}:59"]
    return WorkingHours.model_validate({"days": [day], "hours": hours})


@pytest.mark.parametrize("who", ["ann", "Ünsal.B-c", "a.b", "", "😀"])
def test_any_name_fits_into_a_link(who: str) -> None:
    links = Links(b"k" * 32)
    read = links.read_called(links.called(["INC-1", "INC-22"], who, NOW).removeprefix(CALLED))
    assert read is not None
    assert (read.keys, read.who, read.until) == (("INC-1", "INC-22"), who, NOW + OPENS_MS)
