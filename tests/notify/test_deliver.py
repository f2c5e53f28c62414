"""The deliverer: isolated channels, at least once under one name, planned retries, an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from detector.clock import ManualClock
from detector.notify.channels import Limits, Receipt, Refused, Unavailable
from detector.notify.deliver import Deliverer
from detector.notify.messages import Attachment, Message
from detector.notify.retry import after
from detector.nouns import Dead, Notification, Retry, Ticket
from detector.telemetry import Telemetry
from tests.notify.memory import MemoryOutbox
from tests.notify.tickets import NOW, filling, notification

SECOND = 1000


@dataclass
class Scripted:
    """A channel that does what its script says, call by call: raise an exception, wait for an event, or take the
    message."""

    name: str
    script: list[Exception | asyncio.Event] = field(default_factory=list)
    pictures: bool = False
    timeout: int = 10_000
    schedule: tuple[int, ...] = (5 * SECOND, 300 * SECOND)
    taken: list[Message] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    closed: bool = False

    @property
    def limits(self) -> Limits:
        return Limits(pictures=self.pictures)

    async def deliver(self, message: Message) -> Receipt:
        self.tried.append(message.idempotency_key)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            await step.wait()
        self.taken.append(message)
        return Receipt(f"receipt-{len(self.taken)}")

    async def close(self) -> None:
        self.closed = True


@dataclass
class House:
    clock: ManualClock
    outbox: MemoryOutbox
    telemetry: Telemetry
    deliverer: Deliverer

    def value(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0

    async def move(self, ms: int) -> None:
        self.clock.set(self.clock.now() + ms)
        await settled()


async def settled() -> None:
    """Let every task run until it waits for something."""
    for _ in range(60):
        await asyncio.sleep(0)


@asynccontextmanager
async def house(*channels: Scripted, owed: list[Notification] | None = None, **more: Any) -> AsyncIterator[House]:
    clock, outbox, telemetry = ManualClock(NOW), MemoryOutbox(), Telemetry(CollectorRegistry())
    outbox.owe(*(owed or []))
    deliverer = Deliverer(outbox, channels, clock, telemetry, "https://detector.example.org", UTC, **more)
    task = asyncio.create_task(deliverer.run())
    await settled()
    try:
        yield House(clock, outbox, telemetry, deliverer)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def owed(channel: str = "ops", number: int = 1, **changes: Any) -> Notification:
    changes.setdefault("dedup_key", f"INC-{number}/{channel}")
    return notification(filling(), id=number, channel=channel, idempotency_key=f"INC-{number}/{channel}/1", **changes)


async def test_what_is_owed_arrives_in_order_and_is_settled_with_its_receipt() -> None:
    ops = Scripted("ops")
    async with house(ops, owed=[owed(number=n) for n in (1, 2, 3)]) as h:
        assert ops.tried == ["INC-1/ops/1", "INC-2/ops/1", "INC-3/ops/1"]
        assert [row.state for row in h.outbox.rows.values()] == ["sent"] * 3
        assert h.outbox.rows[1].receipt == "receipt-1"
        assert h.value("detector_notifications_total", channel="ops", result="sent") == 3
        assert h.value("detector_notification_latency_seconds_sum") == pytest.approx(1.2)


async def test_a_commit_wakes_the_channel_without_any_time_passing() -> None:
    ops = Scripted("ops")
    async with house(ops) as h:
        h.outbox.owe(owed())
        await settled()
        assert ops.taken == []
        h.deliverer.wake()
        await settled()
        assert len(ops.taken) == 1


async def test_nothing_is_asked_while_nothing_is_due() -> None:
    async with house(Scripted("ops"), owed=[owed(not_before=NOW + 60_000)]) as h:
        asked = h.outbox.claims
        await h.move(30_000)
        assert h.outbox.claims == asked
        await h.move(31_000)
        assert h.outbox.rows[1].state == "sent"


async def test_a_stuck_channel_delays_no_other() -> None:
    gate = asyncio.Event()
    slow, fast = Scripted("slow", [gate]), Scripted("fast")
    async with house(slow, fast, owed=[owed("slow", 1), owed("fast", 2), owed("fast", 3)]):
        assert len(fast.taken) == 2
        assert slow.taken == []
        gate.set()
        await settled()
        assert len(slow.taken) == 1


async def test_a_failed_delivery_is_tried_again_as_planned_under_the_same_name() -> None:
    ops = Scripted("ops", [Unavailable("unreachable"), Unavailable("timeout")])
    async with house(ops, owed=[owed()]) as h:
        assert h.deliverer.failing == {"ops": (NOW, "unreachable")}
        first = h.outbox.rows[1].due - NOW
        assert 5 * SECOND <= first <= 6 * SECOND
        await h.move(first - 1)
        assert len(ops.tried) == 1
        await h.move(1)
        assert len(ops.tried) == 2
        second = h.outbox.rows[1].due - h.clock.now()
        assert 300 * SECOND <= second <= 360 * SECOND
        await h.move(second)
        assert ops.tried == ["INC-1/ops/1"] * 3
        assert h.deliverer.failing == {}
        assert h.outbox.rows[1].state == "sent"
        assert h.value("detector_notifications_total", channel="ops", result="retried") == 2
        assert h.value("detector_notification_failures_total", channel="ops", reason="timeout") == 1


async def test_a_receiver_that_asks_to_wait_is_given_its_time() -> None:
    ops = Scripted("ops", [Unavailable("rate-limited", retry_after=120 * SECOND)])
    async with house(ops, owed=[owed()]) as h:
        assert h.outbox.rows[1].due == NOW + 120 * SECOND


async def test_a_refusal_is_a_dead_letter_at_once() -> None:
    ops = Scripted("ops", [Refused("rejected", "answered 400")])
    async with house(ops, owed=[owed()]) as h:
        assert (h.outbox.rows[1].state, h.outbox.rows[1].reason) == ("dead", "rejected")
        assert h.value("detector_notifications_total", channel="ops", result="dead") == 1
        assert h.value("detector_notification_failures_total", channel="ops", reason="rejected") == 1
        await h.move(86_400_000)
        assert len(ops.tried) == 1


async def test_after_the_last_retry_it_is_given_up_and_the_next_message_goes_on() -> None:
    ops = Scripted("ops", [Unavailable("server-error")] * 3)
    async with house(ops, owed=[owed()]) as h:
        for _ in range(2):
            await h.move(400 * SECOND)
        assert (h.outbox.rows[1].state, h.outbox.rows[1].reason) == ("dead", "gave-up")
        h.outbox.owe(owed(number=2))
        h.deliverer.wake(["ops", "unknown"])
        await settled()
        assert h.outbox.rows[2].state == "sent"


async def test_a_crash_between_sending_and_settling_repeats_the_same_name() -> None:
    ops = Scripted("ops")
    async with house(ops) as h:
        h.outbox.owe(owed())
        claim = h.outbox.claim

        async def claim_then_crash(channel: str, now: int, lease_ms: int, **more: bool) -> Notification | None:
            found = await claim(channel, now, lease_ms, **more)
            h.outbox.failures.append(OSError("disk full"))  # the settle that follows fails
            h.outbox.claim = claim  # type: ignore[method-assign]
            return found

        h.outbox.claim = claim_then_crash  # type: ignore[method-assign]
        h.deliverer.wake()
        await settled()
        assert h.outbox.rows[1].state == "pending"
        await h.move(30 * SECOND)
        assert len(ops.tried) == 1, "the lease still holds"
        await h.move(60 * SECOND)
        assert ops.tried == ["INC-1/ops/1"] * 2
        assert h.outbox.rows[1].state == "sent"


async def test_an_outbox_that_fails_is_tried_again_and_counted() -> None:
    ops = Scripted("ops")
    async with house(ops) as h:
        h.outbox.owe(owed())
        h.outbox.failures = [OSError("disk full"), OSError("disk full")]
        h.deliverer.wake()
        await settled()
        await h.move(5 * SECOND)
        assert ops.taken == []
        await h.move(5 * SECOND)
        assert len(ops.taken) == 1
        assert h.value("detector_notification_failures_total", channel="ops", reason="crashed") == 2


async def test_a_defect_in_a_channel_is_a_failure_of_that_channel_only() -> None:
    bad, good = Scripted("bad", [ZeroDivisionError("defect")]), Scripted("good")
    async with house(bad, good, owed=[owed("bad", 1), owed("good", 2)]) as h:
        assert len(good.taken) == 1
        assert h.outbox.rows[1].reason == "crashed"
        await h.move(10 * SECOND)
        assert len(bad.taken) == 1


async def test_a_resolve_never_overtakes_the_trigger_it_resolves() -> None:
    ops = Scripted("ops", [Unavailable("unreachable")])
    opened = owed(dedup_key="thread")
    resolved = owed(number=2, dedup_key="thread", event="resolved")
    async with house(ops, owed=[opened, resolved]) as h:
        assert ops.taken == []
        await h.move(10 * SECOND)
        assert [message.event for message in ops.taken] == ["opened", "resolved"]


# --- pictures
# -----------------------------------------------------------------------------------------------------------

PICTURE = Attachment("chart.png", "image/png", b"png", "falls")


async def test_a_picture_goes_where_pictures_go_and_only_with_news() -> None:
    async def draw(ticket: Ticket, now: int) -> Attachment | None:
        return PICTURE

    with_, without = Scripted("with", pictures=True), Scripted("without")
    messages = [owed("with", 1), owed("with", 2, event="resolved"), owed("without", 3)]
    async with house(with_, without, owed=messages, illustrate=draw):
        assert [message.attachments for message in with_.taken] == [(PICTURE,), ()]
        assert without.taken[0].attachments == ()


async def test_no_picture_holds_up_a_page() -> None:
    async def broken(ticket: Ticket, now: int) -> Attachment | None:
        raise RuntimeError("the drawing process died")

    async def nothing(ticket: Ticket, now: int) -> Attachment | None:
        return None

    for draw in (broken, nothing):
        ops = Scripted("ops", pictures=True)
        async with house(ops, owed=[owed()], illustrate=draw):
            assert ops.taken[0].attachments == ()


# --- life
# ---------------------------------------------------------------------------------------------------------------


async def test_draining_sends_what_is_due_and_leaves_what_is_not() -> None:
    ops = Scripted("ops")
    async with house(ops) as h:
        h.outbox.owe(*(owed(number=n) for n in range(1, 20)), owed(number=20, not_before=NOW + 60_000))
        assert await h.deliverer.drain(NOW + 10_000) == 0
        assert len(ops.taken) == 19
        assert h.outbox.rows[20].state == "pending"
        await settled()
        assert ops.closed


async def test_draining_ends_at_the_deadline_and_says_what_was_cut_off() -> None:
    slow, fast = Scripted("slow", [asyncio.Event()]), Scripted("fast")
    async with house(slow, fast, owed=[owed("slow", 1), owed("fast", 2)]) as h:
        draining = asyncio.create_task(h.deliverer.drain(NOW + 5_000))
        await settled()
        assert not draining.done()
        await h.move(5_000)
        assert await draining == 1
        assert h.outbox.rows[1].state == "pending", "its lease ends, then it is sent under the same name"


async def test_a_reload_keeps_unchanged_channels_ends_removed_ones_and_starts_new_ones() -> None:
    gate = asyncio.Event()
    kept, removed, new = Scripted("kept", [gate]), Scripted("removed"), Scripted("new")
    async with house(kept, removed, owed=[owed("kept", 1), owed("new", 2)]) as h:
        await h.deliverer.replace([kept, new], "https://elsewhere.example.org", UTC)
        await settled()
        assert removed.closed
        assert not kept.closed
        assert new.taken[0].link.startswith("https://elsewhere")
        gate.set()
        await settled()
        assert len(kept.taken) == 1, "its delivery went on through the reload"
        assert set(h.deliverer.channels) == {"kept", "new"}


async def test_a_trial_goes_past_the_outbox_and_its_failure_is_the_callers() -> None:
    ops, bad = Scripted("ops"), Scripted("bad", [Refused("unauthorized")])
    async with house(ops, bad) as h:
        assert (await h.deliverer.send_test("ops")).id == "receipt-1"
        assert ops.taken[0].event == "test"
        with pytest.raises(Refused, match="unauthorized"):
            await h.deliverer.send_test("bad")
        with pytest.raises(LookupError, match="no channel 'pager'; there are bad, ops"):
            await h.deliverer.send_test("pager")


async def test_each_delivery_is_told() -> None:
    told: list[tuple[str, int]] = []

    def sent(notification: Notification, at: int) -> None:
        told.append((notification.idempotency_key, at))

    async with house(Scripted("ops"), owed=[owed()], sent=sent):
        assert told == [("INC-1/ops/1", NOW)]


# --- the plan
# -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(0, 5), st.none() | st.integers(0, 10**12))
def test_the_plan_is_the_same_however_often_it_is_made(identity: str, attempts: int, wait: int | None) -> None:
    schedule = (1000, 2000, 4000)
    plan: Callable[[], Retry | Dead] = lambda: after(  # type: ignore[assignment,return-value]  # noqa: E731
        Unavailable("timeout", retry_after=wait), attempts, identity, schedule, NOW
    )
    outcome = plan()
    assert outcome == plan()
    if attempts >= 3:
        assert outcome == Dead("gave-up")
        return
    assert isinstance(outcome, Retry)
    left = outcome.at - NOW
    assert left >= schedule[attempts]
    assert left >= min(wait or 0, 86_400_000)
    assert left <= 108_000_000


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    outcomes = {after(Unavailable("timeout"), 0, f"INC-{n}/ops/1", (60_000,), NOW) for n in range(50)}
    assert len(outcomes) > 45


async def test_an_end_that_comes_at_the_moment_of_an_answer_is_an_end() -> None:
    """Python 3.11's wait_for returns the answer then, and forgets that it was cancelled."""

    class Answering(Scripted):
        async def deliver(self, message: Message) -> Receipt:
            asyncio.get_running_loop().call_soon(running[0].cancel)
            return await super().deliver(message)

    ops, outbox, running = Answering("ops"), MemoryOutbox(), list[asyncio.Task[None]]()
    outbox.owe(owed(), owed(number=2))
    telemetry = Telemetry(CollectorRegistry())
    deliverer = Deliverer(outbox, [ops], ManualClock(NOW), telemetry, "https://detector.example.org", UTC)
    running.append(asyncio.create_task(deliverer.run()))
    async with asyncio.timeout(10):
        await asyncio.wait(running)
    assert (ops.tried, ops.closed) == (["INC-1/ops/1"], True)


async def test_what_is_wrong_with_a_recipient_is_not_the_channels_trouble() -> None:
    gone = Refused("gone")
    gone.theirs = True
    ops = Scripted("ops", script=[gone])
    async with house(ops, owed=[owed()]) as h:
        assert h.outbox.rows[1].state == "dead"
        assert h.deliverer.failing == {}
