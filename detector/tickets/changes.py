"""What was changed on which service and when: deployments, switches, annotations of others."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from detector.nouns import ChangeEvent
from detector.tickets import schema
from detector.tickets.codec import document, plain_text
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk


class Changes:
    """Change events by service and time; one without a service concerns all."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def add(self, event: ChangeEvent) -> None:
        """Durable when it returns; one that is known already (by its ``dedup_key``) changes nothing."""
        row = {
            "service": plain_text(event.service), "at": event.at, "dedup_key": event.dedup_key,
            "doc": document(event),
        }  # fmt: skip

        def work(connection: Connection) -> None:
            insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(schema.changes)
            connection.execute(insert.on_conflict_do_nothing(index_elements=["dedup_key"]), row)

        await self._desk.transact(work)

    async def between(
        self, start: int, end: int, services: Iterable[str] | None = None, most: int = 100
    ) -> list[ChangeEvent]:
        """Those from ``start`` to ``end`` (ms, both included), newest first: of ``services`` and of none; None: all."""
        c = schema.changes
        statement = select(c.c.doc).where(c.c.at >= start, c.c.at <= end)
        if services is not None:
            statement = statement.where(c.c.service.in_([*map(plain_text, services), ""]))
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement.order_by(c.c.at.desc(), c.c.id.desc()).limit(most))).all()
        return [msgspec.json.decode(row.doc, type=ChangeEvent) for row in rows]
