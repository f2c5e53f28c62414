"""An outbox in memory, for tests that are not about databases: it passes the same battery as the real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from detector.nouns import Dead, Notification, Outcome, Retry, Sent


@dataclass
class Row:
    notification: Notification
    due: int
    state: str = "pending"
    claimed_until: int = 0
    reason: str = ""
    receipt: str = ""


@dataclass
class MemoryOutbox:
    """Rows by id, in order of arrival. ``failures``: exceptions that the next calls raise, one each."""

    rows: dict[int, Row] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    claims: int = 0

    def owe(self, *notifications: Notification) -> None:
        for notification in notifications:
            self.rows[notification.id] = Row(notification, notification.not_before)

    async def claim(self, channel: str, now: int, lease_ms: int, *, together: bool = True) -> Notification | None:
        self.claims += 1
        self._fail()
        for row in self._waiting(channel):
            if row.due <= now and row.claimed_until <= now:
                claimed = row.notification
                row.claimed_until = now + lease_ms
                row.notification = replace(claimed, attempts=claimed.attempts + 1)
                return replace(claimed, thread=self._receipt(claimed.dedup_key))
        return None

    async def settle(self, id: int, outcome: Outcome, now: int) -> None:
        self._fail()
        row = self.rows[id]
        row.claimed_until = 0
        match outcome:
            case Sent(receipt):
                row.state, row.receipt = "sent", receipt
            case Retry(at, reason):
                row.due, row.reason = at, reason
            case Dead(reason):
                row.state, row.reason = "dead", reason

    async def next_due(self, channel: str) -> int | None:
        self._fail()
        return min((max(row.due, row.claimed_until) for row in self._waiting(channel)), default=None)

    def _waiting(self, channel: str) -> list[Row]:
        """The first unsettled row of every thread."""
        firsts: dict[str, Row] = {}
        for row in self.rows.values():
            if row.notification.channel == channel and row.state == "pending":
                firsts.setdefault(row.notification.dedup_key, row)
        return list(firsts.values())

    def _receipt(self, thread: str) -> str:
        sent = (row for row in self.rows.values() if row.notification.dedup_key == thread and row.state == "sent")
        return next((row.receipt for row in sent), "")

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
