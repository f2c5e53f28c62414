"""Problems: what is behind several incidents, and as known errors what to do meanwhile. Rows of their own."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from sqlalchemy import Connection, Select, insert, select, update

from detector.nouns import Problem
from detector.tickets import schema
from detector.tickets.codec import document
from detector.tickets.commit import Conflict
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk

PREFIX = "PRB-"


def problem_number(key: str) -> int | None:
    """``PRB-7`` to 7; None for anything else."""
    digits = key.removeprefix(PREFIX)
    return int(digits) if digits != key and digits.isascii() and digits.isdigit() and len(digits) < 16 else None


class Problems:
    """One that is changed against an older version is refused with Conflict."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def open(self, problem: Problem) -> Problem:
        """A new one, with the number that it got."""
        p = schema.problems

        def work(connection: Connection) -> Problem:
            row = {"version": 1, "state": problem.state, "doc": ""}
            id = connection.execute(insert(p).values(row).returning(p.c.id)).scalar_one()
            made = replace(problem, key=f"{PREFIX}{id}", version=1)
            connection.execute(update(p).where(p.c.id == id).values(doc=document(made)))
            return made

        return await self._desk.transact(work)

    async def change(self, before: Problem, after: Problem) -> Problem:
        p, id = schema.problems, problem_number(before.key)

        def work(connection: Connection) -> Problem:
            guarded = update(p).where(p.c.id == id, p.c.version == before.version)
            values = {"version": after.version, "state": after.state, "doc": document(after)}
            if connection.execute(guarded.values(values)).rowcount != 1:
                raise Conflict(f"{before.key} was changed by somebody else")
            return after

        return await self._desk.transact(work)

    async def one(self, key: str) -> Problem | None:
        id = problem_number(key)
        if id is None:
            return None
        found = await self._read(select(schema.problems.c.doc).where(schema.problems.c.id == id))
        return found[0] if found else None

    async def all(self, most: int = 500) -> list[Problem]:
        """Open ones and known errors first, the newest first."""
        p = schema.problems
        found = await self._read(select(p.c.doc).order_by(p.c.id.desc()).limit(most))
        return sorted(found, key=lambda problem: problem.state == "closed")

    async def known_errors(self, service: str) -> list[Problem]:
        """With a work-around for this service."""
        p = schema.problems
        found = await self._read(select(p.c.doc).where(p.c.state == "known-error").order_by(p.c.id.desc()).limit(500))
        return [problem for problem in found if problem.service in ("", service)]

    async def _read(self, statement: Select[tuple[str]]) -> list[Problem]:
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [msgspec.json.decode(row.doc, type=Problem) for row in rows]
