"""Who is on call, over weeks, holidays of the clock and stand-ins; and whom a page calls in which order."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.nouns import Sent, Viewer
from detector.oncall.findings import problems
from detector.oncall.options import OnCallOptions, Schedule
from detector.oncall.policy import calls
from detector.oncall.schedule import Shift, on_call, shifts
from detector.tickets.outbox import Outbox
from detector.worktime import WEEKDAYS, instant
from tests.rows import DAY, MINUTE, NOW, rows, symptom

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def schedule(**options: Any) -> Schedule:
    layers = options.pop("layers", [{"people": ["ann", "ben"], "since": "2026-11-02"}])
    return Schedule.model_validate({"name": "web", "zone": "Europe/Berlin", "layers": layers} | options)


@pytest.mark.parametrize(
    ("moment", "people"),
    [
        ("2026-11-02T09:00:00+01:00", ("ann",)),
        ("2026-11-09T08:59:59+01:00", ("ann",)),
        ("2026-11-09T09:00:00+01:00", ("ben",)),
        ("2026-11-16T09:00:00+01:00", ("ann",)),
        ("2026-10-01T12:00:00+02:00", ("ann",)),
    ],
    ids=["first", "to the last second", "hand-over", "again", "before the first turn"],
)
def test_people_take_turns_by_the_wall_clock(moment: str, people: tuple[str, ...]) -> None:
    assert on_call(schedule(), at(moment)) == people


def test_the_hand_over_keeps_its_wall_time_when_the_clocks_change() -> None:
    # Summer time ends on 25 October 2026, begins on 28 March 2027.
    weekly = schedule(layers=[{"people": ["ann", "ben"], "since": "2026-10-19"}])
    found = shifts(weekly, at("2026-10-19T09:00:00+02:00"), at("2026-11-02T09:00:00+01:00"))
    assert found == [
        Shift(at("2026-10-19T09:00:00+02:00"), at("2026-10-26T09:00:00+01:00"), ("ann",)),
        Shift(at("2026-10-26T09:00:00+01:00"), at("2026-11-02T09:00:00+01:00"), ("ben",)),
    ]


def test_a_wall_time_that_comes_twice_has_two_people_and_one_that_never_comes_is_an_hour_later() -> None:
    daily = schedule(layers=[{"people": ["ann", "ben"], "turn": "day", "handover": "02:30", "since": "2026-10-24"}])
    found = shifts(daily, at("2026-10-25T00:00:00+02:00"), at("2026-10-25T06:00:00+01:00"))
    assert [(s.people, (s.end - s.start) // MINUTE) for s in found] == [
        (("ann",), 150), (("ann", "ben"), 60), (("ben",), 210),
    ]  # fmt: skip
    assert instant(date(2027, 3, 28), time(2, 30), BERLIN) == at("2027-03-28T03:30:00+02:00")
    assert instant(date(2027, 3, 28), time(2, 30), BERLIN, last=True) == at("2027-03-28T03:30:00+02:00")


def test_a_later_layer_and_a_stand_in_go_before() -> None:
    nights = {"people": ["noor"], "hours": ["22:00", "06:00"], "days": ["mon", "tue", "wed", "thu", "fri"]}
    stand_in = {"who": "ben", "start": "2026-11-03T23:00:00+01:00", "end": "2026-11-04T01:00:00+01:00"}
    one = schedule(layers=[{"people": ["ann"]}, nights], overrides=[stand_in])
    found = shifts(one, at("2026-11-03T20:00:00+01:00"), at("2026-11-04T08:00:00+01:00"))
    assert [(s.people, (s.end - s.start) // MINUTE) for s in found] == [
        (("ann",), 120), (("noor",), 60), (("ben",), 120), (("noor",), 300), (("ann",), 120),
    ]  # fmt: skip


layers = st.fixed_dictionaries(
    {"people": st.lists(st.sampled_from(["ann", "ben", "cy"]), min_size=1, max_size=3)},
    optional={
        "turn": st.sampled_from(["day", "week"]),
        "every": st.integers(1, 3),
        "handover": st.sampled_from(["00:00", "02:30", "09:00", "23:45"]),
        "since": st.sampled_from(["2026-10-19", "2026-11-02", "2027-03-22"]),
        "days": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True),
        "hours": st.sampled_from([["09:00", "17:00"], ["22:00", "02:30"], ["02:30", "03:00"], ["00:00", "00:00"]]),
    },
)


def reference(one: Schedule, moment: int) -> set[str]:
    """Slow and obvious: walk through every turn and every day's hours near the moment."""
    zone = ZoneInfo(one.zone)

    def occurrences(day: date, wall: time) -> list[int]:
        found = []
        for hour in range(-26, 50):  # every half hour of UTC that could be it, as a wall clock shows it
            for half in (0, 30, 15, 45):
                utc = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour, minutes=half)
                local = utc.astimezone(zone)
                if local.date() == day and local.time() == wall:
                    found.append(round(utc.timestamp() * 1000))
        if not found:  # the clock jumps over it
            later = (datetime.combine(day, wall) + timedelta(hours=1)).time()
            return occurrences(day, later)
        return found

    for layer in reversed(one.layers):
        today = datetime.fromtimestamp(moment / 1000, zone).date()
        inside = False
        for day in (today - timedelta(1), today):
            begin, end = layer.hours or (time(0), time(0))
            until = day + timedelta(1) if end <= begin else day
            if WEEKDAYS[day.weekday()] in layer.days:
                inside |= min(occurrences(day, begin)) <= moment < max(occurrences(until, end))
        if not inside:
            continue
        days = layer.every * (7 if layer.turn == "week" else 1)
        found = set()
        for turn in range(2000):
            begins = layer.since + timedelta(turn * days)
            if turn and not today - timedelta(days + 2) < begins < today + timedelta(2):
                continue
            starts = min(occurrences(begins, layer.handover)) if turn else -1
            if starts <= moment < max(occurrences(begins + timedelta(days), layer.handover)):
                found.add(layer.people[turn % len(layer.people)])
        return found
    return set()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(layers, min_size=1, max_size=3),
    st.sampled_from(["2026-10-24T12:00:00+00:00", "2026-11-10T00:00:00+00:00", "2027-03-27T12:00:00+00:00"]),
    st.lists(st.integers(0, 36 * 60), min_size=1, max_size=6),
    st.sampled_from(["Europe/Berlin", "UTC", "Australia/Lord_Howe", "America/St_Johns"]),
)
def test_it_is_as_a_slow_and_obvious_reference_says(
    some: list[dict[str, Any]], start: str, minutes: list[int], zone: str
) -> None:
    if zone == "Australia/Lord_Howe":  # jumps by half an hour: the reference does not know where to
        start = "2026-11-10T00:00:00+00:00"
    one = schedule(layers=some, zone=zone)
    for minute in minutes:
        moment = at(start) + minute * MINUTE
        assert set(on_call(one, moment)) == reference(one, moment)
    found = shifts(one, at(start), at(start) + 3 * DAY)
    assert (found[0].start, found[-1].end) == (at(start), at(start) + 3 * DAY)
    assert all(low.end == high.start and low.people != high.people for low, high in pairwise(found))
    for shift in found:
        for moment in (shift.start, (shift.start + shift.end) // 2, shift.end - 1):
            assert on_call(one, moment) == shift.people


# --- pages ------------------------------------------------------------------------------------------------------------

POLICY = OnCallOptions.model_validate(
    {
        "people": [{"name": "ann", "channels": ["ann"]}, {"name": "ben", "channels": ["ben", "ben-sms"]}],
        "schedules": [{"name": "web", "layers": [{"people": ["ann"]}]}],
        "policies": [
            {"name": "all", "steps": [{"schedule": "web"}, {"person": "ben", "after": "10m"}], "repeat": 1,
             "pause": "5m"},
        ],
    }
)  # fmt: skip


async def told(outbox: Outbox, channel: str, now: int) -> list[str]:
    found = []
    while (message := await outbox.claim(channel, now, MINUTE)) is not None:
        found.append(message.reason)
        await outbox.settle(message.id, Sent("r"), now)
    return found


async def test_a_page_calls_who_is_on_call_and_the_next_one_unless_it_is_acknowledged() -> None:
    async with rows() as pipeline:
        pipeline.desk.calls = lambda ticket, now: calls(ticket, POLICY, now)
        outbox = Outbox(pipeline.desk)
        await pipeline.step([symptom(left=30 * MINUTE)], [], NOW)
        assert await told(outbox, "ann", NOW) == ["opened; ann is on call"]
        assert await told(outbox, "ben", NOW + 10 * MINUTE - 1) == []
        assert await told(outbox, "ben", NOW + 10 * MINUTE) == ["opened; ben is on call"]
        assert await told(outbox, "ben-sms", NOW + 10 * MINUTE) == ["opened; ben is on call"]
        assert await told(outbox, "ann", NOW + 15 * MINUTE) == ["opened; ann is on call"]
        await pipeline.act("INC-1", "ack", Viewer("ann"), now=NOW + 16 * MINUTE)
        assert [r for r in await told(outbox, "ben", NOW + DAY) if "on call" in r] == []


async def test_what_only_notifies_calls_nobody() -> None:
    async with rows() as pipeline:
        pipeline.desk.calls = lambda ticket, now: calls(ticket, POLICY, now)
        await pipeline.step([symptom(left=5 * 60 * MINUTE)], [], NOW)
        assert await told(Outbox(pipeline.desk), "ann", NOW + DAY) == []


def test_a_gap_and_a_person_whom_nothing_reaches_are_found() -> None:
    weekdays = {"people": ["ann"], "days": ["mon", "tue", "wed", "thu", "fri"]}
    options = OnCallOptions.model_validate(
        {
            "people": [{"name": "ann"}],
            "schedules": [{"name": "web", "layers": [weekdays]}],
            "policies": [{"name": "l2", "tiers": ["L2"], "steps": [{"schedule": "web"}]}],
        }
    )
    found = list(problems(options, at("2026-11-07T12:00:00+00:00")))
    assert found[0] == "ann has no channel: nothing reaches them"
    assert found[1] == "schedule web: nobody from 2026-11-07 12:00 UTC to 2026-11-09 00:00 UTC"
    assert "policy l2 ends in nobody: no step has anybody on call now" in found
    assert "no policy fits every ticket: add one without conditions at the end" in found
    assert list(problems(POLICY, NOW)) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"schedules": [{"name": "s", "layers": [{"people": ["zoe"]}]}]}, "schedule s: zoe is not among people"),
        ({"policies": [{"name": "p", "steps": [{"schedule": "s"}]}]}, "policy p: there is no schedule s"),
        ({"policies": [{"name": "p", "steps": [{}]}]}, "a step calls a schedule or a person, one of them"),
        ({"people": [{"name": "a"}, {"name": "a"}]}, "people: a is there twice"),
        ({"schedules": [{"name": "s", "zone": "Mars", "layers": [{"people": ["a"]}]}]}, "'Mars' is no time zone"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        OnCallOptions.model_validate(options)
