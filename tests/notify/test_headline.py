"""The first line, as a table to read: this is what wakes people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.notify.messages import headline, title
from detector.nouns import Evidence, Impact, Reporter, Symptom, Ticket
from detector.words import between
from tests.notify.tickets import HOUR, NOW, at, errors, filling, impact, symptom, ticket

SOON = impact("11:25", "11:40", "12:05")
HURT = {"phase": "disrupting", "disrupted_at": at("08:41")}


def disk(**changes: Any) -> Symptom:
    return symptom(impact=SOON, **changes)


def of(kind: str, category: str, *, labels: dict[str, str] | None = None, **changes: Any) -> Ticket:
    """A ticket of one symptom of ``kind``."""
    one = symptom(
        kind=kind, labels=labels or {}, metric=changes.pop("metric", "m"), name=changes.pop("name", "SomeRule"),
        detector=changes.pop("detector", "rule"), value=changes.pop("value", None), summary=changes.pop("summary", ""),
        impact=changes.pop("expected", None), evidence=changes.pop("evidence", None),
        disruption="disrupted_at" in changes,
    )  # fmt: skip
    return ticket(one, category=category, **changes)


LATE = Impact(at("11:00") + 24 * HOUR, at("12:00") + 24 * HOUR, at("14:00") + 24 * HOUR)

GOLDEN: list[tuple[str, Ticket]] = [
    # a disk, from first sign to end
    ("P1 checkout: disk /data WILL be full 11:40 (11:25-12:05)", filling()),
    ("P1 checkout: disk /data WILL be full 11:40 (11:25-12:05) on db-1",
     ticket(disk(labels={"mountpoint": "/data", "instance": "db-1:9100"}))),
    ("P2 storage: disk /data WILL be full 19 Nov 12:00 (11:00-14:00)",
     ticket(symptom(impact=LATE), priority="P2", service="storage")),
    ("P1 checkout: disk /data WILL be full by 12:05", ticket(symptom(impact=impact("10:00", "11:00", "12:05")))),
    ("P1 checkout: disk /data WILL be full if this goes on since 10:56", ticket(symptom())),
    ("P1 checkout: 3 disks (/a first) WILL be full 11:40 (11:25-12:05)",
     ticket(*(disk(id=m * 8, item=m, labels={"mountpoint": f"/{m}"}) for m in "abc"))),
    ("P1 checkout: disk /data IS full since 08:41", filling(**HURT)),
    ("P1 checkout: IS recovering: disk /data quiet since 11:00", filling(phase="recovering", quiet_since=at("11:00"))),
    ("P2 storage: disk /data is over (prevented)",
     filling(phase="over", resolution="prevented", priority="P2", service="storage")),
    ("P1 checkout: disk /data is resolved (fixed)", filling(state="resolved", resolution="fixed")),
    ("P1 checkout: disk /data is merged into INC-7", filling(state="merged", merged_into="INC-7")),
    ("P1 checkout: disk /data WILL run out of inodes 11:40 (11:25-12:05)",
     ticket(disk(metric="node_filesystem_files_free"))),
    # other resources
    ("P1 checkout: api-7f9c WILL run out of memory 11:40 (11:25-12:05)",
     of("exhaustion", "capacity/memory", labels={"pod": "api-7f9c"}, expected=SOON)),
    ("P1 checkout: WILL run out of CPU 11:40 (11:25-12:05)", of("exhaustion", "capacity/cpu", expected=SOON)),
    ("P1 checkout: api-2 IS out of file descriptors since 08:41",
     of("exhaustion", "capacity/file-descriptors", labels={"instance": "api-2:8080"}, **HURT)),
    ("P1 checkout: orders WILL run out of connections 11:40 (11:25-12:05)",
     of("exhaustion", "capacity/connections", labels={"datname": "orders"}, expected=SOON)),
    ("P1 checkout: queue jobs_depth WILL be full 11:40 (11:25-12:05)",
     of("exhaustion", "capacity/queue", labels={"instance": "localhost:80"}, metric="jobs_depth", expected=SOON)),
    ("P1 checkout: WILL run out of memory 11:40 (11:25-12:05)",
     of("exhaustion", "capacity/memory", labels={"instance": "127.0.0.1:8000"}, expected=SOON)),
    ("P1 checkout: queue orders WILL be full 11:40 (11:25-12:05)",
     of("exhaustion", "capacity/queue", labels={"queue": "orders"}, expected=SOON)),
    ("P1 checkout: WILL run out of licence seats 11:40 (11:25-12:05)", of("exhaustion", "capacity/licence-seats",
     expected=SOON)),
    # signals
    ("P1 checkout: IS failing: 5xx 12 % of requests since 08:41",
     ticket(errors(disruption=True), category="errors", **HURT)),
    ("P1 checkout: IS failing: 5xx 12 % of requests since 08:41",  # a queue was filling up; by now it hurts
     ticket(symptom(id="a" * 16, kind="exhaustion", category="capacity/queue", metric="jobs_depth"),
            errors(disruption=True), category="capacity/queue", **HURT)),
    ("P1 checkout: WILL fail if this goes on: 5xx 1.2 % of requests since 10:56", ticket(errors(0.012),
     category="errors")),
    ("P1 checkout: failure is over (self-recovered)",
     ticket(errors(), category="errors", phase="over", resolution="self-recovered")),
    ("P1 checkout: IS too slow: p99 2.4 s since 08:41",
     of("latency", "latency", labels={"quantile": "0.99"}, value=2.4, evidence=Evidence((), (), unit="seconds"),
         **HURT)),
    ("P1 checkout: IS down: api-2 since 08:41", of("down", "availability", labels={"instance": "api-2:80"}, **HURT)),
    ("P1 checkout: IS down: 2 of its items, api-1 among them since 08:41",
     ticket(*(symptom(id=i * 8, kind="down", detector="rule", disruption=True,
         labels={"instance": f"api-{i}:80"}) for i in "12"),
            category="availability", **HURT)),
    ("P2 checkout: traffic WILL hurt users if this goes on: a third of the usual requests since 10:56",
     of("traffic", "traffic", summary="a third of the usual requests", priority="P2")),
    ("P1 checkout: WILL be too slow 11:40 (11:25-12:05): 800 ms",
     of("latency", "latency", value=0.8, metric="answer_seconds", expected=SOON)),
    ("P2 prom-1: monitoring IS blind: Nothing has arrived from prom-1 for 5 min since 10:56",
     of("absence", "monitoring", detector="silence", summary="Nothing has arrived from prom-1 for 5 min",
        service="prom-1", priority="P2")),
    ("P1 checkout: monitoring IS blind: Watchdog since 08:41", of("absence", "monitoring", name="Watchdog", **HURT)),
    ("P3 checkout: IS behaving unusually: requests wait 3 s, 0.2 s is usual since 10:56",
     of("anomaly", "other", detector="group", summary="requests wait 3 s, 0.2 s is usual", priority="P3")),
    # an alert of somebody's own, and an annotation made for this line
    ("P1 checkout: IS disrupted: Certificate of shop.example.org is invalid since 08:41",
     of("threshold", "other", detector="alert", summary="Certificate of shop.example.org is invalid", **HURT)),
    ("P1 checkout: CertificateInvalid is over", of("threshold", "other", detector="alert", name="CertificateInvalid",
     phase="over")),
    ("P1 checkout: IS failing: half of all payments since 08:41",
     ticket(errors(disruption=True, annotations={"headline": "half of all payments"}), category="errors", **HURT)),
    # people
    ("P? checkout: report IS waiting for a decision: The shop is slow since 11:00",
     ticket(kind="undecided", phase=None, priority=None, description="The shop is slow", reported_at=at("11:00"),
         source="report",
            category=None, first_symptom_at=None, reporter=Reporter("Anna"))),
    ("P3 checkout: IS disrupted: The shop is slow since 11:00",
     ticket(phase=None, priority="P3", description="The shop is slow", reported_at=at("11:00"), first_symptom_at=None)),
    ("P1 checkout: IS disrupted: Payment provider down since 08:41", filling(title="Payment provider down", **HURT)),
    # secrets
    ("P1 restricted ticket INC-42 needs you", filling(restricted=True)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "about"), GOLDEN, ids=[said for said, _ in GOLDEN])
def test_headlines(said: str, about: Ticket) -> None:
    assert headline(about, NOW, UTC) == said


def test_the_readers_clock_is_used() -> None:
    assert (
        headline(filling(), NOW, ZoneInfo("Asia/Kolkata")) == "P1 checkout: disk /data WILL be full 17:10 (16:55-17:35)"
    )


def test_a_title_has_no_priority_service_or_time() -> None:
    assert title(filling()) == "disk /data WILL be full"
    assert title(ticket(errors(disruption=True), category="errors", **HURT)) == "IS failing: 5xx 12 % of requests"
    assert title(filling(title="Disk of the shop")) == "Disk of the shop"
    later = filling(impact=Impact(NOW + 9 * HOUR, NOW + 9 * HOUR, NOW + 9 * HOUR))
    assert title(later) == title(filling()), "a forecast that moves does not rename the ticket"


def test_what_is_long_gives_way_and_the_time_stays() -> None:
    about = ticket(disk(labels={"mountpoint": "/very" * 60, "instance": "db" * 60}), service="checkout" * 20)
    said = headline(about, NOW, UTC)
    assert len(said) <= 120
    assert said.startswith("P1 checkoutcheckout")
    assert said.endswith("… WILL be full 11:40 (11:25-12:05)")


hostile = st.text(max_size=300) | st.sampled_from(
    [
        "@here",
        "<!channel>",
        "<script>alert(1)</script>",
        "\u202egnp.exe",
        "**bold**",
        "](http://evil)",
        "\r\nBcc: x@y",
        "a" * 5000,
    ]
)
CATEGORIES = [
    "capacity/disk",
    "capacity/memory",
    "capacity/queue",
    "errors",
    "latency",
    "availability",
    "traffic",
    "other",
]
times = st.integers(NOW - 10**12, NOW + 10**12) | st.integers(-(10**18), 10**18)


@st.composite
def any_ticket(draw: st.DrawFn) -> Ticket:
    """Every field that comes from outside is hostile."""
    expected = draw(st.none() | st.builds(lambda a, b, c: Impact(*sorted((a, b, c))), times, times, times))
    names = ["mountpoint", "instance", "pod", "queue", "code", "quantile"]
    found = draw(st.lists(st.builds(
        symptom, id=st.text("0123456789abcdef", min_size=16, max_size=16), kind=st.sampled_from(["exhaustion",
            "errors", "down", "x"]),
        detector=st.sampled_from(["rule", "forecast", "anomaly", "alert", "group", "silence"]),
        name=hostile, service=hostile, labels=st.dictionaries(st.sampled_from(names), hostile, max_size=6),
            metric=hostile,
        value=st.none() | st.floats(), summary=hostile, item=hostile, active=st.booleans(), disruption=st.booleans(),
        impact=st.just(expected), annotations=st.dictionaries(st.sampled_from(["headline", "runbook_url"]), hostile),
        evidence=st.none() | st.builds(Evidence, st.just(()), st.just(()), unit=hostile | st.sampled_from(["ratio",
            "seconds"])),
        first_at=times,
    ), max_size=5))  # fmt: skip
    changes = draw(st.fixed_dictionaries({
        "service": hostile, "title": st.just("") | hostile, "description": st.none() | hostile,
         "team": st.none() | hostile,
        "phase": st.sampled_from([None, "predicted", "disrupting", "recovering", "over"]),
        "state": st.sampled_from(["logged", "triaged", "diagnosing", "resolved", "closed", "merged"]),
        "category": st.none() | st.sampled_from(CATEGORIES) | hostile.map("capacity/{}".format) | hostile,
        "priority": st.sampled_from([None, "P1", "P4"]), "assignee": st.none() | hostile, "runbook": hostile,
        "kind": st.sampled_from(["incident", "request", "undecided"]), "merged_into": st.none() | st.just("INC-7"),
        "reporter": st.none() | st.builds(Reporter, hostile), "disrupted_at": st.none() | times,
         "quiet_since": st.none() | times,
        "resolution": st.none() | st.sampled_from(["prevented", "self-recovered", "not-worth-waking"]),
        "restricted": st.booleans(),
    }))  # fmt: skip
    return replace(ticket(*found), impact=expected, **changes)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_ticket(), times)
def test_no_ticket_breaks_the_first_line(about: Ticket, now: int) -> None:
    said = headline(about, now, UTC)
    assert len(said) <= 120
    assert "\n" not in said
    assert said.startswith(about.priority or "P?")
    if about.restricted:
        assert said == f"{about.priority or 'P?'} restricted ticket INC-42 needs you"
        return
    live = about.state not in ("resolved", "closed", "merged") and about.phase != "over"
    if live:
        assert " WILL " in said or " IS " in said
    if live and about.phase == "predicted" and about.impact is not None and about.impact.likely > now:
        assert between(about.impact, now, UTC) in said, "the time is never cut"
    assert len(title(about)) <= 120
