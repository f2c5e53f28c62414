"""From symptoms and alerts to tickets and messages, on a real database: one incident per cause, told once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from detector.incidents.catalogue import Catalogue, CatalogueOptions
from detector.incidents.options import IncidentOptions, ModeRule
from detector.nouns import SYSTEM, Findings, Report, Reporter, Sent, Ticket, Viewer
from detector.pipeline import NoSuchTicket, NotAllowed, Pipeline, Policy
from detector.tickets.database import StorageError, address
from detector.tickets.desk import TicketQuery, number
from detector.tickets.lifecycle import ending
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import DAY, HOUR, MINUTE, NOW, alert, rows, symptom

ANN = Viewer("ann")


async def all_tickets(pipeline: Pipeline) -> list[Ticket]:
    page = await pipeline.desk.tickets(TicketQuery(limit=500), SYSTEM)
    return sorted(page.items, key=lambda ticket: number(ticket.key))


async def only(pipeline: Pipeline) -> Ticket:
    (ticket,) = await all_tickets(pipeline)
    return ticket


async def messages(pipeline: Pipeline, now: int = NOW + 30 * DAY) -> list[tuple[str, str, str]]:
    """Every message that waits, as (event, urgency, reason), taken from the outbox as a channel would."""
    outbox, found = Outbox(pipeline.desk), []
    while (claimed := await outbox.claim("ops", now, MINUTE)) is not None:
        found.append((claimed.event, claimed.urgency, claimed.reason))
        await outbox.settle(claimed.id, Sent("r"), now)
    return found


# --- opening and joining ----------------------------------------------------------------------------------------------


async def test_a_forecast_opens_a_predicted_incident_with_all_that_people_need() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        ticket = await only(pipeline)
        assert (ticket.key, ticket.phase, ticket.state, ticket.source) == ("INC-1", "predicted", "triaged", "detected")
        assert (ticket.category, ticket.priority, ticket.tier) == ("capacity/disk", "P2", "L3")
        assert ticket.impact is not None
        assert [clock.name for clock in ticket.clocks] == ["response", "resolution"]
        assert await messages(pipeline) == [("opened", "page", "opened")]


async def test_symptoms_of_one_item_join_one_incident() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom("disk"), symptom("disk", metric="inodes", labels={"other": "x"})], [], NOW)
        assert len((await only(pipeline)).symptoms) == 2


async def test_two_items_are_two_incidents_and_a_third_gathers_them_into_one() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom("a"), symptom("b")], [], NOW)
        assert len(await all_tickets(pipeline)) == 2
        await pipeline.step([symptom("c", onset=NOW + 1)], [], NOW + MINUTE)
        first, second = await all_tickets(pipeline)
        assert {s.item for s in first.symptoms} == {"a", "b", "c"}
        assert (second.state, second.merged_into) == ("merged", first.key)


async def test_three_items_in_one_breath_are_one_incident() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(name) for name in "abcd"], [], NOW)
        alive = [t for t in await all_tickets(pipeline) if t.state != "merged"]
        assert len(alive) == 1
        assert {s.item for s in alive[0].symptoms} == set("abcd")


async def test_an_alert_of_the_same_service_joins_the_forecast() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(service="web")], [], NOW)
        await pipeline.step([], [alert()], NOW + 1)
        assert len((await only(pipeline)).symptoms) == 2


async def test_services_that_the_catalogue_links_are_one_incident_and_the_impacted_are_named() -> None:
    options = CatalogueOptions.model_validate(
        {"services": [{"name": "web", "depends_on": ["db"]}, {"name": "db", "criticality": "high"}]}
    )
    async with rows(Policy(Catalogue(options))) as pipeline:
        await pipeline.step([symptom("slow", service="db", item="", category="latency")], [], NOW)
        await pipeline.step([], [alert()], NOW + 1)
        ticket = await only(pipeline)
        assert {(a.service, a.how) for a in ticket.affected} == {("db", "origin"), ("web", "impacted")}


async def test_an_anomaly_alone_opens_nothing_but_joins_what_is_open() -> None:
    odd = symptom("odd", detector="anomaly", kind="anomaly", item="")
    async with rows() as pipeline:
        await pipeline.step([odd], [], NOW)
        assert await all_tickets(pipeline) == []
        await pipeline.step([symptom()], [], NOW)
        await pipeline.step([odd], [], NOW + 1)
        assert len((await only(pipeline)).symptoms) == 2


@pytest.mark.parametrize("labels", [{"severity": "none"}, {"alertname": "Watchdog"}])
async def test_what_only_proves_that_alerts_arrive_opens_nothing(labels: dict[str, str]) -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert(labels=labels)], NOW)
        assert await all_tickets(pipeline) == []


async def test_a_watchdog_that_stops_coming_opens_an_incident_of_monitoring() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert("Watchdog", expires_at=NOW + 4 * MINUTE)], NOW)
        await pipeline.tick(NOW + 3 * MINUTE)
        assert await all_tickets(pipeline) == []
        await pipeline.tick(NOW + 5 * MINUTE)
        assert (await only(pipeline)).category == "monitoring"


async def test_information_is_p4_and_pages_nobody() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert(labels={"severity": "info"})], NOW)
        assert (await only(pipeline)).priority == "P4"
        assert [urgency for _, urgency, _ in await messages(pipeline)] == ["notify"]


async def test_a_shadow_family_is_recorded_and_told_to_nobody() -> None:
    policy = Policy(incidents=IncidentOptions(modes=(ModeRule(family="forecast", mode="shadow"),)))
    async with rows(policy) as pipeline:
        await pipeline.step([symptom()], [], NOW)
        assert await all_tickets(pipeline) == []
        shadow = await pipeline.desk.tickets(TicketQuery(mode="shadow"), SYSTEM)
        assert len(shadow.items) == 1
        assert await messages(pipeline) == []


# --- alerts -----------------------------------------------------------------------------------------------------------


async def test_replicas_and_repeats_of_one_episode_are_counted_and_no_news() -> None:
    async with rows() as pipeline:
        for n in range(3):
            await pipeline.step([], [alert(at=NOW + n), alert(at=NOW + n)], NOW + n)
        ticket = await only(pipeline)
        joined = [e for e in await pipeline.desk.timeline(ticket.key, SYSTEM) if e.what == "symptom-joined"]
        assert len(joined) == 1
        (episode,) = await pipeline.desk.episodes(0)
        assert (episode.received, episode.ticket_key) == (6, ticket.key)


async def test_an_alert_that_is_neither_repeated_nor_resolved_expires_and_says_so() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert(expires_at=NOW + 4 * MINUTE)], NOW)
        await pipeline.step([], [alert(at=NOW + MINUTE, expires_at=NOW + 6 * MINUTE)], NOW + MINUTE)
        await pipeline.tick(NOW + 5 * MINUTE)
        assert (await only(pipeline)).symptoms[0].active
        await pipeline.tick(NOW + 7 * MINUTE)
        ticket = await only(pipeline)
        assert not ticket.symptoms[0].active
        entries = await pipeline.desk.timeline(ticket.key, SYSTEM)
        assert any("neither repeated nor resolved" in e.data.get("text", "") for e in entries)


async def test_firing_and_resolved_in_one_post_are_both_in_the_timeline() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert()], NOW)
        await pipeline.step([], [alert(status="resolved", at=NOW + 1)], NOW + 1)
        assert not (await only(pipeline)).symptoms[0].active


async def test_a_new_start_is_a_new_episode_of_the_same_ticket() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert()], NOW)
        await pipeline.step([], [alert(status="resolved", at=NOW + 1)], NOW + 1)
        await pipeline.step([], [alert(starts_at=NOW + MINUTE, at=NOW + MINUTE)], NOW + MINUTE)
        assert len((await only(pipeline)).symptoms) == 2


# --- phases and ends --------------------------------------------------------------------------------------------------


async def test_predicted_then_disrupting_then_recovering_then_over() -> None:
    hurt = {"severity": "critical"}
    async with rows() as pipeline:
        await pipeline.step([symptom(service="web", item="")], [], NOW)
        await pipeline.step([], [alert(labels=hurt)], NOW + MINUTE)
        ticket = await only(pipeline)
        assert (ticket.phase, ticket.disrupted_at, ticket.priority) == ("disrupting", NOW + MINUTE, "P2")
        assert [event for event, _, _ in await messages(pipeline)] == ["opened", "worse"]
        await pipeline.step([], [alert(labels=hurt, status="resolved")], NOW + 2 * MINUTE)
        assert (await only(pipeline)).phase == "recovering"
        await pipeline.step([replace(symptom(service="web", item=""), active=False)], [], NOW + 3 * MINUTE)
        await pipeline.tick(NOW + 12 * MINUTE)
        assert (await only(pipeline)).state != "resolved"
        await pipeline.tick(NOW + 13 * MINUTE)
        ticket = await only(pipeline)
        assert (ticket.phase, ticket.state, ticket.resolution) == ("over", "resolved", "self-recovered")
        assert [event for event, _, _ in await messages(pipeline)] == ["changed", "resolved"]


async def test_what_somebody_holds_is_proposed_not_resolved() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.act("INC-1", "ack", ANN, now=NOW + 1)
        await pipeline.step([replace(symptom(), active=False)], [], NOW + 2)
        await pipeline.tick(NOW + 11 * MINUTE)
        ticket = await only(pipeline)
        assert (ticket.state, ticket.phase) == ("diagnosing", "over")
        proposed = [e for e in await pipeline.desk.timeline("INC-1", SYSTEM) if e.what == "resolution-proposed"]
        assert [e.data["resolution"] for e in proposed] == ["self-recovered"]
        assert await pipeline.tick(NOW + 12 * MINUTE) is not None, "the clocks of an open ticket are still due"


async def test_flapping_reopens_the_same_ticket_inside_the_window_and_opens_a_new_one_later() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.step([replace(symptom(), active=False)], [], NOW + MINUTE)
        await pipeline.tick(NOW + 11 * MINUTE)
        await pipeline.step([symptom(onset=NOW + HOUR)], [], NOW + HOUR)
        ticket = await only(pipeline)
        assert (ticket.state, ticket.resolution, ticket.reopenings) == ("reopened", None, 1)
        await pipeline.step([replace(symptom(onset=NOW + HOUR), active=False)], [], NOW + HOUR + 1)
        await pipeline.tick(NOW + 2 * HOUR)
        late = NOW + 2 * HOUR + 25 * HOUR
        await pipeline.tick(late)
        await pipeline.step([symptom(onset=late)], [], late)
        assert len(await all_tickets(pipeline)) == 2


async def test_a_resolved_ticket_closes_by_itself_a_day_later() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.step([replace(symptom(), active=False)], [], NOW)
        await pipeline.tick(NOW + 10 * MINUTE)
        due = await pipeline.tick(NOW + 11 * MINUTE)
        assert due == NOW + 10 * MINUTE + DAY
        await pipeline.tick(due)
        assert (await only(pipeline)).state == "closed"


async def test_urgency_rises_by_time_alone_and_that_is_told() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(left=3 * HOUR)], [], NOW)
        ticket = await only(pipeline)
        assert (ticket.priority, ticket.tier) == ("P3", "L1")
        await pipeline.tick(NOW + 2 * HOUR)
        ticket = await only(pipeline)
        assert (ticket.priority, ticket.tier) == ("P2", "L3")
        assert ("worse", "page", "P3 is now P2") in await messages(pipeline)


async def test_a_response_clock_breaches_once_and_says_so() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        for minutes in (14, 15, 16, 20):
            await pipeline.tick(NOW + minutes * MINUTE)
        breaches = [e for e in await pipeline.desk.timeline("INC-1", SYSTEM) if e.what == "clock-breached"]
        assert [e.data["clock"] for e in breaches] == ["response"]


# --- people -----------------------------------------------------------------------------------------------------------


async def test_acknowledging_ends_every_pending_page_in_the_same_transaction() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        await pipeline.act("INC-1", "ack", ANN, now=NOW + 1)
        assert await messages(pipeline) == []


async def test_everyone_who_was_told_is_told_that_it_is_over() -> None:
    async with rows(routes=(Route("ops", tiers=("L3",)),)) as pipeline:
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        assert len(await messages(pipeline)) == 1
        await pipeline.act("INC-1", "ack", ANN, now=NOW + 1)
        await pipeline.act("INC-1", "resolve", ANN, now=NOW + 2, resolution="fixed", force=True)
        assert [event for event, _, _ in await messages(pipeline)] == ["acknowledged", "resolved"]


async def test_an_acknowledged_incident_speaks_again_only_when_it_worsens_once_each() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(service="web", item="", left=30 * MINUTE)], [], NOW)
        await pipeline.act("INC-1", "ack", ANN, now=NOW + 1)
        await messages(pipeline)
        for n in range(3):
            hurt = {"severity": "critical"}
            await pipeline.step([], [alert(labels=hurt, at=NOW + 2 + n)], NOW + 2 + n)
            await pipeline.step([], [alert(labels=hurt, status="resolved")], NOW + 3 + n)
            await pipeline.step([], [alert(labels=hurt, starts_at=NOW + 3 + n)], NOW + 3 + n)
        assert [event for event, _, _ in await messages(pipeline)].count("worse") == 1


async def test_resolving_something_that_still_fires_asks_and_names_it() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        with pytest.raises(NotAllowed, match="1 active symptoms \\(disk\\)"):
            await pipeline.act("INC-1", "resolve", ANN, now=NOW + 1)


@pytest.mark.parametrize(
    ("action", "arguments", "why"),
    [
        ("close", {}, "resolve it first"),
        ("reopen", {}, "only a resolved"),
        ("note", {"text": " "}, "needs a text"),
        ("resolve", {"resolution": "magic"}, "allowed: fixed, prevented"),
        ("merge", {"into": "INC-1"}, "into itself"),
        ("escalate", {"tier": "L9"}, "can be escalated to"),
    ],
)
async def test_what_cannot_be_done_says_what_can(action: str, arguments: dict[str, Any], why: str) -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        with pytest.raises(NotAllowed, match=why):
            await pipeline.act("INC-1", action, ANN, now=NOW + 1, **arguments)


async def test_a_restricted_ticket_does_not_exist_for_who_may_not_see_it() -> None:
    async with rows() as pipeline:
        report = Report("a laptop was stolen", NOW, Reporter("eve"), security=True)
        ticket = await pipeline.report(report)
        assert ticket.restricted
        assert (await pipeline.desk.tickets(TicketQuery(), ANN)).items == ()
        assert await pipeline.desk.timeline(ticket.key, ANN) == []
        with pytest.raises(NoSuchTicket):
            await pipeline.act(ticket.key, "ack", ANN, now=NOW)


async def test_a_report_is_an_undecided_ticket_once_per_idempotency_key() -> None:
    async with rows() as pipeline:
        report = Report("nothing loads", NOW, Reporter("eve", "eve@example.org"), idempotency_key="k1")
        one, two = await pipeline.report(report), await pipeline.report(report)
        assert one.key == two.key
        assert (one.kind, one.source, one.phase) == ("undecided", "report", None)


async def test_merging_moves_the_symptoms_and_ends_the_other() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom("a"), symptom("b", service="other")], [], NOW)
        await pipeline.act("INC-2", "merge", ANN, now=NOW + 1, into="INC-1")
        one, two = await all_tickets(pipeline)
        assert {s.name for s in one.symptoms} == {"a", "b"}
        assert two.state == "merged"


# --- durability -------------------------------------------------------------------------------------------------------


async def test_a_restart_knows_everything_and_tells_nobody_twice(tmp_path: Path) -> None:
    url = address(tmp_path / "desk.db")
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom()], [alert()], NOW)
        await messages(pipeline)
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom()], [alert()], NOW + 1)
        assert len(await all_tickets(pipeline)) == 2
        assert await messages(pipeline) == []
        assert await pipeline.tick(NOW + 2) is not None


async def test_concurrent_posts_share_a_commit_and_all_are_answered_after_it() -> None:
    async with rows() as pipeline:
        decider = asyncio.create_task(pipeline.run())
        posts = [alert(f"A{n}", labels={"service": f"s{n % 5}"}) for n in range(50)]
        await asyncio.gather(*(pipeline.alerts([a], NOW) for a in posts))
        await pipeline.findings(Findings(NOW, (symptom(),)), NOW)
        found = await all_tickets(pipeline)
        assert sum(len(t.symptoms) for t in found) == 51
        assert len(found) == 6
        decider.cancel()


async def test_a_full_disk_refuses_and_the_desk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async with rows(url=address(tmp_path / "desk.db")) as pipeline:
        await pipeline.step([symptom("a")], [], NOW)
        room = [8]

        def bounded(connection: Any, _record: Any, _proxy: Any) -> None:
            connection.execute(f"PRAGMA max_page_count={room[0]}")

        assert pipeline.desk.writer is not None
        event.listen(pipeline.desk.writer.engine, "checkout", bounded)
        big = [alert(f"A{n}", annotations={"summary": "x" * 500}) for n in range(200)]
        with pytest.raises(StorageError, match="full"):
            await pipeline.step([], big, NOW)
        assert pipeline.failing is not None
        room[0] = 1_000_000
        await pipeline.step([], big, NOW)
        assert pipeline.failing is None
        assert sum(len(t.symptoms) for t in await all_tickets(pipeline)) == 201


async def test_a_timeline_cannot_be_edited() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        for statement in ("UPDATE timeline SET who = 'me'", "DELETE FROM timeline"):
            with pytest.raises(DBAPIError, match="append-only"):
                async with pipeline.desk.engine.begin() as connection:
                    await connection.execute(text(statement))


async def test_the_same_input_gives_the_same_tickets_byte_for_byte() -> None:
    async def play() -> list[Any]:
        async with rows() as pipeline:
            await pipeline.step([symptom(name) for name in "abc"], [alert()], NOW)
            await pipeline.tick(NOW + HOUR)
            return [(t, await pipeline.desk.timeline(t.key, SYSTEM)) for t in await all_tickets(pipeline)]

    assert await play() == await play()


async def test_one_huge_post_is_decided_in_portions_and_answered_when_all_of_it_is_committed() -> None:
    async with rows() as pipeline:
        decider = asyncio.create_task(pipeline.run())
        commits: list[object] = []
        pipeline.subscribe(commits.append)
        await pipeline.alerts([alert(f"A{n}", labels={"service": f"s{n % 2}"}) for n in range(450)], NOW)
        decider.cancel()
        assert len(commits) == 6
        assert sum(len(t.symptoms) for t in await all_tickets(pipeline)) == 450


async def test_one_ticket_whose_clock_cannot_be_decided_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ticket: Ticket, *rest: int) -> list[Any]:
        if ticket.key == "INC-1":
            raise ZeroDivisionError
        return ending(ticket, *rest)

    async with rows() as pipeline:
        for name in "ab":
            over = replace(symptom(name, service=name), active=False)
            await pipeline.step([symptom(name, service=name)], [], NOW)
            await pipeline.step([over], [], NOW)
        monkeypatch.setattr("detector.pipeline.pipeline.ending", broken)
        assert await pipeline.tick(NOW + 11 * MINUTE) is not None
        assert [t.state for t in await all_tickets(pipeline)] == ["triaged", "resolved"]
        assert "INC-1" in caplog.text
        monkeypatch.undo()
        await pipeline.tick(NOW + 12 * MINUTE)
        assert {t.state for t in await all_tickets(pipeline)} == {"resolved"}


async def test_two_people_take_one_ticket_and_the_second_is_told_who_has_it() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.act("INC-1", "ack", Viewer("ann"), now=NOW + 1)
        with pytest.raises(NotAllowed, match="held by ann"):
            await pipeline.act("INC-1", "ack", Viewer("bo"), now=NOW + 1)
        await pipeline.act("INC-1", "assign", Viewer("bo"), now=NOW + 2, assignee="bo")
        assert (await all_tickets(pipeline))[0].assignee == "bo"
