"""Many calls of one person within a minute are one message; nothing is sent twice, and nothing never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from detector.nouns import Call, Dead, Notification, Retry, Sent, Ticket, Viewer
from detector.pipeline import Pipeline
from detector.tickets import schema
from detector.tickets.database import address
from detector.tickets.outbox import MANY_MS, Memo, Outbox
from tests.rows import HOUR, MINUTE, NOW, rows, symptom

LEASE = MINUTE


class World:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.outbox = Outbox(pipeline.desk)
        pipeline.desk.calls = self.calls
        self.now = NOW
        self.opened = 0

    def calls(self, ticket: Ticket, now: int, who: str = "") -> Sequence[Call]:
        return [Call("phone", "ann")]

    async def open(self, count: int = 1) -> None:
        """Incidents that page, all at once."""
        numbers = range(self.opened, self.opened + count)
        self.opened += count
        found = [symptom(f"d{n}", service=f"s{n}", onset=self.now, left=30 * MINUTE) for n in numbers]
        await self.pipeline.step(found, [], self.now)

    async def claim(self, together: bool = True) -> Notification | None:
        return await self.outbox.claim("phone", self.now, LEASE, together=together)

    async def deliver(self) -> list[list[str]]:
        """Everything that is due: which tickets each message is about."""
        found = []
        while (message := await self.claim()) is not None:
            found.append(keys(message))
            await self.outbox.settle(message.id, Sent("r"), self.now)
        return found

    async def rows(self) -> list[Any]:
        async with self.pipeline.desk.engine.connect() as connection:
            statement = select(schema.outbox).where(schema.outbox.c.channel == "phone").order_by(schema.outbox.c.id)
            return list((await connection.execute(statement)).all())


def keys(message: Notification) -> list[str]:
    return [ticket.key for ticket in (message.ticket, *message.also)]


@asynccontextmanager
async def world(url: str | None = None) -> AsyncIterator[World]:
    async with rows(url=url) as pipeline:
        yield World(pipeline)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_five_at_once_are_one_message_about_all_and_each_timeline_says_so(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres") if database == "postgresql" else address(tmp_path / "desk.db")
    async with world(url) as w:
        await w.open(5)
        message = await w.claim()
        assert message is not None
        assert keys(message) == [f"INC-{n}" for n in range(1, 6)]
        assert (message.recipient, message.dedup_key) == ("ann", "detector/together/phone")
        assert await w.claim() is None
        await w.outbox.settle(message.id, Sent("one"), w.now)
        assert {(row.state, row.receipt) for row in await w.rows()} == {("sent", "one")}
        for n in range(1, 6):
            timeline = await w.pipeline.desk.timeline(f"INC-{n}", Viewer("ann"))
            assert [e.data["person"] for e in timeline if e.what == "delivered"] == ["ann"]
        assert await w.outbox.next_due("phone") is None


async def test_four_are_four() -> None:
    async with world() as w:
        await w.open(4)
        assert await w.deliver() == [["INC-1"], ["INC-2"], ["INC-3"], ["INC-4"]]


async def test_after_four_in_a_minute_the_rest_comes_together_when_the_minute_is_over() -> None:
    async with world() as w:
        for _ in range(4):
            await w.open()
            assert len(await w.deliver()) == 1
            w.now += 5_000
        await w.open(2)
        assert await w.deliver() == []
        assert await w.outbox.next_due("phone") == NOW + MANY_MS, "a minute after the first of the four"
        w.now = NOW + MANY_MS - 1
        assert await w.deliver() == []
        w.now = NOW + MANY_MS
        assert await w.deliver() == [["INC-5", "INC-6"]]


async def test_a_channel_that_keeps_incidents_apart_gets_each_by_itself() -> None:
    async with world() as w:
        await w.open(6)
        found = []
        while (message := await w.claim(together=False)) is not None:
            found.append(keys(message))
            await w.outbox.settle(message.id, Sent(), w.now)
        assert found == [[f"INC-{n}"] for n in range(1, 7)]


async def test_who_dies_holding_a_bundle_loses_it_and_it_is_handed_out_again_by_the_same_name() -> None:
    async with world() as w:
        await w.open(5)
        first = await w.claim()
        w.now += LEASE
        again = await w.claim()
        assert first is not None
        assert again is not None
        assert (again.idempotency_key, keys(again), again.attempts) == (first.idempotency_key, keys(first), 1)


async def test_what_fails_is_tried_again_together_and_what_was_taken_meanwhile_is_left_out() -> None:
    async with world() as w:
        await w.open(6)
        first = await w.claim()
        assert first is not None
        await w.pipeline.act("INC-1", "ack", Viewer("ann"), now=w.now)
        await w.outbox.settle(first.id, Retry(w.now + 7_000, "timeout"), w.now)
        w.now += 7_000
        again = await w.claim()
        assert again is not None
        assert keys(again) == [f"INC-{n}" for n in range(2, 7)]
        assert again.idempotency_key != first.idempotency_key, "another message: nobody may drop it as seen"
        await w.outbox.settle(again.id, Dead("rejected"), w.now)
        assert [row.state for row in await w.rows()] == ["cancelled", *["dead"] * 5]


async def test_more_than_twenty_are_several() -> None:
    async with world() as w:
        await w.open(45)
        found = await w.deliver()
        assert [len(one) for one in found] == [20, 20, 5]
        assert len({key for one in found for key in one}) == 45


async def test_a_memo_is_written_once_ever_and_is_about_no_ticket() -> None:
    async with world() as w:
        memo = Memo("shift/web/1/ann", "ann", ("phone",), "Shift is over", "1 opened")
        assert await w.outbox.write([memo], w.now) == ["phone"]
        await w.outbox.write([memo], w.now + 1)
        message = await w.claim()
        assert message is not None
        assert (message.memo, message.urgency, message.event) == (("Shift is over", "1 opened"), "notify", "report")
        await w.outbox.settle(message.id, Sent("r"), w.now)
        assert await w.claim() is None


steps = st.one_of(
    st.tuples(st.just("open"), st.integers(1, 7)),
    st.tuples(st.just("deliver"), st.sampled_from(["sent", "sent", "retry", "dead", "crash"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 4_000, 20_000, MINUTE, 5 * MINUTE])),
    st.tuples(st.just("ack"), st.integers(1, 20)),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
async def test_whatever_happens_each_call_is_told_once_or_void(history: list[tuple[Any, ...]]) -> None:
    async with world() as w:
        told: list[tuple[int, list[str]]] = []
        taken: set[str] = set()

        async def deliver(outcome: str) -> bool:
            message = await w.claim()
            if message is None:
                return False
            assert not taken & set(keys(message)), "nobody is called for what somebody has"
            match outcome:
                case "sent":
                    told.append((w.now, keys(message)))
                    await w.outbox.settle(message.id, Sent("r"), w.now)
                case "retry":
                    await w.outbox.settle(message.id, Retry(w.now + 5_000, "timeout"), w.now)
                case "dead":
                    await w.outbox.settle(message.id, Dead("rejected"), w.now)
                    told.append((-HOUR, keys(message)))
            return True

        for step in history:
            match step:
                case ("open", count):
                    await w.open(count)
                case ("deliver", outcome):
                    await deliver(outcome)
                case ("wait", ms):
                    w.now += ms
                case ("ack", n) if n <= w.opened and f"INC-{n}" not in taken:
                    await w.pipeline.act(f"INC-{n}", "ack", Viewer("ann"), now=w.now)
                    taken.add(f"INC-{n}")
        for _ in range(200):
            if not await deliver("sent"):
                due = await w.outbox.next_due("phone")
                if due is None:
                    break
                w.now = max(w.now, due)
        states = [row.state for row in await w.rows()]
        assert set(states) <= {"sent", "dead", "cancelled"}, "nothing waits for ever"
        counted = [key for _, some in told for key in some]
        assert len(counted) == len(set(counted)), "nothing is told twice"
        assert len(counted) == sum(state != "cancelled" for state in states), "and nothing is forgotten"
        times = [at for at, _ in told if at > 0]
        assert all(other - one >= MANY_MS for one, other in zip(times, times[4:], strict=False)), (
            "at most four a minute"
        )
