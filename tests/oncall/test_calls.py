"""Personal rules: which channel after how long, for what, at which hour; and what *not mine* and *help* make of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from detector.nouns import SYSTEM, Sent, Ticket, Viewer
from detector.oncall.findings import findings
from detector.oncall.options import OnCallOptions
from detector.oncall.policy import calls
from detector.pipeline import Policy
from detector.tickets.acts import NotAllowed
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import DAY, MINUTE, NOW, rows, symptom

ANN = {
    "name": "ann", "zone": "Europe/Berlin",
    "contacts": [
        {"channel": "ann-push"},
        {"channel": "ann-sms", "after": "3m", "priorities": ["P1", "P2"]},
        {"channel": "ann-call", "after": "6m", "priorities": ["P1"], "hours": ["22:00", "07:00"]},
    ],
}  # fmt: skip
PEOPLE = [ANN, {"name": "ben", "channels": ["ben"]}, {"name": "cy", "channels": ["cy"]}]
STEPS = [{"person": "ann"}, {"person": "ben", "after": "10m"}, {"person": "cy", "after": "30m"}]


def options(**more: Any) -> OnCallOptions:
    return OnCallOptions.model_validate({"people": PEOPLE, "policies": [{"name": "all", "steps": STEPS}]} | more)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ticket(priority: str = "P1", **values: Any) -> Ticket:
    return Ticket("INC-1", 1, "incident", "triaged", "detected", "shop", 0, "page", priority=priority, **values)  # type: ignore[arg-type]


def ways(one: Ticket, now: int, who: str = "", given: OnCallOptions | None = None) -> list[tuple[str, int]]:
    return [(call.channel, call.delay // MINUTE) for call in calls(one, given or options(), now, who)]


@pytest.mark.parametrize(
    ("priority", "moment", "found"),
    [
        ("P1", "2026-11-03T23:00:00+01:00", [("ann-push", 0), ("ann-sms", 3), ("ann-call", 6)]),
        ("P1", "2026-11-03T12:00:00+01:00", [("ann-push", 0), ("ann-sms", 3)]),
        ("P2", "2026-11-03T23:00:00+01:00", [("ann-push", 0), ("ann-sms", 3)]),
        ("P3", "2026-11-03T23:00:00+01:00", [("ann-push", 0)]),
        ("P1", "2026-11-03T21:54:00+01:00", [("ann-push", 0), ("ann-sms", 3), ("ann-call", 6)]),
        ("P1", "2026-11-03T06:54:00+01:00", [("ann-push", 0), ("ann-sms", 3)]),
        ("P1", "2026-10-25T06:30:00+01:00", [("ann-push", 0), ("ann-sms", 3), ("ann-call", 6)]),
    ],
    ids=["night", "day", "less urgent", "not urgent", "the night begins", "the night ends", "summer time has ended"],
)
def test_a_person_is_reached_by_priority_and_hour(priority: str, moment: str, found: list[tuple[str, int]]) -> None:
    assert [way for way in ways(ticket(priority), at(moment)) if way[0].startswith("ann")] == found


def test_who_declined_is_left_out_and_the_next_step_is_due_at_once() -> None:
    now = at("2026-11-03T12:00:00+01:00")
    assert ways(ticket(declined=("ann",)), now) == [("ben", 0), ("cy", 20)]
    assert ways(ticket(declined=("ann", "ben")), now) == [("cy", 0)]
    assert ways(ticket(declined=("ben",)), now) == [("ann-push", 0), ("ann-sms", 3), ("cy", 30)]


def test_when_all_have_declined_they_are_called_all_the_same() -> None:
    now = at("2026-11-03T12:00:00+01:00")
    assert ways(ticket(declined=("ann", "ben", "cy")), now) == ways(ticket(), now)


def test_in_later_rounds_each_step_has_its_time_again() -> None:
    policy = {"name": "all", "steps": STEPS[:2], "repeat": 1, "pause": "20m"}
    found = ways(ticket(declined=("ann",)), at("2026-11-03T12:00:00+01:00"), given=options(policies=[policy]))
    assert found == [("ben", 0), ("ben", 30)]


def test_whoever_is_asked_for_is_called_by_whatever_way_there_is() -> None:
    nights = {"name": "dee", "contacts": [{"channel": "dee", "hours": ["22:00", "06:00"]}]}
    given = options(people=[*PEOPLE, nights])
    assert ways(ticket(), at("2026-11-03T12:00:00+00:00"), "dee", given) == [("dee", 0)]
    assert ways(ticket(), at("2026-11-03T12:00:00+00:00"), "zoe", given) == []


# --- on the desk ------------------------------------------------------------------------------------------------------


class World:
    def __init__(self, pipeline: Any, given: OnCallOptions) -> None:
        self.pipeline = pipeline
        self.outbox = Outbox(pipeline.desk)
        pipeline.desk.calls = lambda ticket, now, who="": calls(ticket, given, now, who)

    async def told(self, channel: str, now: int) -> list[str]:
        found = []
        while (message := await self.outbox.claim(channel, now, MINUTE)) is not None:
            found.append(message.reason)
            await self.outbox.settle(message.id, Sent("r"), now)
        return found


async def test_not_mine_calls_the_next_one_at_once_and_nobody_twice() -> None:
    given = options()
    async with rows(Policy(oncall=given)) as pipeline:
        world = World(pipeline, given)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        assert await world.told("ann-push", NOW) == ["opened; ann is on call"]
        with pytest.raises(NotAllowed, match="say why it is not yours"):
            await pipeline.act("INC-1", "not-mine", Viewer("ann"), now=NOW + MINUTE)
        await pipeline.act("INC-1", "not-mine", Viewer("ann"), now=NOW + MINUTE, reason="it is the network")
        assert await world.told("ben", NOW + MINUTE) == ["ann gives it back: it is the network; ben is on call"]
        assert await world.told("ann-sms", NOW + DAY) == [], "what was still to come to ann has ended"
        assert await world.told("ben", NOW + 15 * MINUTE) == [], "the step of the first page has ended as well"
        assert await world.told("cy", NOW + 21 * MINUTE - 1) == []
        assert len(await world.told("cy", NOW + 21 * MINUTE)) == 1


async def test_who_holds_it_gives_it_back_and_nobody_else_does() -> None:
    given = options()
    async with rows(Policy(oncall=given)) as pipeline:
        world = World(pipeline, given)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        await pipeline.act("INC-1", "ack", Viewer("ann"), now=NOW + 1)
        with pytest.raises(NotAllowed, match="held by ann: only they can give it back"):
            await pipeline.act("INC-1", "not-mine", Viewer("ben"), now=NOW + 2, reason="no")
        returned = await pipeline.act("INC-1", "not-mine", Viewer("ann"), now=NOW + 3, reason="the network")
        assert (returned.assignee, returned.state, returned.declined) == (None, "triaged", ("ann",))
        assert len(await world.told("ben", NOW + 3)) == 1
        taken = await pipeline.act("INC-1", "ack", Viewer("ben"), now=NOW + 4)
        assert (taken.assignee, taken.declined) == ("ben", ())


async def test_help_calls_a_person_without_giving_it_away_until_they_say_that_they_do() -> None:
    given = options()
    async with rows(Policy(oncall=given)) as pipeline:
        world = World(pipeline, given)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        await pipeline.act("INC-1", "ack", Viewer("ben"), now=NOW + 1)
        with pytest.raises(NotAllowed, match="'zoe' cannot be called; who can: ann, ben, cy"):
            await pipeline.act("INC-1", "help", Viewer("ben"), now=NOW + 2, person="zoe")
        asked = await pipeline.act("INC-1", "help", Viewer("ben"), now=NOW + 2, person="ann", text="bring the key")
        assert (asked.assignee, asked.responders) == ("ben", ("ann",))
        assert await world.told("ann-push", NOW + 2) == ["ben asks for your help: bring the key"]
        # Who holds it may acknowledge again: that is no word of hers.
        await pipeline.act("INC-1", "ack", Viewer("ben"), now=NOW + 3)
        assert len(await world.told("ann-sms", NOW + 4 * MINUTE)) == 1
        helping = await pipeline.act("INC-1", "ack", Viewer("ann"), now=NOW + 5 * MINUTE)
        assert helping.assignee == "ben"
        assert await world.told("ann-call", NOW + DAY) == []
        timeline = await pipeline.desk.timeline("INC-1", SYSTEM)
        assert [(e.who, e.what) for e in timeline if e.what in ("help-asked", "joined")] == [
            ("ben", "help-asked"), ("ann", "joined"),
        ]  # fmt: skip


async def test_a_later_step_holds_up_no_page_of_what_became_worse() -> None:
    policy = {"name": "all", "steps": [{"person": "ben"}], "repeat": 1, "pause": "30m"}
    given = options(policies=[policy])
    async with rows(Policy(oncall=given)) as pipeline:
        world = World(pipeline, given)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        assert len(await world.told("ben", NOW)) == 1
        worse = symptom(onset=NOW + MINUTE, disruption=True, detector="rule")
        await pipeline.step([worse], [], NOW + MINUTE)
        assert await world.told("ben", NOW + MINUTE) == ["users are hurt now; ben is on call"]


async def test_a_telephone_is_rung_for_pages_and_told_nothing_else() -> None:
    given = options(people=[{"name": "ann", "channels": ["bell"]}], policies=[
        {"name": "all", "steps": [{"person": "ann"}]}])  # fmt: skip
    async with rows(Policy(oncall=given), (Route("bell", (), rings=True),)) as pipeline:
        world = World(pipeline, given)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        assert len(await world.told("bell", NOW)) == 1
        await pipeline.act("INC-1", "ack", Viewer("ann"), now=NOW + 1)
        await pipeline.act("INC-1", "resolve", Viewer("ann"), now=NOW + 2, force=True)
        assert await world.told("bell", NOW + DAY) == []


async def test_who_was_called_is_told_that_it_is_over_quietly_and_in_the_same_thread() -> None:
    given = options()
    async with rows(Policy(oncall=given), (Route("ann-push", ()),)) as pipeline:
        World(pipeline, given)
        outbox = Outbox(pipeline.desk)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        page = await outbox.claim("ann-push", NOW, MINUTE)
        assert page is not None
        assert (page.urgency, page.recipient) == ("page", "ann")
        await outbox.settle(page.id, Sent("first"), NOW)
        await pipeline.act("INC-1", "resolve", Viewer("ben"), now=NOW + 2, force=True)
        over = await outbox.claim("ann-push", NOW + 2, MINUTE)
        assert over is not None
        assert (over.event, over.urgency, over.dedup_key, over.thread) == (
            "resolved", "notify", page.dedup_key, "first",
        )  # fmt: skip


# --- would anybody be paged -------------------------------------------------------------------------------------------


def test_an_hour_at_which_nothing_reaches_a_person_is_found() -> None:
    days = {"name": "dee", "zone": "Europe/Berlin", "contacts": [{"channel": "dee", "hours": ["07:00", "22:00"]}]}
    found = list(findings(options(people=[*PEOPLE, days]), at("2026-11-03T12:00:00+01:00")))
    assert {one.kind for one in found} == {"hours"}
    assert found[0].text.startswith("dee is reached on no channel at Tue 22:00 (Europe/Berlin) when it is P1")
    assert not list(findings(options(), NOW))


def test_a_channel_that_nobody_has_proven_lately_is_found() -> None:
    given = options(people=PEOPLE[1:], policies=[{"name": "all", "steps": STEPS[1:]}])
    assert [one.text for one in findings(given, NOW, {("ben", "ben"): NOW - DAY})] == [
        "cy never said that a test message arrives on cy"
    ]
    old = {("ben", "ben"): NOW - DAY, ("cy", "cy"): NOW - 31 * DAY}
    assert [one.kind for one in findings(given, NOW, old)] == ["unproven"]
