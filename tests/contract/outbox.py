"""What the deliverer relies on in an outbox, as one battery: subclass it and give it an outbox and a way to owe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from detector.notify.outbox import Outbox
from detector.nouns import Dead, Retry, Sent

NOW = 1_795_000_000_000
LEASE = 60_000

Owe = Callable[[str, str, int], Awaitable[None]]
"""``await owe(channel, thread, not_before)``: one more message of ``thread`` (a ticket) is owed to ``channel``."""


class OutboxBattery:
    """Needs fixtures ``outbox`` and ``owe``."""

    async def test_nothing_owed_is_nothing_due(self, outbox: Outbox) -> None:
        assert await outbox.claim("ops", NOW, LEASE) is None
        assert await outbox.next_due("ops") is None

    async def test_a_claim_is_a_lease(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        first = await outbox.claim("ops", NOW, LEASE)
        assert first is not None
        assert first.attempts == 0
        assert await outbox.claim("ops", NOW + LEASE - 1, LEASE) is None
        assert await outbox.next_due("ops") == NOW + LEASE
        again = await outbox.claim("ops", NOW + LEASE, LEASE)
        assert again is not None
        assert again.id == first.id
        assert again.idempotency_key == first.idempotency_key
        assert again.attempts == 1

    async def test_not_before_is_kept(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW + 5000)
        assert await outbox.claim("ops", NOW + 4999, LEASE) is None
        assert await outbox.next_due("ops") == NOW + 5000
        assert await outbox.claim("ops", NOW + 5000, LEASE) is not None

    async def test_channels_do_not_see_each_other(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        assert await outbox.claim("pager", NOW, LEASE) is None
        assert await outbox.next_due("pager") is None

    async def test_what_was_sent_is_not_handed_out_again(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        claimed = await outbox.claim("ops", NOW, LEASE)
        assert claimed is not None
        await outbox.settle(claimed.id, Sent("receipt"), NOW + 10)
        assert await outbox.claim("ops", NOW + 10 * LEASE, LEASE) is None
        assert await outbox.next_due("ops") is None

    async def test_a_retry_comes_when_it_was_planned(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        claimed = await outbox.claim("ops", NOW, LEASE)
        assert claimed is not None
        await outbox.settle(claimed.id, Retry(NOW + 7000, "timeout"), NOW + 10)
        assert await outbox.next_due("ops") == NOW + 7000
        assert await outbox.claim("ops", NOW + 6999, LEASE) is None
        again = await outbox.claim("ops", NOW + 7000, LEASE)
        assert again is not None
        assert (again.id, again.attempts) == (claimed.id, 1)

    async def test_the_dead_stay_dead_and_hold_up_nobody(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        await owe("ops", "a", NOW)
        first = await outbox.claim("ops", NOW, LEASE)
        assert first is not None
        await outbox.settle(first.id, Dead("rejected"), NOW)
        second = await outbox.claim("ops", NOW, LEASE)
        assert second is not None
        assert second.id != first.id

    async def test_messages_of_one_thread_keep_their_order(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        await owe("ops", "a", NOW)
        await owe("ops", "b", NOW)
        first = await outbox.claim("ops", NOW, LEASE)
        assert first is not None
        await outbox.settle(first.id, Retry(NOW + 60_000, "timeout"), NOW)
        other = await outbox.claim("ops", NOW, LEASE)
        assert other is not None
        assert other.dedup_key != first.dedup_key, "the thread waits for its first message, other threads do not"
        await outbox.settle(other.id, Sent(), NOW)
        assert await outbox.claim("ops", NOW, LEASE) is None
        again = await outbox.claim("ops", NOW + 60_000, LEASE)
        assert again is not None
        assert again.id == first.id

    async def test_a_threads_first_receipt_is_handed_to_its_later_messages(self, outbox: Outbox, owe: Owe) -> None:
        await owe("ops", "a", NOW)
        first = await outbox.claim("ops", NOW, LEASE)
        assert first is not None
        assert first.thread == ""
        await outbox.settle(first.id, Sent("receipt-1"), NOW)
        await owe("ops", "a", NOW)
        second = await outbox.claim("ops", NOW, LEASE)
        assert second is not None
        assert second.thread == "receipt-1"
        assert second.dedup_key == first.dedup_key
        assert second.idempotency_key != first.idempotency_key
