"""The status page: what is published and nothing else, for everybody, in Statuspage's shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.incidents.mute import Maintenance, NoiseOptions
from detector.nouns import PublicUpdate, Report, Reporter, Ticket
from detector.pipeline import Policy
from detector.tickets.options import Communication, TicketOptions
from detector.tickets.public import DAY_MS, component_status, history, uptime
from detector.web.options import WebConfig
from tests.rows import DAY, HOUR, MINUTE, NOW, symptom
from tests.web.house import House, filling, hashed, house

ATOM = "{http://www.w3.org/2005/Atom}"


async def document(home: House, name: str = "summary.json") -> Any:
    answer = await home.client.get(f"/status/api/v2/{name}")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return await answer.json()


async def act(home: House, action: str, key: str = "INC-1", **body: Any) -> int:
    home.clock.set(home.clock.now() + 6_000)  # the page is kept for five seconds
    return (await home.client.post(f"/api/incidents/{key}/{action}", json=body)).status


async def hurt(home: House) -> None:
    await home.pipeline.step([symptom("writes", disruption=True, detector="rule", kind="errors", item="")], [], NOW)


async def test_a_prediction_is_internal_until_a_person_publishes_it() -> None:
    async with house() as home:
        await home.pipeline.step([filling()], [], NOW)
        assert (await document(home))["incidents"] == []
        assert (
            await act(home, "publish", status="investigating", body="A disk fills up.", title="Storage at risk") == 200
        )
        [incident] = (await document(home))["incidents"]
        assert (incident["name"], incident["status"], incident["impact"]) == (
            "Storage at risk",
            "investigating",
            "major",
        )
        assert incident["incident_updates"][0]["body"] == "A disk fills up."
        [storage] = (await document(home))["components"]
        assert (storage["name"], storage["status"]) == ("storage", "degraded_performance")


async def test_a_disruption_is_drafted_published_monitored_and_resolved() -> None:
    async with house() as home:
        await hurt(home)
        assert (await document(home))["status"] == {"indicator": "none", "description": "All systems operational"}
        page = await (await home.client.get("/incidents/INC-1")).text()
        assert "A draft waits to be published" in page
        assert await act(home, "publish") == 200
        found = await document(home)
        assert found["status"]["indicator"] != "none"
        assert found["incidents"][0]["incident_updates"][0]["body"] == "We are looking into a disruption of storage."
        await act(home, "hypothesis", text="a dead disk")
        await act(home, "settle", number=1, holds=True)
        await act(home, "publish")
        await act(home, "resolve", force=True)
        assert (await document(home, "incidents/unresolved.json"))["incidents"] != []
        await act(home, "publish")
        home.clock.set(home.clock.now() + 6_000)
        [incident] = (await document(home, "incidents.json"))["incidents"]
        assert [u["status"] for u in incident["incident_updates"]] == ["resolved", "identified", "investigating"]
        assert incident["resolved_at"] is not None
        assert (await document(home))["incidents"] == []
        assert (await document(home, "status.json"))["status"]["indicator"] == "none"


async def test_nothing_but_what_was_published_is_on_the_page() -> None:
    async with house() as home:
        leaky = symptom("secret-metric", disruption=True, detector="rule", summary="password hunter2", item="")
        await home.pipeline.step([leaky], [], NOW)
        await act(home, "note", text="the customer is ACME")
        await act(
            home, "publish", status="investigating", body="<script>alert(1)</script> we look", title="<b>Storage</b>"
        )
        home.clock.set(home.clock.now() + 6_000)
        page = await (await home.client.get("/status")).text()
        feed = await (await home.client.get("/status/feed.atom")).text()
        summary = await (await home.client.get("/status/api/v2/summary.json")).text()
        for text in (page, feed, summary):
            for word in ("hunter2", "secret-metric", "ACME", "operator"):
                assert word not in text
        assert "<script>alert" not in page
        assert "<b>Storage" not in page


async def test_a_restricted_ticket_is_never_published() -> None:
    async with house() as home:
        await home.pipeline.report(Report("leak", NOW, Reporter("Kim"), security=True))
        assert await act(home, "publish", status="investigating", body="x") == 404
        from detector.nouns import SYSTEM
        from detector.tickets.acts import NotAllowed

        with pytest.raises(NotAllowed, match="confidential"):
            await home.pipeline.act("INC-1", "publish", SYSTEM, now=NOW + 1, status="investigating", body="x")


async def test_the_feed_is_atom_and_the_page_is_small_and_asks_nobody_for_a_login() -> None:
    config = WebConfig(basic_auth_users={"ann": hashed("secret")})
    async with house(config=config) as home:
        await home.pipeline.step([filling()], [], NOW)
        from detector.nouns import SYSTEM

        await home.pipeline.act(
            "INC-1", "publish", SYSTEM, now=NOW, status="investigating", body="odd \x08 byte \ud800"
        )
        assert (await home.client.get("/incidents/INC-1")).status == 401
        assert (await home.client.get("/statusx")).status == 401
        page = await home.client.get("/status")
        assert page.status == 200
        assert len(await page.read()) < 150_000
        assert (await home.client.get("/status/static/app.css")).status == 200
        root = ElementTree.fromstring(await (await home.client.get("/status/feed.atom")).read())
        [entry] = root.findall(f"{ATOM}entry")
        for name in ("id", "title", "updated"):
            assert entry.find(f"{ATOM}{name}") is not None
        assert (await home.client.get("/status/api/v2/passwd.json")).status == 404


async def test_maintenance_that_is_public_is_announced_and_shown_while_it_lasts() -> None:
    window = Maintenance.model_validate(
        {"name": "move", "matchers": ['service="storage"'], "reason": "We move the storage", "public": True,
         "start": "2026-11-18T12:00:00Z", "end": "2026-11-18T14:00:00Z"}
    )  # fmt: skip
    async with house() as home:
        assert window.start is not None
        begins = round(window.start.timestamp() * 1000)
        home.pipeline.set_policy(Policy(noise=NoiseOptions(maintenance=(window,))))
        home.clock.set(begins - HOUR)
        [planned] = (await document(home, "scheduled-maintenances/upcoming.json"))["scheduled_maintenances"]
        assert (planned["status"], planned["name"]) == ("scheduled", "We move the storage")
        home.clock.set(begins + MINUTE)
        found = await document(home)
        assert found["components"][0]["status"] == "under_maintenance"
        assert found["scheduled_maintenances"][0]["status"] == "in_progress"


async def test_without_a_status_page_there_is_none() -> None:
    async with house() as home:
        options = TicketOptions(communication=Communication(status_page=False))
        home.pipeline.set_policy(Policy(tickets=options))
        assert (await home.client.get("/status")).status == 404
        assert (await home.client.get("/status/api/v2/summary.json")).status == 404


# --- ninety days ------------------------------------------------------------------------------------------------------


def published(*spans: tuple[int, int | None], priority: Any = "P1") -> list[Ticket]:
    out = []
    for number, (begin, end) in enumerate(spans, 1):
        updates = [PublicUpdate(begin, "investigating", "x")]
        if end is not None:
            updates.append(PublicUpdate(end, "resolved", "x"))
        ticket = Ticket(f"INC-{number}", 1, "incident", "triaged", "detected", "shop", begin, "page", priority=priority)
        out.append(replace(ticket, public=tuple(updates)))
    return out


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=6), st.integers(0, 23))
def test_the_history_is_what_counting_every_quarter_of_an_hour_says(spans: list[tuple[int, int]], hour: int) -> None:
    quarter = 15 * MINUTE
    now = NOW // DAY_MS * DAY_MS + hour * HOUR
    begin = now - 5 * DAY
    tickets = published(*((begin + a * quarter, begin + (a + b) * quarter) for a, b in spans))
    tickets = [t for t in tickets if t.public[-1].at <= now]
    days = history("shop", tickets, now, 7)
    assert [day.start % DAY_MS for day in days] == [0] * 7
    hurt_quarters = {
        at
        for t in tickets
        for at in range(t.public[0].at, t.public[-1].at, quarter)
    }  # fmt: skip
    for day in days:
        mine = [at for at in hurt_quarters if day.start <= at < day.start + DAY_MS]
        assert day.hurt_ms == len(mine) * quarter
        assert (day.status != "operational") == bool(mine)
    total = sum(min(day.start + DAY_MS, now) - day.start for day in days)
    assert uptime(days, now) == pytest.approx(1 - len(hurt_quarters) * quarter / total)


def test_how_badly_it_hurts_follows_the_priority() -> None:
    [ticket] = published((NOW, None))
    assert component_status(replace(ticket, disrupted_at=NOW)) == "major_outage"
    assert component_status(replace(ticket, disrupted_at=NOW, priority="P2")) == "partial_outage"
    assert component_status(replace(ticket, disrupted_at=NOW, priority="P3")) == "degraded_performance"
    assert component_status(ticket) == "degraded_performance"
