"""Alerts as they really arrive: replicas, repeats, late duplicates, lost resolves, and a watchdog."""

from __future__ import annotations

from typing import Any

import pytest

from detector.incidents.alerts import alert_symptom, category_of
from detector.incidents.catalogue import Catalogue
from detector.incidents.episodes import Entry, Ledger
from detector.incidents.options import IncidentOptions
from detector.nouns import SYSTEM, Alert
from detector.pipeline import Pipeline
from detector.tickets.desk import TicketQuery
from tests.rows import MINUTE, NOW, alert, rows


def taken(ledger: Ledger, *alerts: Alert) -> Entry:
    """Sort and keep; the entry of the last one."""
    entries = ledger.sort(alerts, Catalogue(), IncidentOptions(), alerts[-1].received_at)
    ledger.keep(entries.values())
    return list(entries.values())[-1]


async def the(pipeline: Pipeline) -> Any:
    (ticket,) = (await pipeline.desk.tickets(TicketQuery(), SYSTEM)).items
    return ticket


def test_a_repeat_is_counted_and_no_news() -> None:
    ledger = Ledger()
    assert taken(ledger, alert()).news
    again = taken(ledger, alert(at=NOW + MINUTE))
    assert (again.news, again.received, again.stored) == (False, 2, 1)


def test_a_slow_replica_that_still_says_firing_does_not_bring_back_what_has_just_resolved() -> None:
    ledger = Ledger()
    taken(ledger, alert())
    taken(ledger, alert(status="resolved", at=NOW + MINUTE))
    late = taken(ledger, alert(at=NOW + MINUTE + 15_000))
    assert (late.news, late.alert.status, ledger.firing) == (False, "resolved", 0)


def test_the_same_start_long_after_it_resolved_fires_again() -> None:
    ledger = Ledger()
    taken(ledger, alert())
    taken(ledger, alert(status="resolved", at=NOW + MINUTE))
    assert taken(ledger, alert(at=NOW + 10 * MINUTE)).news
    assert ledger.firing == 1


async def test_what_expired_comes_back_at_once_when_its_sender_does() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert(expires_at=NOW + 2 * MINUTE)], NOW)
        await pipeline.tick(NOW + 2 * MINUTE)
        assert not (await the(pipeline)).symptoms[0].active
        at = NOW + 2 * MINUTE + 1000
        await pipeline.step([], [alert(at=at, expires_at=at + 4 * MINUTE)], at)
        assert (await the(pipeline)).symptoms[0].active


def test_starts_that_replicas_of_prometheus_disagree_about_are_one_episode() -> None:
    ledger = Ledger()
    direct = {"group_key": ""}
    taken(ledger, alert(**direct))
    for start in (NOW + 3000, NOW - 3000, NOW):
        assert not taken(ledger, alert(starts_at=start, at=NOW + MINUTE, **direct)).news or start < NOW


def test_a_resolve_of_what_never_fired_here_opens_nothing_and_is_in_the_ledger() -> None:
    ledger = Ledger()
    entry = taken(ledger, alert(status="resolved"))
    assert (entry.result, entry.news, len(ledger)) == ("unknown-resolved", False, 1)


async def test_an_alert_that_resolved_elsewhere_first_and_then_fires_is_not_lost() -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert(status="resolved")], NOW)
        await pipeline.step([], [alert(at=NOW + 5 * MINUTE)], NOW + 5 * MINUTE)
        assert (await the(pipeline)).symptoms[0].name == "HighLatency"


async def test_received_is_stored_and_repeats_and_what_was_turned_away() -> None:
    async with rows() as pipeline:
        for status, at in (("firing", 0), ("firing", 1), ("resolved", 2), ("resolved", 3)):
            await pipeline.step([], [alert(status=status, at=NOW + at)], NOW + at)
        await pipeline.step([], [alert(labels={"severity": "none"})], NOW)
        found = {e.result: (e.received, e.stored, e.ticket_key) for e in await pipeline.desk.episodes(0)}
    assert found == {"ticket": (4, 2, "INC-1"), "severity-none": (1, 0, None)}


@pytest.mark.parametrize("how", ["expired", "resolved"])
async def test_a_watchdog_that_stops_opens_one_incident_and_its_return_ends_it(how: str) -> None:
    async with rows() as pipeline:
        await pipeline.step([], [alert("Watchdog", expires_at=NOW + 4 * MINUTE)], NOW)
        at = NOW + 5 * MINUTE
        if how == "expired":
            await pipeline.tick(at)
        else:  # the Alertmanager lives and says that its Prometheus does not
            await pipeline.step([], [alert("Watchdog", status="resolved", at=at)], at)
        ticket = await the(pipeline)
        assert (ticket.category, ticket.symptoms[0].detector) == ("monitoring", "silence")
        back = alert("Watchdog", starts_at=at + MINUTE, at=at + MINUTE, expires_at=at + 60 * MINUTE)
        await pipeline.step([], [back], at + MINUTE)
        await pipeline.tick(at + 12 * MINUTE)
        assert (await the(pipeline)).resolution == "self-recovered"
        await pipeline.step([], [alert("Watchdog", status="resolved", starts_at=at + MINUTE, at=at + 20 * MINUTE)],
                            at + 20 * MINUTE)  # fmt: skip
        assert (await the(pipeline)).state == "reopened"


@pytest.mark.parametrize(
    ("name", "labels", "category"),
    [
        ("NodeMemoryHighUtilization", {}, "capacity/memory"),
        ("KubePersistentVolumeFillingUp", {"persistentvolumeclaim": "data"}, "capacity/disk"),
        ("DiskWillFill", {"mountpoint": "/data"}, "capacity/disk"),
        ("HTTPLatencyHigh", {}, "latency"),
        ("KubePodCrashLooping", {}, "availability"),
        ("TargetDown", {"kind": "down"}, "availability"),
        ("SomethingOdd", {}, None),
    ],
)
def test_an_alert_without_a_category_gets_one_from_what_it_says(
    name: str, labels: dict[str, str], category: str | None
) -> None:
    assert category_of(labels, labels.get("kind", "threshold"), name) == category


@pytest.mark.parametrize(
    ("labels", "item"),
    [
        ({"mountpoint": "/data", "instance": "h:1"}, "h:1 /data"),
        ({"category": "capacity/memory", "pod": "web-1", "namespace": "shop"}, "shop web-1"),
        ({"category": "capacity/connections", "instance": "h:1", "datname": "orders"}, "h:1 orders"),
        ({"pod": "web-1", "instance": "h:1"}, ""),
    ],
)
def test_only_what_runs_out_has_an_item_and_it_is_named_as_forecasts_name_it(labels: dict[str, str], item: str) -> None:
    found = alert_symptom(alert("A", labels=labels), Catalogue(), IncidentOptions())
    assert found.item == item
