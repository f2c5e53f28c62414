"""What the deliverer needs of the outbox, which is a table of the desk."""

from __future__ import annotations

from typing import Protocol

from detector.nouns import Notification, Outcome


class Outbox(Protocol):
    """Messages owed, oldest first. A claim is a lease: it ends by itself when its holder dies, and then the same
    message, with the same idempotency key, is handed out again.

    Messages of one ``dedup_key`` are handed out in their order: none while an earlier one is neither sent nor dead.
    """

    async def claim(self, channel: str, now: int, lease_ms: int, *, together: bool = True) -> Notification | None:
        """The next message due for ``channel`` at ``now``, held for ``lease_ms``; ``attempts`` counts the claims before
        this one. None when nothing is due. ``together``: many calls of one person may come as one."""

    async def settle(self, id: int, outcome: Outcome, now: int) -> None:
        """Record what became of a claimed message."""

    async def next_due(self, channel: str) -> int | None:
        """When (ms) something is due next for ``channel``, leases of others included; None when nothing waits."""
