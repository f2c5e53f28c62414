"""A clock warns when the tier's backlog will not let it keep its target."""

from __future__ import annotations

from detector.notify.messages import sentence
from detector.nouns import SYSTEM, ClockState, Ticket
from detector.tickets.backlog import LEAST_DONE, SPAN_MS, expected_at, warnings
from tests.rows import DAY, HOUR, NOW, rows, symptom


def waiting(key: str, due: int, *, warned: bool = False, tier: str = "L1") -> Ticket:
    clock = ClockState("resolution", due, "running", warned=warned)
    return Ticket(key, 1, "incident", "triaged", "detected", "s", NOW, "page", tier=tier, clocks=(clock,))  # type: ignore[arg-type]


def test_what_is_due_first_is_done_first_at_the_pace_of_the_week() -> None:
    done = {"L1": 168}  # one an hour
    tickets = [
        waiting("c", NOW + 9 * HOUR),
        waiting("a", NOW + HOUR),
        waiting("b", NOW + 2 * HOUR),
        waiting("d", NOW, tier="L2"),
    ]
    assert expected_at(tickets, done, NOW) == {"a": NOW + HOUR, "b": NOW + 2 * HOUR, "c": NOW + 3 * HOUR}  # type: ignore[arg-type]
    assert warnings(tickets, done, NOW) == []  # type: ignore[arg-type]


def test_what_will_be_late_is_said_once_and_a_pace_of_a_few_says_nothing() -> None:
    tickets = [waiting(f"k{n}", NOW + 5 * HOUR + n) for n in range(8)]
    late = warnings(tickets, {"L1": 168}, NOW)
    assert [change.key for change in late] == ["k5", "k6", "k7"]
    assert warnings([waiting("x", NOW + 1, warned=True)], {"L1": 168}, NOW) == []
    assert warnings(tickets, {"L1": LEAST_DONE - 1}, NOW) == []
    assert SPAN_MS == 7 * DAY


async def test_a_backlog_warns_long_before_three_quarters_are_gone() -> None:
    async with rows() as pipeline:
        at = NOW - 6 * DAY
        for number in range(LEAST_DONE):
            await pipeline.step([symptom(f"a{number}", service=f"a{number}", onset=at)], [], at)
            await pipeline.act(f"INC-{number + 1}", "resolve", SYSTEM, now=at + 1, force=True)
        await pipeline.step([symptom(f"b{n}", service=f"b{n}") for n in range(3)], [], NOW)
        await pipeline.tick(NOW + 1)
        told = [e for e in await pipeline.desk.timeline("INC-13", SYSTEM) if e.what == "clock-warned"]
        assert len(told) == 1
        assert "the backlog will take until" in sentence(told[0])
        await pipeline.tick(NOW + 2)
        assert len([e for e in await pipeline.desk.timeline("INC-13", SYSTEM) if e.what == "clock-warned"]) == 1
