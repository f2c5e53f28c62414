"""The unit of work: ``commit`` is the only thing that writes tickets.

Ticket, symptoms, timeline, messages owed and the ledger of alerts are one transaction. Reads take the viewer: a
restricted ticket does not exist for who may not see it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from detector.nouns import SYSTEM, Alert, Change, Opened, Symptom, SymptomJoined, Ticket, TimelineEntry, Viewer
from detector.tickets import schema
from detector.tickets.codec import (
    alert_doc,
    alert_of,
    change_data,
    change_name,
    symptom_doc,
    symptom_of,
    ticket_doc,
    ticket_of,
)
from detector.tickets.database import StorageError, engine, migrate, storage_errors
from detector.tickets.owed import Owed, Route, owed, pending_pages_end

PREFIX = "INC-"
MOST = 500


class Conflict(Exception):
    """Somebody else changed the ticket meanwhile: decide again on what it is now."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A ticket as it should become, and the changes that make it so. ``before`` is None for a new one."""

    before: Ticket | None
    after: Ticket
    changes: tuple[Change, ...]
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """The ledger's word on one alert: how often it came, what became of it, until when it counts."""

    alert: Alert
    result: str
    ticket_key: str | None
    received: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction did to one ticket. ``channels`` have a message waiting."""

    ticket: Ticket
    changes: tuple[Change, ...]
    channels: tuple[str, ...] = ()


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

    @classmethod
    async def open(cls, url: str, routes: Sequence[Route] = ()) -> Desk:
        """Connect and migrate; raises StorageError, or ValueError for an address that cannot be one."""
        desk = cls(engine(url), routes)
        await migrate(desk.engine)
        return desk

    async def close(self) -> None:
        await self.engine.dispose()

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, drafts: Sequence[Draft], ledger: Sequence[Episode] = ()) -> list[Committed]:
        """All of it or nothing; raises Conflict or StorageError, and nothing was done then."""
        with storage_errors():
            async with self.engine.begin() as connection:
                names: dict[str, str] = {}
                done = [await self._write(connection, draft, names) for draft in drafts]
                await self._write_ledger(connection, ledger, names)
        return done

    async def _write(self, connection: AsyncConnection, draft: Draft, names: dict[str, str]) -> Committed:
        ticket = replace(draft.after, version=draft.after.version + 1)
        if draft.before is None:
            opened = next(change for change in draft.changes if isinstance(change, Opened))
            row = _row(ticket, draft.due_at) | {"idempotency_key": opened.idempotency_key or None}
            inserted = (await connection.execute(insert(schema.tickets).values(**row))).inserted_primary_key
            assert inserted is not None
            id = int(inserted[0])
            names[ticket.key] = f"{PREFIX}{id}"
        else:
            id = number(ticket.key)
        key = names.get(ticket.key, ticket.key)
        changes = tuple(_renamed(change, names) for change in draft.changes)
        ticket = _renamed_ticket(replace(ticket, key=key), names)
        await self._update(connection, id, ticket, draft)
        await self._write_symptoms(connection, id, ticket, changes)
        await connection.execute(
            insert(schema.timeline),
            [
                {"ticket_id": id, "at": c.at, "who": c.who, "what": change_name(c), "data": json.dumps(change_data(c))}
                for c in changes
            ],
        )
        channels = await self._owe(connection, id, draft.before, ticket, changes)
        return Committed(ticket, changes, channels)

    async def _update(self, connection: AsyncConnection, id: int, ticket: Ticket, draft: Draft) -> None:
        statement = update(schema.tickets).where(schema.tickets.c.id == id)
        if draft.before is not None:
            statement = statement.where(schema.tickets.c.version == draft.before.version)
        done = await connection.execute(statement.values(**_row(ticket, draft.due_at)))
        if done.rowcount != 1:
            raise Conflict(f"{ticket.key} was changed by somebody else")

    async def _write_symptoms(
        self, connection: AsyncConnection, id: int, ticket: Ticket, changes: Sequence[Change]
    ) -> None:
        """Only those that changed; what decisions carry has no evidence, so what is stored keeps the one it has."""
        joined = {c.symptom.id: c.symptom for c in changes if isinstance(c, SymptomJoined)}
        if not joined:
            return
        place = {symptom.id: position for position, symptom in enumerate(ticket.symptoms)}
        stored = await self._symptoms(connection, [id], list(joined))
        known = {symptom.id: symptom for symptom in stored.get(id, ())}
        rows = []
        for symptom in joined.values():
            if symptom.evidence is None and symptom.id in known:
                symptom = replace(symptom, evidence=known[symptom.id].evidence)
            rows.append({
                "ticket_id": id, "symptom_id": symptom.id, "position": place[symptom.id], "active": symptom.active,
                "doc": symptom_doc(symptom),
            })  # fmt: skip
        await connection.execute(_upsert(connection, schema.symptoms, ("ticket_id", "symptom_id")), rows)

    async def _owe(
        self, connection: AsyncConnection, id: int, before: Ticket | None, ticket: Ticket, changes: Sequence[Change]
    ) -> tuple[str, ...]:
        outbox = schema.outbox
        if pending_pages_end(changes):
            await connection.execute(
                update(outbox)
                .where(outbox.c.ticket_id == id, outbox.c.state == "pending", outbox.c.urgency == "page")
                .values(state="cancelled", settled_at=changes[-1].at)
            )
        messages = owed(before, ticket, changes)
        if not messages or not self.routes:
            return ()
        told: set[str] = set()
        if any(message.told_only for message in messages):
            rows = await connection.execute(
                select(outbox.c.channel).distinct()
                .where(outbox.c.ticket_id == id, outbox.c.state.in_(("pending", "claimed", "sent")))
            )  # fmt: skip
            told = {row.channel for row in rows}
        rows_owed = []
        for message in messages:
            for route in self.routes:
                if _is_owed(route, message, ticket, told):
                    told.add(route.channel)
                    rows_owed.append(_outbox_row(id, ticket, route, message, changes[-1].at))
        if rows_owed:
            # A name is owed once: the second commit of one fact owes nothing.
            await connection.execute(_insert_new(connection, outbox, ("idempotency_key",)), rows_owed)
        return tuple(dict.fromkeys(row["channel"] for row in rows_owed))

    async def _write_ledger(
        self, connection: AsyncConnection, ledger: Sequence[Episode], names: dict[str, str]
    ) -> None:
        if not ledger:
            return
        rows = [
            {
                "fingerprint": e.alert.fingerprint, "starts_at": e.alert.starts_at, "status": e.alert.status,
                "result": e.result, "ticket_key": names.get(e.ticket_key or "", e.ticket_key), "received": e.received,
                "first_at": e.alert.received_at, "last_at": e.alert.received_at, "expires_at": e.expires_at,
                "doc": alert_doc(e.alert),
            }
            for e in ledger
        ]  # fmt: skip
        statement = _upsert(connection, schema.alerts, ("fingerprint", "starts_at"), keep=("first_at",))
        await connection.execute(statement, rows)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def ticket(self, key: str, viewer: Viewer) -> Ticket | None:
        """The ticket with its symptoms and their evidence; None where there is none for this viewer."""
        try:
            id = number(key)
        except ValueError:
            return None
        t = schema.tickets
        statement = select(t.c.id, t.c.version, t.c.doc).where(t.c.id == id)
        found = await self._tickets(_visible(statement, viewer))
        return found[0] if found else None

    async def tickets(self, query: TicketQuery, viewer: Viewer) -> TicketPage:
        """Newest first. ValueError for a cursor that is not one of ours."""
        t = schema.tickets
        statement = _visible(select(t.c.id, t.c.version, t.c.doc), viewer)
        for name in ("state", "phase", "service"):
            if (value := getattr(query, name)) is not None:
                statement = statement.where(t.c[name] == value)
        statement = statement.where(t.c.mode == query.mode if query.mode else t.c.mode != "shadow")
        if query.open_only:
            statement = statement.where(t.c.state.not_in(("resolved", "closed", "merged")))
        if query.cursor is not None:
            statement = statement.where(t.c.id < _from_cursor(query.cursor))
        limit = max(1, min(query.limit, MOST))
        found = await self._tickets(statement.order_by(t.c.id.desc()).limit(limit + 1))
        more = len(found) > limit
        return TicketPage(tuple(found[:limit]), _to_cursor(number(found[limit - 1].key)) if more else None)

    async def timeline(self, key: str, viewer: Viewer) -> list[TimelineEntry]:
        """Oldest first; empty where the viewer sees no such ticket."""
        if await self.ticket(key, viewer) is None:
            return []
        entries = schema.timeline
        statement = select(entries).where(entries.c.ticket_id == number(key)).order_by(entries.c.id)
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [TimelineEntry(row.at, row.who, row.what, json.loads(row.data)) for row in rows]

    async def reopenable(self, since: int) -> list[Ticket]:
        """Open tickets, and those that ended at ``since`` (ms) or later: what a decision may have to look at."""
        t = schema.tickets
        statement = select(t.c.id, t.c.version, t.c.doc).where(
            t.c.state != "merged", (t.c.ended_at.is_(None)) | (t.c.ended_at >= since)
        )
        return await self._tickets(statement.order_by(t.c.id))

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
        return [Episode(alert_of(r.doc), r.result, r.ticket_key, r.received, r.expires_at) for r in rows]

    async def known_report(self, idempotency_key: str) -> Ticket | None:
        """The ticket that a report with this key has opened."""
        t = schema.tickets
        found = await self._tickets(select(t.c.id, t.c.version, t.c.doc).where(t.c.idempotency_key == idempotency_key))
        return found[0] if found else None

    async def writable(self) -> None:
        """Raises StorageError where the database cannot be written."""
        with storage_errors():
            async with self.engine.begin() as connection:
                await connection.execute(update(schema.tickets).where(schema.tickets.c.id == -1).values(version=0))

    async def _tickets(self, statement: Select[Any]) -> list[Ticket]:
        with storage_errors():
            async with self.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
                symptoms = await self._symptoms(connection, [row.id for row in rows])
        return [ticket_of(row.doc, row.version, tuple(symptoms.get(row.id, ()))) for row in rows]

    async def _symptoms(
        self, connection: AsyncConnection, ids: Sequence[int], only: Sequence[str] | None = None
    ) -> dict[int, list[Symptom]]:
        s = schema.symptoms
        found: dict[int, list[Symptom]] = {}
        for start in range(0, len(ids), MOST):
            statement = select(s.c.ticket_id, s.c.doc).where(s.c.ticket_id.in_(ids[start : start + MOST]))
            if only is not None:
                statement = statement.where(s.c.symptom_id.in_(only))
            for row in await connection.execute(statement.order_by(s.c.ticket_id, s.c.position)):
                found.setdefault(row.ticket_id, []).append(symptom_of(row.doc))
        return found


def number(key: str) -> int:
    """``INC-42`` to 42; ValueError for anything else."""
    digits = key.removeprefix(PREFIX)
    if digits == key or not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise ValueError(f"{key!r} is no key such as {PREFIX}42")
    return int(digits)


def _row(ticket: Ticket, due_at: int | None) -> dict[str, Any]:
    ended = ticket.closed_at if ticket.closed_at is not None else ticket.resolved_at
    return {
        "version": ticket.version, "kind": ticket.kind, "state": ticket.state, "phase": ticket.phase,
        "service": ticket.service, "mode": ticket.mode, "priority": ticket.priority, "tier": ticket.tier,
        "restricted": ticket.restricted, "opened_at": ticket.opened_at, "ended_at": ended, "due_at": due_at,
        "doc": ticket_doc(ticket),
    }  # fmt: skip


def _renamed(change: Change, names: dict[str, str]) -> Change:
    """The change with placeholders replaced by the numbers that the desk gave."""
    renamed = replace(change, key=names.get(change.key, change.key))
    into = getattr(renamed, "into", None)
    return replace(renamed, into=names[into]) if into in names else renamed  # type: ignore[call-arg]


def _renamed_ticket(ticket: Ticket, names: dict[str, str]) -> Ticket:
    into = ticket.merged_into
    return replace(ticket, merged_into=names[into]) if into in names else ticket


def _is_owed(route: Route, message: Owed, ticket: Ticket, told: set[str]) -> bool:
    if message.told_only:
        return route.channel in told and (message.event != "resolved" or route.send_resolved)
    return route.takes(ticket, message.urgency)


def _outbox_row(id: int, ticket: Ticket, route: Route, message: Owed, now: int) -> dict[str, Any]:
    thread = f"detector/{ticket.key}/{route.channel}"
    return {
        "ticket_id": id, "channel": route.channel, "event": message.event, "urgency": message.urgency,
        "reason": message.reason, "dedup_key": thread, "idempotency_key": f"{thread}/{message.slug}",
        "state": "pending", "created_at": now, "not_before": now, "claimed_until": None, "attempts": 0, "receipt": "",
        "settled_at": None,
    }  # fmt: skip


def _visible(statement: Select[Any], viewer: Viewer) -> Select[Any]:
    return statement if viewer.restricted else statement.where(schema.tickets.c.restricted.is_(False))


def _upsert(connection: AsyncConnection, table: Any, keys: Sequence[str], keep: Sequence[str] = ()) -> Any:
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    fresh = {c.name: made.excluded[c.name] for c in table.columns if c.name not in (*keys, *keep)}
    return made.on_conflict_do_update(index_elements=list(keys), set_=fresh)


def _insert_new(connection: AsyncConnection, table: Any, keys: Sequence[str]) -> Any:
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    return made.on_conflict_do_nothing(index_elements=list(keys))


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
