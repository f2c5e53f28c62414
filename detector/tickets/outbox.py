"""Messages owed: a table. A claim is a conditional update with a lease, so that whoever dies holding one loses it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, or_, select, update

from detector.nouns import SYSTEM, Dead, Notification, Outcome, Retry, Sent, Ticket
from detector.tickets import schema
from detector.tickets.audience import HOOK, MAIL
from detector.tickets.commit import PREFIX
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk
from detector.tickets.lifecycle import ENDED

_OPEN = ("pending", "claimed")
_NOTHING = Ticket("", 0, "incident", "closed", "report", "", 0, "shadow")
"""What a letter is about that is about no ticket."""


class Outbox:
    """Messages are handed out oldest first, those of one thread strictly in their order."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def claim(self, channel: str, now: int, lease_ms: int) -> Notification | None:
        """The next message due for ``channel``, held until ``now + lease_ms``; None when nothing is due."""
        o, earlier = schema.outbox, schema.outbox.alias("earlier")
        blocked = exists().where(
            earlier.c.dedup_key == o.c.dedup_key, earlier.c.id < o.c.id, earlier.c.state.in_(_OPEN)
        )
        statement = (
            select(o).where(o.c.channel == channel, _due(now), ~blocked).order_by(o.c.not_before, o.c.id).limit(1)
        )

        def take(connection: Connection) -> tuple[Any, str] | None:
            while (row := connection.execute(statement).first()) is not None:
                mine = update(o).where(o.c.id == row.id, o.c.state == row.state, o.c.attempts == row.attempts)
                if row.urgency == "page" and _is_void(connection, row):
                    # Its holder died with it, and meanwhile somebody took the ticket: nobody is woken for it any more.
                    connection.execute(mine.values(state="cancelled", settled_at=now, claimed_until=None))
                    continue
                claimed = connection.execute(
                    mine.values(state="claimed", claimed_until=now + lease_ms, attempts=row.attempts + 1)
                )
                return (row, _receipt(connection, row.dedup_key, row.id)) if claimed.rowcount == 1 else None
            return None

        taken = await self._desk.transact(take)
        if taken is None:
            return None
        row, thread = taken
        about_none = row.ticket_id is None
        ticket = _NOTHING if about_none else await self._desk.ticket(f"{PREFIX}{row.ticket_id}", SYSTEM)
        assert ticket is not None, "a message belongs to a ticket"
        return Notification(
            id=row.id, ticket=ticket, channel=channel, event=row.event, urgency=row.urgency, reason=row.reason,
            dedup_key=row.dedup_key, idempotency_key=row.idempotency_key, created_at=row.created_at,
            not_before=row.not_before, attempts=row.attempts, thread=thread, recipient=row.recipient, text=row.doc,
        )  # fmt: skip

    async def settle(self, id: int, outcome: Outcome, now: int) -> None:
        """What became of a claimed message; the end of it is a fact on the ticket's timeline."""
        o = schema.outbox
        values: dict[str, Any]
        match outcome:
            case Sent(receipt=receipt):
                values = {"state": "sent", "receipt": receipt, "settled_at": now, "claimed_until": None}
            case Retry(at=at):
                values = {"state": "pending", "not_before": at, "claimed_until": None}
            case Dead():
                values = {"state": "dead", "settled_at": now, "claimed_until": None}

        def record(connection: Connection) -> None:
            row = connection.execute(select(o).where(o.c.id == id)).one()
            void = isinstance(outcome, Retry) and row.urgency == "page" and _is_void(connection, row)
            left = {"state": "cancelled", "settled_at": now, "claimed_until": None} if void else values
            connection.execute(update(o).where(o.c.id == id).values(**left))
            # What follows the timeline must not lengthen it; subscribers are too many, and nobody's business there.
            hidden = row.ticket_id is None or row.channel in (MAIL, HOOK) or row.event == "change"
            if not isinstance(outcome, Retry) and not hidden:
                connection.execute(insert(schema.timeline).values(**_fact(row, outcome, now)))

        await self._desk.transact(record)

    async def replay(self, channel: str, since: int, now: int) -> int:
        """Hand the changes since ``since`` (ms) to a channel that follows the desk once more, under the same names;
        how many messages that are. Nobody is paged or written to again."""
        o = schema.outbox
        again = (
            update(o)
            .where(o.c.channel == channel, o.c.event == "change", o.c.created_at >= since)
            .where(o.c.state.in_(("sent", "dead", "cancelled")))
            .values(state="pending", not_before=now, attempts=0, settled_at=None, receipt="")
        )
        return await self._desk.transact(lambda connection: connection.execute(again).rowcount)

    async def next_due(self, channel: str) -> int | None:
        """When (ms) to look again: a message is due then, or somebody's lease ends."""
        o = schema.outbox
        earlier = schema.outbox.alias("earlier")
        blocked = exists().where(
            earlier.c.dedup_key == o.c.dedup_key, earlier.c.id < o.c.id, earlier.c.state.in_(_OPEN)
        )
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                pending = await connection.execute(
                    select(func.min(o.c.not_before)).where(o.c.channel == channel, o.c.state == "pending", ~blocked)
                )
                claimed = await connection.execute(
                    select(func.min(o.c.claimed_until)).where(o.c.channel == channel, o.c.state == "claimed")
                )
                return min((at for at in (pending.scalar(), claimed.scalar()) if at is not None), default=None)

    async def waiting(self) -> tuple[int, int | None]:
        """How many messages wait, and since when (ms) the oldest does."""
        o = schema.outbox
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                statement = select(func.count(), func.min(o.c.created_at)).where(o.c.state.in_(_OPEN))
                count, oldest = (await connection.execute(statement)).one()
        return count, oldest


def _receipt(connection: Connection, dedup_key: str, before: int) -> str:
    o = schema.outbox
    statement = (
        select(o.c.receipt)
        .where(o.c.dedup_key == dedup_key, o.c.id < before, o.c.state == "sent", o.c.receipt != "")
        .order_by(o.c.id)
        .limit(1)
    )
    return connection.execute(statement).scalar() or ""


def _is_void(connection: Connection, row: Any) -> bool:
    """Whether the ticket ended, nobody is to be told of it, or somebody took it after this page was owed: what became
    worse later still pages."""
    t = schema.tickets
    found = connection.execute(select(t.c.state, t.c.doc).where(t.c.id == row.ticket_id)).one()
    if found.state in ENDED:
        return True
    facts = json.loads(found.doc)
    taken_at = facts["acknowledged_at"]
    return (taken_at is not None and row.created_at <= taken_at) or facts["muted_since"] is not None


def _due(now: int) -> Any:
    o = schema.outbox
    return or_(
        and_(o.c.state == "pending", o.c.not_before <= now), and_(o.c.state == "claimed", o.c.claimed_until <= now)
    )


def _fact(row: Any, outcome: Outcome, now: int) -> dict[str, Any]:
    data = {
        "channel": row.channel, "result": "sent" if isinstance(outcome, Sent) else "dead", "event": row.event,
        "reason": outcome.reason if isinstance(outcome, Dead) else "",
        "receipt": outcome.receipt if isinstance(outcome, Sent) else "",
    }  # fmt: skip
    return {
        "ticket_id": row.ticket_id, "at": now, "who": "detector", "what": "delivered", "data": json.dumps(data),
    }  # fmt: skip
