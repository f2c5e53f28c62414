"""Views of the board that people keep: a name and a query, each person's own."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from detector.tickets import schema
from detector.tickets.codec import plain_text
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk

MOST = 30
"""Views of one person; the oldest gives way."""


class Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def of(self, owner: str) -> list[tuple[str, str]]:
        """(name, query) in the order they were kept."""
        v = schema.views
        statement = select(v.c.name, v.c.query).where(v.c.owner == plain_text(owner)).order_by(v.c.id)
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                return [(row.name, row.query) for row in (await connection.execute(statement)).all()]

    async def keep(self, owner: str, name: str, query: str) -> None:
        """The same name replaces."""
        v, who, called = schema.views, plain_text(owner), plain_text(name)

        def work(connection: Connection) -> None:
            connection.execute(delete(v).where(v.c.owner == who, v.c.name == called))
            connection.execute(insert(v).values(owner=who, name=called, query=plain_text(query)))
            count = connection.execute(select(func.count()).where(v.c.owner == who)).scalar_one()
            if count > MOST:
                oldest = select(func.min(v.c.id)).where(v.c.owner == who).scalar_subquery()
                connection.execute(delete(v).where(v.c.id == oldest))

        await self._desk.transact(work)

    async def drop(self, owner: str, name: str) -> None:
        v = schema.views
        statement = delete(v).where(v.c.owner == plain_text(owner), v.c.name == plain_text(name))
        await self._desk.transact(lambda connection: connection.execute(statement))
