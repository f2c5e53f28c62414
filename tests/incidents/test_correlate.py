"""One incident per cause: what joins, what waits for company, what holds an incident open, what a return does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.incidents.catalogue import UNKNOWN, Catalogue, CatalogueOptions
from detector.incidents.options import Corroboration, IncidentOptions, ModeRule
from detector.nouns import SYSTEM, Control, Evidence, Symptom, Ticket
from detector.pipeline import Pipeline, Policy
from detector.tickets.desk import TicketQuery
from tests.rows import DAY, HOUR, MINUTE, NOW, alert, rows, symptom

SHOP = CatalogueOptions.model_validate(
    {
        "services": [
            {"name": "web", "depends_on": ["db"], "criticality": "high"},
            {"name": "db", "criticality": "low", "runbook": "https://wiki/db", "team": "storage"},
            {"name": "alone", "selectors": [['job="batch"', 'team=~"x.*"']]},
        ]
    }
)


async def everything(pipeline: Pipeline) -> list[Ticket]:
    return list((await pipeline.desk.tickets(TicketQuery(), SYSTEM)).items)[::-1]


def over(known: Symptom, at: int) -> Symptom:
    return replace(known, active=False, last_at=at)


def odd(name: str = "odd", **values: object) -> Symptom:
    return symptom(name, detector="anomaly", kind="anomaly", item="", category=None, **values)


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({"job": "batch", "team": "xy", "service": "other"}, "alone"),
        ({"job": "batch", "team": "y"}, "batch"),
        ({"service": "s", "app": "a", "job": "j"}, "s"),
        ({"app": "a", "app_kubernetes_io_name": "n", "job": "j"}, "a"),
        ({"app_kubernetes_io_name": "n", "job": "j"}, "n"),
        ({"service": "", "job": "j"}, "j"),
        ({}, UNKNOWN),
    ],
)
def test_the_service_rule(labels: dict[str, str], service: str) -> None:
    assert Catalogue(SHOP).service_of(labels) == service


async def test_trouble_of_a_needed_service_and_of_who_needs_it_is_one_incident_of_the_higher_criticality() -> None:
    async with rows(Policy(Catalogue(SHOP))) as pipeline:
        await pipeline.step([symptom(service="db", left=30 * MINUTE)], [], NOW)
        await pipeline.step([], [alert()], NOW + MINUTE)
        (ticket,) = await everything(pipeline)
        assert [(a.service, a.how) for a in ticket.affected] == [("db", "origin"), ("web", "impacted")]
        # db alone is of low criticality: what needs it is hurt, too.
        assert (ticket.priority, ticket.impact_users, ticket.team) == ("P1", "high", "storage")
        assert ticket.runbook == "https://wiki/db"


async def test_two_disks_of_linked_services_are_two_incidents() -> None:
    async with rows(Policy(Catalogue(SHOP))) as pipeline:
        await pipeline.step([symptom("a", service="db"), symptom("b", service="web")], [], NOW)
        assert len(await everything(pipeline)) == 2


async def test_an_unknown_service_is_a_case_and_no_error() -> None:
    async with rows(Policy(Catalogue(SHOP))) as pipeline:
        await pipeline.step([], [alert(labels={"service": ""})], NOW)
        assert [t.service for t in await everything(pipeline)] == [UNKNOWN]


async def test_anomalies_before_the_incident_are_part_of_it_once_it_opens() -> None:
    async with rows() as pipeline:
        await pipeline.step([odd(service="web")], [], NOW)
        assert await everything(pipeline) == []
        await pipeline.step([], [alert(starts_at=NOW + MINUTE)], NOW + MINUTE)
        (ticket,) = await everything(pipeline)
        assert {s.detector for s in ticket.symptoms} == {"anomaly", "alert"}
        assert ticket.first_symptom_at == NOW


async def test_an_anomaly_that_lasts_does_not_hold_an_incident_open() -> None:
    """Its model learns nothing while the incident is open: after a lasting shift it would wait for itself."""
    async with rows() as pipeline:
        disk = symptom()
        await pipeline.step([disk, odd()], [], NOW)
        await pipeline.step([over(disk, NOW + MINUTE)], [], NOW + MINUTE)
        await pipeline.tick(NOW + 12 * MINUTE)
        assert [(t.phase, t.resolution) for t in await everything(pipeline)] == [("over", "self-recovered")]


async def test_one_part_that_turns_green_does_not_end_the_whole() -> None:
    async with rows() as pipeline:
        one, two = symptom("a", item="d"), symptom("b", item="d")
        await pipeline.step([one, two], [], NOW)
        await pipeline.step([over(one, NOW)], [], NOW + MINUTE)
        await pipeline.tick(NOW + HOUR)
        assert [t.phase for t in await everything(pipeline)] == ["predicted"]


async def test_only_when_it_happened_three_times() -> None:
    policy = Policy(incidents=IncidentOptions(corroboration=(Corroboration(family="alert/Flaky", count=3),)))
    async with rows(policy) as pipeline:
        for n in range(2):
            await pipeline.step([], [alert("Flaky", labels={"n": str(n)})], NOW + n)
        assert await everything(pipeline) == []
        await pipeline.step([], [alert("Flaky", labels={"n": "0"}, status="resolved", at=NOW + 2)], NOW + 2)
        await pipeline.step([], [alert("Flaky", labels={"n": "3"}, at=NOW + 3)], NOW + 3)
        (ticket,) = await everything(pipeline)
        assert sorted((s.labels["n"], s.active) for s in ticket.symptoms) == [("0", False), ("1", True), ("3", True)]


async def test_three_times_in_a_day_are_not_three_times_in_ten_minutes() -> None:
    policy = Policy(incidents=IncidentOptions(corroboration=(Corroboration(count=3),)))
    async with rows(policy) as pipeline:
        for n in range(5):
            await pipeline.step([symptom(str(n), onset=NOW + n * HOUR)], [], NOW + n * HOUR)
        assert await everything(pipeline) == []


async def test_gathered_tickets_keep_their_evidence_and_each_alert_stands_in_one_timeline() -> None:
    seen = Evidence(at=(NOW,), value=(1.0,))
    async with rows() as pipeline:
        await pipeline.step([symptom("a", evidence=seen), symptom("b", evidence=seen)], [], NOW)
        await pipeline.step([symptom("c", evidence=seen)], [], NOW + MINUTE)
        kept, gone = await everything(pipeline)
        assert (gone.state, gone.merged_into) == ("merged", kept.key)
        whole = await pipeline.desk.ticket(kept.key, SYSTEM)
        assert whole is not None
        assert [(s.name, s.evidence) for s in whole.symptoms] == [("a", seen), ("b", seen), ("c", seen)]
        joined = [
            entry.data["symptom"]["name"]
            for key in (kept.key, gone.key)
            for entry in await pipeline.desk.timeline(key, SYSTEM)
            if entry.what == "symptom-joined"
        ]
        assert sorted(joined) == ["a", "b", "c"]


async def test_gathering_prefers_the_ticket_that_somebody_holds() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom("a"), symptom("b")], [], NOW)
        await pipeline.act("INC-2", "ack", SYSTEM, now=NOW)
        await pipeline.step([symptom("c")], [], NOW + MINUTE)
        assert [t.merged_into for t in await everything(pipeline)] == ["INC-2", None]


async def test_what_returns_after_the_window_opens_a_new_ticket_that_names_the_last_also_after_a_restart() -> None:
    async with rows() as pipeline:
        first = symptom()
        await pipeline.step([first], [], NOW)
        await pipeline.step([over(first, NOW + MINUTE)], [], NOW + MINUTE)
        await pipeline.tick(NOW + 20 * MINUTE)
        for late in (3 * DAY, 6 * DAY):
            at = NOW + late
            await pipeline.tick(at)
            if late == 6 * DAY:
                await pipeline.load(at)
            again = symptom(onset=at)
            await pipeline.step([again], [], at)
            await pipeline.step([over(again, at)], [], at + MINUTE)
            await pipeline.tick(at + 20 * MINUTE)
        opened = [(await pipeline.desk.timeline(t.key, SYSTEM))[0].data["follows"] for t in await everything(pipeline)]
        assert opened == [None, "INC-1", "INC-2"]


async def test_resolved_while_it_fires_stays_resolved_until_it_ended_and_returned() -> None:
    async with rows() as pipeline:
        disk = symptom()
        await pipeline.step([disk], [], NOW)
        await pipeline.act("INC-1", "resolve", SYSTEM, now=NOW, resolution="fixed", force=True)
        await pipeline.step([replace(disk, last_at=NOW + MINUTE)], [], NOW + MINUTE)
        assert [t.state for t in await everything(pipeline)] == ["resolved"]
        await pipeline.step([over(disk, NOW + 2 * MINUTE)], [], NOW + 2 * MINUTE)
        assert [(t.state, t.symptoms[0].active) for t in await everything(pipeline)] == [("resolved", False)]
        await pipeline.step([replace(disk, last_at=NOW + 3 * MINUTE)], [], NOW + 3 * MINUTE)
        assert [(t.state, t.reopenings) for t in await everything(pipeline)] == [("reopened", 1)]


async def test_values_and_evidence_stay_fresh_without_a_timeline_entry_each() -> None:
    async with rows() as pipeline:
        disk = symptom(left=HOUR)
        await pipeline.step([disk], [], NOW)
        before = len(await pipeline.desk.timeline("INC-1", SYSTEM))
        fresh = Evidence(at=(NOW + MINUTE,), value=(0.5,))
        newer = replace(disk, value=0.5, last_at=NOW + MINUTE, evidence=fresh)
        await pipeline.step([newer], [], NOW + MINUTE)
        ticket = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert (ticket.symptoms[0].value, ticket.symptoms[0].evidence) == (0.5, fresh)
        assert len(await pipeline.desk.timeline("INC-1", SYSTEM)) == before


async def test_a_forecast_that_wavers_around_the_hour_does_not_change_the_priority_to_and_fro() -> None:
    async with rows() as pipeline:
        for n in range(6):
            left = 50 * MINUTE if n % 2 == 0 else 70 * MINUTE
            wavers = replace(symptom(onset=NOW), impact=symptom(onset=NOW + n * 1000, left=left).impact)
            await pipeline.step([wavers], [], NOW + n * 1000)
        timeline = await pipeline.desk.timeline("INC-1", SYSTEM)
        assert [e.data["priority"] for e in timeline if e.what == "triaged"] == ["P2"]


async def test_shadows_do_not_mix_with_what_is_routed() -> None:
    policy = Policy(incidents=IncidentOptions(modes=(ModeRule(family="forecast", mode="shadow"),)))
    async with rows(policy) as pipeline:
        await pipeline.step([odd(), symptom()], [], NOW)
        shadows = (await pipeline.desk.tickets(TicketQuery(mode="shadow"), SYSTEM)).items
        assert [[s.detector for s in t.symptoms] for t in shadows] == [["forecast"]]
        assert await everything(pipeline) == []


async def test_each_freeze_has_its_thaw_also_when_tickets_are_gathered_and_reopened() -> None:
    async with rows() as pipeline:
        count: dict[object, int] = {}

        def control(word: Control) -> None:
            for labels in word.labels:
                count[labels] = count.get(labels, 0) + (1 if word.kind == "freeze" else -1)

        pipeline._on_control = control
        disks = [symptom(name) for name in "abc"]
        for n, disk in enumerate(disks):
            await pipeline.step([disk], [], NOW + n * MINUTE)
        assert set(count.values()) == {1}
        for at in (NOW + 5 * MINUTE, NOW + 30 * MINUTE):
            await pipeline.step([over(disk, at) for disk in disks], [], at)
            # The second time its quiet period is twice as long.
            await pipeline.tick(at + 21 * MINUTE)
            assert set(count.values()) == {0}
            await pipeline.step([replace(disks[0], last_at=at + 22 * MINUTE)], [], at + 22 * MINUTE)
            assert set(count.values()) == {1}
