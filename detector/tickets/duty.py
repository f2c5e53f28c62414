"""What the on-call room asks the desk: who proved which channel, what a shift has seen, whom a ticket has woken."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from detector.nouns import Ticket, Viewer
from detector.tickets import schema
from detector.tickets.codec import plain_text
from detector.tickets.commit import number
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk


class Duty:
    """Proofs are written, everything else is read."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def proofs(self) -> dict[tuple[str, str], int]:
        """When (ms) a person last said that a test message reached them, by person and channel."""
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(select(schema.proofs))).all()
        return {(row.person, row.channel): row.at for row in rows}

    async def prove(self, person: str, channel: str, at: int) -> None:
        """It reached them."""
        row = {"person": plain_text(person), "channel": plain_text(channel)[:64], "at": at}

        def work(connection: Connection) -> None:
            made = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(schema.proofs).values(row)
            connection.execute(made.on_conflict_do_update(index_elements=["person", "channel"], set_={"at": at}))

        await self._desk.transact(work)

    async def tickets(self, start: int, end: int, viewer: Viewer) -> list[Ticket]:
        """Those that were open at some moment from ``start`` to ``end`` (ms), outside shadow, oldest first."""
        return await self._desk.alive(start, end, viewer)

    async def pages(self, start: int, end: int, people: Sequence[str]) -> list[int]:
        """When (ms, from ``start`` to before ``end``) pages reached these people, each message once."""
        o = schema.outbox
        statement = select(o.c.settled_at).where(
            o.c.urgency == "page", o.c.state == "sent", o.c.recipient.in_([plain_text(name) for name in people]),
            o.c.settled_at >= start, o.c.settled_at < end, or_(o.c.doc == "", o.c.doc.like("[%")),
        )  # fmt: skip
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                return list((await connection.execute(statement.order_by(o.c.settled_at))).scalars())

    async def paged(self, key: str, since: int) -> list[int]:
        """When (ms) pages of one ticket reached somebody, by a person's channel or another, after ``since``."""
        o = schema.outbox
        statement = select(o.c.settled_at).where(
            o.c.ticket_id == number(key), o.c.urgency == "page", o.c.state == "sent", o.c.settled_at > since
        )
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                return list((await connection.execute(statement.order_by(o.c.settled_at))).scalars())
