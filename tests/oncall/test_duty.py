"""By the clock: what is held at a shift's end is offered on, the shift is reported, and what would fail is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from detector.clock import ManualClock
from detector.daemon.duty import Duty
from detector.nouns import SYSTEM, Notification, Report, Sent, Viewer
from detector.oncall.handover import ended_shifts, offers, shift_at
from detector.oncall.options import OnCallOptions
from detector.oncall.policy import calls
from detector.pipeline import Pipeline, Policy
from detector.tickets.acts import NotAllowed
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from detector.web.links import PROOF, Links
from tests.rows import DAY, HOUR, MINUTE, rows, symptom

ANN, BEN = Viewer("ann"), Viewer("ben")


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


MONDAY = at("2026-11-09T09:00:00+01:00")
OPTIONS = OnCallOptions.model_validate(
    {
        "people": [{"name": "ann", "channels": ["ann"]},
                   {"name": "ben", "contacts": [{"channel": "ben"}, {"channel": "bell", "after": "3m"}]}],
        "schedules": [
            {"name": "web", "zone": "Europe/Berlin", "layers": [{"people": ["ann", "ben"], "since": "2026-10-19"}]}
        ],
        "policies": [{"name": "all", "steps": [{"schedule": "web"}]}],
        "working_hours": {"zone": "Europe/Berlin"},
    }
)  # fmt: skip


class World:
    def __init__(self, pipeline: Pipeline, now: int) -> None:
        self.pipeline = pipeline
        self.clock = ManualClock(now)
        self.outbox = Outbox(pipeline.desk)
        self.sent: list[tuple[str, str]] = []
        self.links = Links(b"x" * 32)
        pipeline.desk.calls = lambda ticket, now, who="": calls(ticket, OPTIONS, now, who)
        self.duty = Duty(
            lambda: OPTIONS, lambda: UTC, pipeline, self.links, self.clock, pipeline._telemetry, self.send,
            quiet=lambda name: name != "bell",
        )  # fmt: skip
        pipeline.subscribe(lambda committed: self.duty.committed(committed) and None)

    async def send(self, channel: str, path: str) -> None:
        self.sent.append((channel, path))

    async def messages(self, channel: str) -> list[Notification]:
        found = []
        while (message := await self.outbox.claim(channel, self.clock.now(), MINUTE)) is not None:
            found.append(message)
            await self.outbox.settle(message.id, Sent("r"), self.clock.now())
        return found

    async def step(self, now: int) -> int:
        self.clock.set(now)
        return await self.duty.step(now)

    def value(self, name: str, **labels: str) -> float:
        return self.pipeline._telemetry.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def world(now: int) -> AsyncIterator[World]:
    routes = (Route("ann", ()), Route("ben", ()), Route("bell", (), rings=True))
    async with rows(Policy(oncall=OPTIONS), routes) as pipeline:
        yield World(pipeline, now)


async def test_what_is_held_at_a_shifts_end_is_offered_once_and_stays_until_it_is_taken() -> None:
    async with world(MONDAY - HOUR) as w:
        await w.pipeline.step([symptom(onset=MONDAY - HOUR, left=30 * MINUTE)], [], MONDAY - HOUR)
        await w.pipeline.act("INC-1", "ack", ANN, now=MONDAY - 50 * MINUTE)
        await w.messages("ann")
        assert await w.step(MONDAY - 40 * MINUTE) == MONDAY, "it comes again when the shift ends"
        assert (await w.messages("ben")) == []
        for now in (MONDAY, MONDAY + 1, MONDAY + HOUR):
            await w.step(now)
        offered = [m for m in await w.messages("ben") if m.memo is None]
        assert [(m.urgency, m.reason, m.recipient) for m in offered] == [
            ("notify", "the shift of ann is over: will you take it?", "ben")
        ]
        told = [m for m in await w.messages("ann") if m.memo is None]
        assert [m.reason for m in told] == ["your shift is over: offered to ben, yours until it is taken"]
        assert await w.messages("bell") == [], "nothing of it rings"
        ticket = await w.pipeline.desk.ticket("INC-1", SYSTEM)
        assert ticket is not None
        assert (ticket.assignee, ticket.offered_to) == ("ann", "ben")
        with pytest.raises(NotAllowed, match="held by ann already"):
            await w.pipeline.act("INC-1", "ack", Viewer("cy"), now=MONDAY + HOUR)
        taken = await w.pipeline.act("INC-1", "ack", BEN, now=MONDAY + 2 * HOUR)
        assert (taken.assignee, taken.offered_to) == ("ben", None)
        await w.step(MONDAY + 3 * HOUR)
        assert [m for m in await w.messages("ben") if m.event == "changed"] == []


async def test_a_daemon_that_was_down_at_the_hand_over_offers_and_reports_when_it_is_back_and_only_once() -> None:
    async with world(MONDAY - HOUR) as w:
        await w.pipeline.step([symptom(onset=MONDAY - HOUR, left=30 * MINUTE)], [], MONDAY - HOUR)
        await w.pipeline.act("INC-1", "ack", ANN, now=MONDAY - 50 * MINUTE)
        await w.step(MONDAY + 5 * HOUR)
        again = Duty(lambda: OPTIONS, lambda: UTC, w.pipeline, w.links, w.clock, _fresh(), w.send)
        await again.step(MONDAY + 5 * HOUR)
        found = await w.messages("ben")
        assert sorted(m.memo is None for m in found) == [False, True]


def _fresh() -> Any:
    from prometheus_client import CollectorRegistry

    from detector.telemetry import Telemetry

    return Telemetry(CollectorRegistry())


async def test_the_report_says_what_the_shift_has_seen_to_both_sides() -> None:
    async with world(MONDAY - 2 * DAY) as w:
        saturday = MONDAY - 2 * DAY
        await w.pipeline.step([symptom(onset=saturday, left=30 * MINUTE)], [], saturday)
        await w.messages("ann")
        await w.pipeline.act("INC-1", "ack", ANN, now=saturday + MINUTE)
        await w.pipeline.act("INC-1", "resolve", ANN, now=saturday + HOUR, force=True)
        await w.pipeline.step([symptom("b", service="mail", onset=MONDAY - HOUR, left=30 * MINUTE)], [], MONDAY - HOUR)
        await w.pipeline.act("INC-2", "ack", ANN, now=MONDAY - HOUR + 1)
        await w.pipeline.report(Report("a leak", saturday + 1, security=True, service="secret-service"))
        await w.step(MONDAY)
        memos = [m for channel in ("ann", "ben") for m in await w.messages(channel) if m.memo is not None]
        assert [m.recipient for m in memos] == ["ann", "ben"]
        assert memos[0].memo is not None
        subject, text = memos[0].memo
        assert subject == "Shift of ann on web is over: 2 opened"
        assert text.splitlines()[0] == (
            "From Mon 02 Nov 09:00 to Mon 09 Nov 09:00: 2 opened, 1 ended, 1 still open, 1 page, 1 of them outside "
            "working hours."
        )
        assert "held by ann, offered to ben" in text
        assert "secret-service" not in text
        report = await w.duty.report("web", MONDAY - 1, ANN)
        assert report is not None
        assert [t.key for t in report.opened] == ["INC-1", "INC-2"]
        assert [t.key for t in report.held] == ["INC-2"]
        assert await w.duty.report("nobody", MONDAY, ANN) is None


async def test_a_ticket_that_woke_somebody_counts_by_how_it_ended() -> None:
    night = MONDAY + 17 * HOUR
    async with world(night) as w:
        for number, (resolution, name) in enumerate([("fixed", "a"), ("false-alarm", "b"), ("unknown", "c")], 1):
            await w.pipeline.step([symptom(name, service=name, onset=night, left=30 * MINUTE)], [], night)
            await w.messages("ben")
            await w.pipeline.act(f"INC-{number}", "resolve", BEN, now=night + HOUR, resolution=resolution, force=True)
        # Nobody was reached by this one.
        await w.pipeline.step([symptom("d", service="d", onset=night, left=30 * MINUTE)], [], night)
        await w.pipeline.act("INC-4", "resolve", BEN, now=night + HOUR, resolution="fixed", force=True)
        await w.step(night + HOUR)
        counted = {result: w.value("detector_wakes_total", result=result) for result in ("needed", "avoidable")}
        assert counted == {"needed": 1.0, "avoidable": 1.0}
        await w.step(night + 2 * HOUR)
        assert w.value("detector_wakes_total", result="needed") == 1.0


async def test_what_would_keep_a_page_from_arriving_is_a_gauge_and_a_proof_takes_it_off() -> None:
    async with world(MONDAY) as w:
        await w.step(MONDAY)
        assert w.value("detector_oncall_gaps", kind="unproven") == 3.0
        assert w.value("detector_oncall_gaps", kind="gap") == 0.0
        assert await w.duty.send_test("ben") == [("ben", ""), ("bell", "")]
        with pytest.raises(ValueError, match="less than 30 s ago"):
            await w.duty.send_test("ben")
        proof = w.links.read_proof(w.sent[0][1].removeprefix(PROOF))
        assert proof is not None
        await w.duty.prove(proof.who, proof.channel)
        await w.step(MONDAY + MINUTE)
        assert w.value("detector_oncall_gaps", kind="unproven") == 2.0
        await w.step(MONDAY + 31 * DAY)
        assert w.value("detector_oncall_gaps", kind="unproven") == 3.0
        with pytest.raises(LookupError, match="ben is not called on ann any more"):
            await w.duty.prove("ben", "ann")


def test_the_hour_that_comes_twice_ends_a_shift_once() -> None:
    turns = {"people": ["ann", "ben"], "turn": "day", "handover": "02:30", "since": "2026-10-24"}
    schedule = {"name": "web", "zone": "Europe/Berlin", "layers": [turns]}
    people = [{"name": "ann"}, {"name": "ben"}]
    daily = OnCallOptions.model_validate({"people": people, "schedules": [schedule]})
    around = ended_shifts(daily.schedules[0], at("2026-10-25T00:00:00+02:00"), at("2026-10-25T12:00:00+01:00"))
    assert [(shift.people, following) for shift, following in around] == [(("ann", "ben"), ("ben",))]
    assert shift_at(daily.schedules[0], at("2026-10-25T12:00:00+01:00")).people == ("ben",)


def test_who_is_still_on_call_and_who_is_on_no_schedule_keep_what_they_have() -> None:
    from tests.oncall.test_calls import ticket

    mine = ticket(assignee="ann", acknowledged_at=MONDAY - HOUR)
    assert offers(mine, OPTIONS, MONDAY - 1) == []
    assert len(offers(mine, OPTIONS, MONDAY)) == 1
    assert offers(ticket(assignee="zoe", acknowledged_at=MONDAY - HOUR), OPTIONS, MONDAY) == []
    assert offers(ticket(assignee="ann", acknowledged_at=MONDAY + 1), OPTIONS, MONDAY + HOUR) == [], "taken off duty"
