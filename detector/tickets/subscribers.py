"""Who asked to be told what the status page says. An address that somebody enters is asked first: only who reads what
it is sent can confirm it, or end it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, case, delete, func, or_, select, update

from detector.tickets import schema
from detector.tickets.audience import CHANNELS, Word, inserting, line, name, owe, thread
from detector.tickets.codec import document, plain_text
from detector.tickets.desk import Desk

Kind = Literal["email", "webhook"]
MOST = 10_000
CONFIRM_MS = 48 * 3_600_000
"""Whoever has not confirmed within it is forgotten."""
_TOKEN_BYTES = 32


class Full(Exception):
    """No more subscribers are taken."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """``token`` is in the links that confirm and end it; ``components``: of what it is told, none: of all."""

    name: str
    kind: Kind
    address: str
    token: str
    components: tuple[str, ...] = ()
    confirmed_at: int | None = None


class Subscribers:
    """``owed`` is told of channels that have something to send."""

    def __init__(self, desk: Desk, owed: Callable[[Sequence[str]], None] = lambda _: None) -> None:
        self._desk = desk
        self.owed = owed

    async def ask(self, kind: Kind, address: str, components: Sequence[str], now: int) -> None:
        """Owe ``address`` the message that asks whether it wants to be told; whoever is told already hears that. For
        both the same is done, so that no answer tells them apart. Raises Full."""

        def work(connection: Connection) -> None:
            s = schema.subscribers
            # Looked at first and for everybody: who is among them must not be found out at the limit.
            if connection.execute(select(func.count()).select_from(s)).scalar_one() >= MOST:
                raise Full
            row = connection.execute(_asked(connection, kind, address, components, now)).one()
            who = name(row.id, row.token)
            statement = inserting(connection, schema.outbox).values(
                ticket_id=None, channel=CHANNELS[kind], event="confirm" if row.confirmed_at is None else "known",
                urgency="notify", reason="", dedup_key=thread(who), idempotency_key=f"{thread(who)}/asked/{now}",
                state="pending", created_at=now, not_before=now, claimed_until=None, attempts=0, receipt="",
                settled_at=None, recipient=who, doc=document({"subject": "", "text": ""}),
            )  # fmt: skip
            connection.execute(statement.on_conflict_do_nothing(index_elements=["idempotency_key"]))

        await self._desk.transact(work)
        self.owed((CHANNELS[kind],))

    async def announce(
        self, id: str, title: str, text: str, components: Sequence[str], kinds: Sequence[str], now: int
    ) -> None:
        """Owe every subscriber of it a word that is about no ticket: a maintenance has begun. Once for each ``id``."""
        told = document({"subject": title, "text": text})
        word = Word("maintenance", f"maintenance/{id}", now, components, reason=plain_text(id), doc=told)
        if channels := await self._desk.transact(lambda connection: owe(connection, word, kinds)):
            self.owed(channels)

    async def confirm(self, token: str, now: int) -> Subscriber | None:
        """From now on it is told; None where there is none, or no more."""
        s = schema.subscribers

        def work(connection: Connection) -> Subscriber | None:
            waits = (s.c.token == plain_text(token), s.c.confirmed_at.is_(None), s.c.created_at > now - CONFIRM_MS)
            connection.execute(update(s).where(*waits).values(confirmed_at=now))
            return _of(connection, s.c.token == plain_text(token), s.c.confirmed_at.is_not(None))

        return await self._desk.transact(work)

    async def end(self, token: str, now: int) -> Subscriber | None:
        """Forget it, and what it is still owed; None where there is none."""

        def work(connection: Connection) -> Subscriber | None:
            found = _of(connection, schema.subscribers.c.token == plain_text(token))
            if found is not None:
                _forget(connection, found, now)
            return found

        return await self._desk.transact(work)

    async def forget(self, now: int) -> int:
        """End those who have not confirmed in time; how many."""
        s = schema.subscribers

        def work(connection: Connection) -> int:
            late = select(s).where(s.c.confirmed_at.is_(None), s.c.created_at <= now - CONFIRM_MS)
            found = [_subscriber(row) for row in connection.execute(late)]
            for one in found:
                _forget(connection, one, now)
            return len(found)

        return await self._desk.transact(work)

    async def of(self, token: str, now: int) -> Subscriber | None:
        """Whom a link belongs to; None where there is none, or it was not confirmed in time."""
        s = schema.subscribers
        counts = or_(s.c.confirmed_at.is_not(None), s.c.created_at > now - CONFIRM_MS)
        return await self._desk.transact(lambda connection: _of(connection, s.c.token == plain_text(token), counts))

    async def named(self, who: str) -> Subscriber | None:
        """Whom a message names; None: it has ended meanwhile."""
        id = who.partition("-")[0]
        if not (id.isascii() and id.isdigit() and len(id) < 19):
            return None
        found = await self._desk.transact(lambda connection: _of(connection, schema.subscribers.c.id == int(id)))
        return found if found is not None and found.name == who else None


def _asked(connection: Connection, kind: Kind, address: str, components: Sequence[str], now: int) -> Any:
    """Insert the subscriber, or ask the one who has not confirmed anew; nobody but they themselves changes what was
    confirmed."""
    s = schema.subscribers
    made = inserting(connection, s).values(
        kind=kind, address=plain_text(address), token=secrets.token_urlsafe(_TOKEN_BYTES),
        components="\n".join(("", *map(line, components), "")) if components else "", created_at=now,
    )  # fmt: skip
    waits = s.c.confirmed_at.is_(None)
    fresh = {
        "components": case((waits, made.excluded.components), else_=s.c.components),
        "created_at": case((waits, made.excluded.created_at), else_=s.c.created_at),
    }
    asked = made.on_conflict_do_update(index_elements=["kind", "address"], set_=fresh)
    return asked.returning(s.c.id, s.c.token, s.c.confirmed_at)


def _forget(connection: Connection, gone: Subscriber, now: int) -> None:
    s, o = schema.subscribers, schema.outbox
    connection.execute(delete(s).where(s.c.token == gone.token))
    owed = update(o).where(o.c.dedup_key == thread(gone.name), o.c.state == "pending")
    connection.execute(owed.values(state="cancelled", settled_at=now))


def _of(connection: Connection, *where: Any) -> Subscriber | None:
    row = connection.execute(select(schema.subscribers).where(*where)).first()
    return None if row is None else _subscriber(row)


def _subscriber(row: Any) -> Subscriber:
    components = tuple(one for one in row.components.split("\n") if one)
    return Subscriber(name(row.id, row.token), row.kind, row.address, row.token, components, row.confirmed_at)
