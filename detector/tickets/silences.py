"""Silences in the database: written as they are said, kept after they ended, so that it can be told who muted what."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, insert, select

from detector.nouns import Silence
from detector.tickets import schema
from detector.tickets.codec import document
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk


class Silences:
    """What was said, newest first."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def save(self, *silences: Silence) -> None:
        """These as they are now; one of a known id is changed."""
        s = schema.silences

        def work(connection: Connection) -> None:
            connection.execute(delete(s).where(s.c.id.in_([silence.id for silence in silences])))
            connection.execute(
                insert(s),
                [
                    {"id": x.id, "starts_at": x.starts_at, "ends_at": x.ends_at, "updated_at": x.updated_at,
                     "doc": document(x)}
                    for x in silences
                ],
            )  # fmt: skip

        await self._desk.transact(work)

    async def since(self, ended: int, most: int = 10_000) -> list[Silence]:
        """Those that end at ``ended`` (ms) or later."""
        s = schema.silences
        statement = select(s.c.doc).where(s.c.ends_at >= ended).order_by(s.c.updated_at.desc(), s.c.id).limit(most)
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [msgspec.json.decode(row.doc, type=Silence) for row in rows]

    async def one(self, id: str) -> Silence | None:
        s = schema.silences
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                doc = (await connection.execute(select(s.c.doc).where(s.c.id == id))).scalar()
        return msgspec.json.decode(doc, type=Silence) if doc is not None else None
