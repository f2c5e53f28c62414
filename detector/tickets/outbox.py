"""Messages owed: a table. A claim is a conditional update with a lease, so that whoever dies holding one loses it.

A person gets at most four calls a minute on one channel: what is due beyond them is told in one message, which names
every ticket. Nothing marks such a bundle but the claim that made it: when its holder dies, or its delivery fails, each
of its messages is owed as before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from detector.nouns import SYSTEM, Dead, Notification, Outcome, Retry, Sent, Ticket
from detector.tickets import schema
from detector.tickets.audience import HOOK, MAIL
from detector.tickets.codec import document, plain_text
from detector.tickets.commit import PREFIX, Conflict
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk
from detector.tickets.lifecycle import ENDED

_OPEN = ("pending", "claimed")
MANY = 5
"""So many calls of one person on one channel within a minute are one message;"""
MANY_MS = 60_000
MOST_TOGETHER = 20
"""and this many at most: the link that acknowledges them all must fit into a short message."""
_NOTHING = Ticket("", 0, "incident", "closed", "report", "", 0, "shadow")
"""What a memo, and a letter about no ticket, is about."""


@dataclass(frozen=True, slots=True)
class Memo:
    """A message to a person that is about no ticket. ``name``: it is owed once, ever, to each channel."""

    name: str
    recipient: str
    channels: tuple[str, ...]
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Held:
    """A message that was held back in quiet hours, which end ``until`` (ms); ``key``: its ticket's."""

    id: int
    key: str
    until: int


class Outbox:
    """Messages are handed out oldest first, those of one thread strictly in their order; a call that is due later holds
    up no other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def claim(self, channel: str, now: int, lease_ms: int, *, together: bool = True) -> Notification | None:
        """The next message due for ``channel``, held until ``now + lease_ms``; None when nothing is due. ``together``:
        many calls of one person may be handed out as one."""

        def take(connection: Connection) -> tuple[Any, list[Any], str] | None:
            while (row := connection.execute(_next(channel, now)).first()) is not None:
                if _cancelled(connection, row, now):
                    continue
                rows = [row]
                if together and _is_call(row):
                    free_at = _crowded(connection, row, now)
                    if free_at is not None:
                        connection.execute(_mine(row).values(state="pending", not_before=free_at, claimed_until=None))
                        continue
                    rows += _beside(connection, row, now)
                if not _take(connection, rows, now + lease_ms):
                    return None  # another process was quicker
                return row, rows, _receipt(connection, row.dedup_key, row.id)
            return None

        try:
            taken = await self._desk.transact(take)
        except Conflict:
            return None
        return await self._notification(channel, *taken) if taken is not None else None

    async def _notification(self, channel: str, row: Any, rows: Sequence[Any], thread: str) -> Notification:
        memo = None
        tickets: list[Ticket] = []
        if row.ticket_id is None and row.channel in (MAIL, HOOK):
            tickets = [_NOTHING]
        elif row.ticket_id is None:
            said = json.loads(row.doc)
            memo, tickets = (said["subject"], said["text"]), [_NOTHING]
        for id in dict.fromkeys(one.ticket_id for one in rows if one.ticket_id is not None):
            ticket = await self._desk.ticket(f"{PREFIX}{id}", SYSTEM)
            assert ticket is not None, "a message belongs to a ticket"
            tickets.append(ticket)
        bundled = len(rows) > 1
        return Notification(
            id=row.id, ticket=tickets[0], channel=channel, event=row.event, urgency=row.urgency, reason=row.reason,
            dedup_key=f"detector/together/{channel}" if bundled else row.dedup_key,
            idempotency_key=_bundle_key(rows) if bundled else row.idempotency_key, created_at=row.created_at,
            not_before=row.not_before, attempts=row.attempts, thread="" if bundled else thread,
            recipient=row.recipient, also=tuple(tickets[1:]), memo=memo, text="" if _is_call(row) else row.doc,
        )  # fmt: skip

    async def settle(self, id: int, outcome: Outcome, now: int) -> None:
        """What became of a claimed message, and of those that were handed out with it; the end of it is a fact on each
        ticket's timeline."""
        o = schema.outbox

        def record(connection: Connection) -> None:
            row = connection.execute(select(o).where(o.c.id == id)).one()
            rows = [row]
            if _is_call(row) and row.doc.startswith("["):
                # Only what is still of this claim: a lease that has ended may be somebody else's now.
                same = (o.c.state == "claimed", o.c.claimed_until == row.claimed_until)
                rows += connection.execute(select(o).where(o.c.id.in_(json.loads(row.doc)), *same)).all()
            for one in rows:
                _settle(connection, one, outcome, now)

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

    async def held(self, now: int) -> dict[str, list[Held]]:
        """What was held back and is due by now, by channel, in its order."""
        o = schema.outbox
        statement = select(o.c.id, o.c.ticket_id, o.c.channel, o.c.not_before).where(
            o.c.state == "held", o.c.not_before <= now
        )
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement.order_by(o.c.id))).all()
        found: dict[str, list[Held]] = {}
        for row in rows:
            found.setdefault(row.channel, []).append(Held(row.id, f"{PREFIX}{row.ticket_id}", row.not_before))
        return found

    async def release(self, held: Sequence[Held], now: int) -> None:
        """Let these go out as they are."""
        await self._desk.transact(lambda connection: _let_go(connection, held, {"state": "pending", "not_before": now}))

    async def digest(self, memo: Memo, held: Sequence[Held], now: int) -> None:
        """Owe ``memo`` in the place of these, in one transaction."""
        rows = _memo_rows([memo], now)

        def owe(connection: Connection) -> None:
            _let_go(connection, held, {"state": "digested", "settled_at": now})
            made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(schema.outbox)
            connection.execute(made.on_conflict_do_nothing(index_elements=["idempotency_key"]), rows)

        await self._desk.transact(owe)

    async def write(self, memos: Iterable[Memo], now: int) -> list[str]:
        """Owe these, each once ever; the channels that have something to send now."""
        o = schema.outbox
        rows = _memo_rows(memos, now)

        def owe(connection: Connection) -> None:
            made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(o)
            connection.execute(made.on_conflict_do_nothing(index_elements=["idempotency_key"]), rows)

        if rows:
            await self._desk.transact(owe)
        return list(dict.fromkeys(str(row["channel"]) for row in rows))

    async def next_due(self, channel: str) -> int | None:
        """When (ms) to look again: a message is due then, or somebody's lease ends."""
        o = schema.outbox
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                pending = await connection.execute(
                    select(func.min(o.c.not_before)).where(o.c.channel == channel, o.c.state == "pending", ~_blocked())
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


def _blocked() -> Any:
    """An earlier message of the thread is still to be sent. A call whose time has not come is no earlier message: the
    next step of a policy must not hold up what became worse meanwhile."""
    o, earlier = schema.outbox, schema.outbox.alias("earlier")
    return exists().where(
        earlier.c.dedup_key == o.c.dedup_key, earlier.c.id < o.c.id, earlier.c.state.in_(_OPEN),
        or_(earlier.c.attempts > 0, earlier.c.not_before <= o.c.not_before),
    )  # fmt: skip


def _next(channel: str, now: int) -> Any:
    o = schema.outbox
    return select(o).where(o.c.channel == channel, _due(now), ~_blocked()).order_by(o.c.not_before, o.c.id).limit(1)


def _due(now: int) -> Any:
    o = schema.outbox
    return or_(
        and_(o.c.state == "pending", o.c.not_before <= now), and_(o.c.state == "claimed", o.c.claimed_until <= now)
    )


def _is_call(row: Any) -> bool:
    """Whether it calls a person; what ``doc`` holds of others is theirs."""
    return bool(row.recipient) and row.urgency == "page"


def _mine(row: Any) -> Any:
    """An update of the row as it was read."""
    o = schema.outbox
    return update(o).where(o.c.id == row.id, o.c.state == row.state, o.c.attempts == row.attempts)


def _take(connection: Connection, rows: Sequence[Any], until: int) -> bool:
    """Hold all of them ``until`` then. The first knows the others, and those know it."""
    taken = 0
    for n, one in enumerate(rows):
        doc = one.doc
        if _is_call(one):
            doc = "" if len(rows) == 1 else document([other.id for other in rows[1:]] if n == 0 else rows[0].id)
        held = _mine(one).values(state="claimed", claimed_until=until, attempts=one.attempts + 1, doc=doc)
        taken += connection.execute(held).rowcount
    if 0 < taken < len(rows):
        raise Conflict("another process claims the same messages")  # undone as a whole, and tried again
    return taken > 0


def _cancelled(connection: Connection, row: Any, now: int) -> bool:
    """Its holder died with it, and meanwhile somebody took the ticket: nobody is woken for it any more."""
    if row.urgency != "page" or not _is_void(connection, row):
        return False
    connection.execute(_mine(row).values(state="cancelled", settled_at=now, claimed_until=None))
    return True


def _crowded(connection: Connection, row: Any, now: int) -> int | None:
    """When (ms) the person may be called again on this channel, where four messages came within the last minute."""
    recent = _just_told(connection, row, now - MANY_MS)
    return recent[-1] + MANY_MS if len(recent) == MANY - 1 else None


def _beside(connection: Connection, row: Any, now: int) -> list[Any]:
    """The person's other calls that are due on this channel, where they are too many to be told one by one."""
    o = schema.outbox
    other = select(o).where(
        o.c.channel == row.channel, o.c.recipient == row.recipient, o.c.urgency == "page", o.c.id != row.id, _due(now)
    )
    found, tickets = [row], {row.ticket_id}
    for one in connection.execute(other.order_by(o.c.id).limit(5 * MOST_TOGETHER)).all():
        if len(tickets | {one.ticket_id}) > MOST_TOGETHER or _overtakes(connection, one, found):
            continue
        if not _cancelled(connection, one, now):
            found.append(one)
            tickets.add(one.ticket_id)
    # After a minute in which they were many already, what was held back comes as one, however little it is.
    many = len(found) >= MANY or len(_just_told(connection, row, now - 2 * MANY_MS)) == MANY - 1
    return found[1:] if many else []


def _overtakes(connection: Connection, row: Any, with_: Sequence[Any]) -> bool:
    """Whether an earlier message of its thread is still to be sent, and not among those that go with it."""
    o = schema.outbox
    earlier = select(o.c.id).where(
        o.c.dedup_key == row.dedup_key, o.c.id < row.id, o.c.state.in_(_OPEN),
        or_(o.c.attempts > 0, o.c.not_before <= row.not_before), o.c.id.not_in([one.id for one in with_]),
    )  # fmt: skip
    return connection.execute(earlier.limit(1)).first() is not None


def _just_told(connection: Connection, row: Any, since: int) -> list[int]:
    """When (ms) the last messages went to the person on this channel after ``since``, the latest first, four at most;
    what was told together was one message."""
    o = schema.outbox
    sent = select(o.c.settled_at).where(
        o.c.channel == row.channel, o.c.recipient == row.recipient, o.c.urgency == "page", o.c.state == "sent",
        o.c.settled_at > since, or_(o.c.doc == "", o.c.doc.like("[%")),
    )  # fmt: skip
    return list(connection.execute(sent.order_by(o.c.settled_at.desc()).limit(MANY - 1)).scalars())


def _bundle_key(rows: Sequence[Any]) -> str:
    """Another bundle is another message: a receiver that drops what it has seen must not drop what it has not."""
    digest = hashlib.blake2b(" ".join(str(one.id) for one in rows).encode(), digest_size=8).hexdigest()
    return f"{rows[0].idempotency_key[:200]}/with-{digest}"


def _settle(connection: Connection, row: Any, outcome: Outcome, now: int) -> None:
    o = schema.outbox
    values: dict[str, Any]
    match outcome:
        case Sent(receipt=receipt):
            values = {"state": "sent", "receipt": receipt, "settled_at": now, "claimed_until": None}
        case Retry(at=at):
            values = {"state": "pending", "not_before": at, "claimed_until": None}
        case Dead():
            values = {"state": "dead", "settled_at": now, "claimed_until": None}
    if isinstance(outcome, Retry) and row.urgency == "page" and _is_void(connection, row):
        values = {"state": "cancelled", "settled_at": now, "claimed_until": None}
    connection.execute(update(o).where(o.c.id == row.id).values(**values))
    # What follows the timeline must not lengthen it; subscribers are too many, and nobody's business there.
    hidden = row.ticket_id is None or row.channel in (MAIL, HOOK) or row.event == "change"
    if not isinstance(outcome, Retry) and not hidden:
        connection.execute(insert(schema.timeline).values(**_fact(row, outcome, now)))


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
    worse later still pages, and so does a call for help."""
    t = schema.tickets
    found = connection.execute(select(t.c.state, t.c.doc).where(t.c.id == row.ticket_id)).one()
    if found.state in ENDED:
        return True
    if row.event == "help":
        return False
    facts = json.loads(found.doc)
    # Somebody has it, or it waits for the day.
    ends = [at for at in (facts["acknowledged_at"], facts.get("deferred_since")) if at is not None]
    return any(row.created_at <= at for at in ends) or facts["muted_since"] is not None


def _fact(row: Any, outcome: Outcome, now: int) -> dict[str, Any]:
    data = {
        "channel": row.channel, "result": "sent" if isinstance(outcome, Sent) else "dead", "event": row.event,
        "reason": outcome.reason if isinstance(outcome, Dead) else "",
        "receipt": outcome.receipt if isinstance(outcome, Sent) else "", "person": row.recipient,
    }  # fmt: skip
    return {
        "ticket_id": row.ticket_id, "at": now, "who": "detector", "what": "delivered", "data": json.dumps(data),
    }  # fmt: skip


def _memo_rows(memos: Iterable[Memo], now: int) -> list[dict[str, Any]]:
    return [
        {
            "ticket_id": None, "channel": channel, "event": "report", "urgency": "notify", "reason": "",
            "dedup_key": f"detector/{one.name}/{channel}"[:255],
            "idempotency_key": f"detector/{one.name}/{channel}"[:255],
            "state": "pending", "created_at": now, "not_before": now, "claimed_until": None, "attempts": 0,
            "receipt": "", "settled_at": None, "recipient": plain_text(one.recipient),
            "doc": document({"subject": one.subject, "text": one.text}),
        }
        for one in memos
        for channel in one.channels
    ]  # fmt: skip


def _let_go(connection: Connection, held: Sequence[Held], values: dict[str, Any]) -> None:
    o = schema.outbox
    for start in range(0, len(held), 500):
        some = [one.id for one in held[start : start + 500]]
        connection.execute(update(o).where(o.c.id.in_(some), o.c.state == "held").values(**values))
