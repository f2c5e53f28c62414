"""The unit of work: ``commit`` is the only thing that writes tickets.

Ticket, symptoms, timeline, messages owed and the ledger of alerts are one transaction. Reads take the viewer: a
restricted ticket does not exist for who may not see it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from sqlalchemy import JSON, Connection, Select, cast, exists, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from detector.nouns import SYSTEM, Ticket, Tier, TimelineEntry, Viewer
from detector.tickets import mails, schema
from detector.tickets.codec import alert_of, plain_text, ticket_of
from detector.tickets.commit import (
    MOST,
    PREFIX,
    Calls,
    Committed,
    Conflict,
    Draft,
    Episode,
    loud,
    nobody,
    number,
    report_key,
    stored_symptoms,
    write,
)
from detector.tickets.database import FileWriter, StorageError, engine, is_current, migrate, storage_errors
from detector.tickets.owed import Route
from detector.tickets.similar import similar

T = TypeVar("T")
SEARCHED = 20_000
_KEY = re.compile("INC-[0-9]{1,12}", re.IGNORECASE)
_TOLD = ("title", "description", "cause", "fix", "category")
PAST = 50
"""A service's last tickets among which similar ones are looked for."""
OPEN_STATES = ("logged", "triaged", "diagnosing", "waiting", "reopened")
MOST_OPEN = 2_000
"""Open tickets that a list holds at most."""
_KEPT = MOST_OPEN + MOST
"""Tickets that are kept decoded: all that are open, and a page of others."""


@dataclass(frozen=True, slots=True)
class TicketQuery:
    """Filters of a list; None means all. Shadow tickets only where asked for."""

    state: str | None = None
    phase: str | None = None
    service: str | None = None
    mode: str | None = None
    limit: int = 50
    cursor: str | None = None
    open_only: bool = False


@dataclass(frozen=True, slots=True)
class TicketPage:
    items: tuple[Ticket, ...]
    next: str | None


class Desk:
    """Tickets in a database. One process writes; versions guard against people and other processes."""

    def __init__(self, made: AsyncEngine, routes: Sequence[Route] = ()) -> None:
        self.engine = made
        self.routes = tuple(routes)
        self.calls: Calls = nobody
        """Whom the pages of a ticket call in person, from now (ms) on."""
        self.letters = False
        """Whether reporters are written to."""
        self.quiet: Callable[[Ticket, int], int | None] = loud
        """Until when (ms) messages of a ticket that page nobody are held back, from now (ms) on."""
        self.subscribed: tuple[str, ...] = ()
        """The kinds of subscribers who are told what is published: email, webhook."""
        self._turn = asyncio.Lock()
        self.writer = FileWriter.beside(made)
        # In memory readers see what a writer has not committed yet: nothing of it may be kept.
        self._keeps = self.writer is not None or made.url.get_backend_name() != "sqlite"
        self._kept: OrderedDict[int, Ticket] = OrderedDict()

    @classmethod
    async def open(cls, url: str, routes: Sequence[Route] = ()) -> Desk:
        """Connect and migrate; raises StorageError, or ValueError for an address that cannot be one."""
        desk = cls(engine(url), routes)
        await migrate(desk.engine)
        return desk

    async def close(self) -> None:
        if self.writer is not None:
            await self.writer.close()
        await self.engine.dispose()

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, drafts: Sequence[Draft], ledger: Sequence[Episode] = ()) -> list[Committed]:
        """All of it or nothing; raises Conflict or StorageError, and nothing was done then."""
        return await self.transact(
            lambda connection: write(
                connection, drafts, ledger, self.routes, self.calls, self.letters, self.subscribed, self.quiet
            )
        )

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns, once its transaction is durable. Writers of this process take turns here: SQLite would
        let them poll for its lock."""
        async with self._turn:
            with storage_errors():
                if self.writer is not None:
                    return await self.writer.run(work)
                async with self.engine.begin() as connection:
                    return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns, which only reads; writers go on meanwhile."""
        with storage_errors():
            async with self.engine.connect() as connection:
                return await connection.run_sync(work)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def ticket(self, key: str, viewer: Viewer) -> Ticket | None:
        """The ticket with its symptoms and their evidence; None where there is none for this viewer."""
        try:
            id = number(key)
        except ValueError:
            return None
        t = schema.tickets
        statement = select(t.c.id, t.c.version).where(t.c.id == id)
        found = await self._tickets(_visible(statement, viewer))
        return found[0] if found else None

    async def tickets(self, query: TicketQuery, viewer: Viewer) -> TicketPage:
        """Newest first. ValueError for a cursor that is not one of ours."""
        t = schema.tickets
        statement = _visible(select(t.c.id, t.c.version), viewer)
        for name in ("state", "phase", "service"):
            if (value := getattr(query, name)) is not None:
                statement = statement.where(t.c[name] == value)
        statement = statement.where(t.c.mode == query.mode if query.mode else t.c.mode != "shadow")
        if query.open_only:
            statement = statement.where(t.c.state.in_(OPEN_STATES))
        if query.cursor is not None:
            statement = statement.where(t.c.id < _from_cursor(query.cursor))
        limit = max(1, min(query.limit, MOST))
        found = await self._tickets(statement.order_by(t.c.id.desc()).limit(limit + 1))
        more = len(found) > limit
        return TicketPage(tuple(found[:limit]), _to_cursor(number(found[limit - 1].key)) if more else None)

    async def every_open(self, viewer: Viewer) -> list[Ticket]:
        """All open tickets outside shadow, newest first, at most :data:`MOST_OPEN`."""
        t = schema.tickets
        statement = _visible(select(t.c.id, t.c.version), viewer).where(
            t.c.state.in_(OPEN_STATES), t.c.mode != "shadow"
        )
        return await self._tickets(statement.order_by(t.c.id.desc()).limit(MOST_OPEN))

    async def newest_entry(self) -> int:
        """The number of the newest timeline entry; 0: there is none. While it stays the same nobody has written one."""
        return await self.read(lambda own: own.execute(select(func.max(schema.timeline.c.id))).scalar()) or 0

    async def timeline(self, key: str, viewer: Viewer) -> list[TimelineEntry]:
        """Oldest first; empty where the viewer sees no such ticket."""
        ticket = await self.ticket(key, viewer)
        return [] if ticket is None else (await self.timelines([ticket], viewer))[ticket.key]

    async def timelines(self, tickets: Sequence[Ticket], viewer: Viewer) -> dict[str, list[TimelineEntry]]:
        """Those of tickets that ``viewer`` was shown, by key, each oldest first."""
        found: dict[str, list[TimelineEntry]] = {t.key: [] for t in tickets if viewer.restricted or not t.restricted}
        ids = [number(key) for key in found]
        e = schema.timeline
        with storage_errors():
            async with self.engine.connect() as connection:
                for at in range(0, len(ids), MOST):
                    statement = select(e.c.ticket_id, e.c.at, e.c.who, e.c.what, e.c.data).where(
                        e.c.ticket_id.in_(ids[at : at + MOST])
                    )
                    rows = await connection.execute(statement.order_by(e.c.ticket_id, e.c.id))
                    for id, when, who, what, data in rows:
                        found[f"{PREFIX}{id}"].append(TimelineEntry(when, who, what, msgspec.json.decode(data)))
        return found

    async def similar(self, ticket: Ticket, viewer: Viewer) -> Ticket:
        """The ticket with those of its service's past that were most like it, as far as ``viewer`` may see them."""
        t = schema.tickets
        statement = _visible(select(t.c.id, t.c.version), viewer).where(
            t.c.service == plain_text(ticket.service), t.c.state.in_(("resolved", "closed")), t.c.mode != "shadow"
        )
        past = await self._tickets(statement.order_by(t.c.id.desc()).limit(PAST))
        return replace(ticket, similar=similar(ticket, past))

    async def search(self, words: Sequence[str], viewer: Viewer, most: int = 50) -> list[Ticket]:
        """The newest tickets in which every word occurs, in what was told of them or in a symptom; among the newest
        20,000."""
        t, s = schema.tickets, schema.symptoms
        newest = select(func.max(t.c.id) - SEARCHED).scalar_subquery()
        statement = _visible(select(t.c.id, t.c.version), viewer).where(t.c.id > newest)
        statement = statement.where(t.c.mode != "shadow")
        for word in words:
            signs = plain_text(word).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            like = f"%{signs}%"
            told = [self._inside(t.c.doc, name).ilike(like, escape="\\") for name in _TOLD]
            seen = or_(*(self._inside(s.c.doc, name).ilike(like, escape="\\") for name in ("summary", "name")))
            own = exists().where(s.c.ticket_id == t.c.id, seen)
            key = t.c.id == int(word[4:]) if _KEY.fullmatch(word) else false()
            statement = statement.where(or_(key, t.c.service.ilike(like, escape="\\"), *told, own))
        return await self._tickets(statement.order_by(t.c.id.desc()).limit(most))

    async def resolved_since(self, since: int) -> dict[Tier, int]:
        """How many each tier has resolved since ``since`` (ms), what ended by itself left out."""
        t = schema.tickets
        by_itself = self._inside(t.c.doc, "resolution") == "self-recovered"
        statement = select(t.c.tier, func.count()).where(t.c.ended_at >= since, t.c.tier.is_not(None), ~by_itself)
        with storage_errors():
            async with self.engine.connect() as connection:
                return {row[0]: row[1] for row in (await connection.execute(statement.group_by(t.c.tier))).all()}

    async def opened_between(self, start: int, end: int, most: int = 50_000) -> list[Ticket]:
        """The newest ``most`` that were opened from ``start`` to before ``end`` (ms), for figures: without their
        symptoms, and without restricted ones."""
        t = schema.tickets
        statement = select(t.c.doc, t.c.version).where(
            t.c.opened_at >= start, t.c.opened_at < end, t.c.restricted.is_(False), t.c.mode != "shadow"
        )
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = (await connection.execute(statement.order_by(t.c.id.desc()).limit(most))).all()
        return await asyncio.to_thread(lambda: [ticket_of(row.doc, row.version, ()) for row in rows])

    async def families(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """The symptom families of these tickets, by their keys."""
        ids = [number(key) for key in keys]
        with storage_errors():
            async with self.engine.connect() as connection:
                found = await connection.run_sync(lambda own: stored_symptoms(own, ids))
        return {f"{PREFIX}{id}": [symptom.family for symptom in some] for id, some in found.items()}

    async def public(self, since: int, most: int = 500) -> list[Ticket]:
        """Those that were published, at ``since`` (ms) or later or not over yet; the newest first. For everybody: a
        restricted one is never among them."""
        t = schema.tickets
        lasts = t.c.state.in_(OPEN_STATES)
        statement = select(t.c.id, t.c.version).where(
            t.c.public_at.is_not(None), t.c.restricted.is_(False), (t.c.ended_at >= since) | lasts
        )
        return await self._tickets(statement.order_by(t.c.public_at.desc(), t.c.id.desc()).limit(most))

    async def breaches(self, viewer: Viewer) -> list[Ticket]:
        """Every ticket that is or was a suspected data breach, oldest first."""
        t = schema.tickets
        # The documents' text is looked at: what was dismissed need not be restricted any more.
        marked = t.c.restricted.is_(True) | t.c.doc.contains('"breach":"')
        statement = _visible(select(t.c.id, t.c.version), viewer).where(marked)
        return [found for found in await self._tickets(statement.order_by(t.c.id)) if found.breach is not None]

    async def since(self, start: int | None, viewer: Viewer, after: int, most: int) -> list[Ticket]:
        """Tickets of every mode, oldest first, numbered above ``after``, to which something happened at ``start`` (ms)
        or later."""
        t, e = schema.tickets, schema.timeline
        statement = _visible(select(t.c.id, t.c.version), viewer).where(t.c.id > after)
        if start is not None:
            statement = statement.where(exists().where(e.c.ticket_id == t.c.id, e.c.at >= start))
        return await self._tickets(statement.order_by(t.c.id).limit(most))

    async def fits(self) -> None:
        """Raises StorageError where the database has not this version's schema; for who reads and does not migrate."""
        if not await self.read(is_current):
            raise StorageError("it has not this version's schema: run `detector db migrate` first")

    async def reopenable(self, since: int) -> list[Ticket]:
        """Open tickets, and those that ended at ``since`` (ms) or later: what a decision may have to look at."""
        t = schema.tickets
        statement = select(t.c.id, t.c.version).where(
            t.c.state != "merged", (t.c.ended_at.is_(None)) | (t.c.ended_at >= since)
        )
        return await self._tickets(statement.order_by(t.c.id))

    async def ended(self, before: int, most: int) -> list[Ticket]:
        """The tickets that ended before ``before`` (ms) last, oldest first."""
        t = schema.tickets
        statement = select(t.c.id, t.c.version).where(t.c.state != "merged", t.c.ended_at < before)
        return (await self._tickets(statement.order_by(t.c.id.desc()).limit(most)))[::-1]

    async def alive(self, start: int, end: int, viewer: Viewer) -> list[Ticket]:
        """Tickets outside shadow that were open at some moment from ``start`` to ``end`` (ms), the last two thousand of
        them, oldest first."""
        t = schema.tickets
        statement = _visible(select(t.c.id, t.c.version), viewer).where(
            t.c.mode != "shadow", t.c.opened_at < end, t.c.ended_at.is_(None) | (t.c.ended_at >= start)
        )
        return (await self._tickets(statement.order_by(t.c.id.desc()).limit(4 * MOST)))[::-1]

    async def due(self, now: int) -> tuple[list[str], int | None]:
        """Keys of the tickets that are due at ``now``, and when (ms) the next one is."""
        t = schema.tickets
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = await connection.execute(select(t.c.id).where(t.c.due_at <= now).order_by(t.c.due_at, t.c.id))
                keys = [f"{PREFIX}{row.id}" for row in rows]
                following = await connection.execute(select(func.min(t.c.due_at)).where(t.c.due_at > now))
                return keys, following.scalar()

    async def episodes(self, since: int) -> list[Episode]:
        """Alerts that fire, and those heard of since ``since`` (ms)."""
        a = schema.alerts
        statement = select(a).where((a.c.status == "firing") | (a.c.last_at >= since)).order_by(a.c.last_at)
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [Episode(alert_of(r.doc), r.result, r.ticket_key, r.received, r.expires_at, r.stored) for r in rows]

    async def known_report(self, idempotency_key: str) -> Ticket | None:
        """The ticket that a report with this key has opened."""
        t = schema.tickets
        found = await self._tickets(
            select(t.c.id, t.c.version).where(t.c.idempotency_key == report_key(idempotency_key))
        )
        return found[0] if found else None

    async def mails(self, key: str) -> list[str]:
        """The Message-IDs of the mails that came in for the ticket, oldest first."""
        with storage_errors():
            async with self.engine.connect() as connection:
                return await connection.run_sync(mails.of_ticket, number(key))

    async def mailed(self, ids: Sequence[str]) -> str | None:
        """The ticket that the last known of these mails belongs to."""
        with storage_errors():
            async with self.engine.connect() as connection:
                id = await connection.run_sync(mails.ticket_of, ids)
        return None if id is None else f"{PREFIX}{id}"

    async def writable(self) -> None:
        """Raises StorageError where the database cannot be written."""
        nothing = update(schema.tickets).where(schema.tickets.c.id == -1).values(version=0)
        await self.transact(lambda connection: connection.execute(nothing))

    def _inside(self, column: Any, name: str) -> Any:
        """A text inside a document."""
        if self.engine.dialect.name == "sqlite":
            return func.json_extract(column, f"$.{name}")
        return cast(column, JSON)[name].as_string()

    async def _tickets(self, statement: Select[Any]) -> list[Ticket]:
        """The tickets whose (id, version) ``statement`` selects, in its order; one that is known at its version is not
        read again."""
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
                known = {id: kept for id, version in rows if (kept := self._known(id, version)) is not None}
                missing = [id for id, _ in rows if id not in known]
                read = await connection.run_sync(lambda own: _read(own, missing))
        if self._keeps:
            self._kept |= read
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        known |= read
        return [known[id] for id, _ in rows if id in known]

    def _known(self, id: int, version: int) -> Ticket | None:
        kept = self._kept.get(id)
        if kept is None or kept.version != version:
            return None
        self._kept.move_to_end(id)
        return kept


def _read(connection: Connection, ids: Sequence[int]) -> dict[int, Ticket]:
    """Tickets by id. Symptoms are read after their ticket, and whatever changes them changes its version: at worst they
    are news that the next reading, which finds the new version, makes whole."""
    t = schema.tickets
    rows = [
        row
        for at in range(0, len(ids), MOST)
        for row in connection.execute(select(t.c.id, t.c.version, t.c.doc).where(t.c.id.in_(ids[at : at + MOST])))
    ]
    symptoms = stored_symptoms(connection, [row.id for row in rows])
    return {row.id: ticket_of(row.doc, row.version, tuple(symptoms.get(row.id, ()))) for row in rows}


def _visible(statement: Select[Any], viewer: Viewer) -> Select[Any]:
    return statement if viewer.restricted else statement.where(schema.tickets.c.restricted.is_(False))


def _to_cursor(id: int) -> str:
    return base64.urlsafe_b64encode(f"t{id}".encode()).decode().rstrip("=")


def _from_cursor(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        if text[:1] != "t" or not text[1:].isdigit() or len(text) > 16:
            raise ValueError
        return int(text[1:])
    except (ValueError, binascii.Error, UnicodeError):
        raise ValueError("the cursor is not one that this API gave") from None


__all__ = ["SYSTEM", "Committed", "Conflict", "Desk", "Draft", "Episode", "StorageError", "TicketPage", "TicketQuery"]
