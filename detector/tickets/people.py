"""What people left behind beside tickets: logins in browsers, tokens, and the audit log, which is only ever written to.

Secrets never reach the database: a session and a token are known by the SHA-256 of what their holder shows.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from detector.clock import Clock
from detector.tickets import schema
from detector.tickets.audit import audited
from detector.tickets.codec import plain_text
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk

MOST_SESSIONS = 20
"""Logins of one person; the one that was used longest ago makes room for a new one."""
MOST_TOKENS = 50
_NAME = 16
_REMEMBERED = 1000
_LONGEST = 2000


class TooManyTokens(Exception):
    """Of one person; the remedy is to revoke one."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login in a browser. ``hash``: of what the browser holds; ``mark``: of the password that it began with."""

    hash: str
    who: str
    created_at: int
    last_at: int
    expires_at: int
    mark: str
    browser: str = ""
    address: str = ""

    @property
    def id(self) -> str:
        """What it is called where people see it."""
        return self.hash[:_NAME]


@dataclass(frozen=True, slots=True)
class Token:
    """A program's key to the API, of ``who`` and with no more rights than theirs."""

    id: int
    name: str
    who: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int
    revoked_at: int | None = None

    def alive(self, now: int) -> bool:
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the audit log."""

    id: int
    at: int
    who: str
    what: str
    target: str
    data: Mapping[str, Any]


class People:
    """Sessions, tokens and the audit log of one desk. Every method raises StorageError while there is no database."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def begin(self, session: Session) -> None:
        """Keep a new session; those that are over go, and the oldest where a person has too many."""
        s = schema.sessions
        document = {"mark": session.mark, "browser": session.browser, "address": session.address}

        def work(connection: Connection) -> None:
            connection.execute(delete(s).where(s.c.expires_at <= session.created_at))
            own = select(s.c.hash).where(s.c.who == session.who).order_by(s.c.last_at.desc(), s.c.hash)
            if over := connection.execute(own.offset(MOST_SESSIONS - 1)).scalars().all():
                connection.execute(delete(s).where(s.c.hash.in_(over)))
            connection.execute(
                insert(s).values(
                    hash=session.hash, who=plain_text(session.who), created_at=session.created_at,
                    last_at=session.last_at, expires_at=session.expires_at, doc=_json(document),
                )
            )  # fmt: skip

        await self._desk.transact(work)

    async def session(self, hash: str) -> Session | None:
        rows = await self._read(select(schema.sessions).where(schema.sessions.c.hash == hash))
        return _session(rows[0]) if rows else None

    async def sessions(self, who: str | None = None, most: int = 500) -> list[Session]:
        """``who``'s, or everybody's; the last used first. Some may be over and not yet gone."""
        s = schema.sessions
        statement = select(s).order_by(s.c.last_at.desc(), s.c.hash).limit(most)
        rows = await self._read(statement if who is None else statement.where(s.c.who == plain_text(who)))
        return [_session(row) for row in rows]

    async def seen(self, hash: str, now: int) -> None:
        """It was used at ``now``."""
        s = schema.sessions
        statement = update(s).where(s.c.hash == hash, s.c.last_at < now).values(last_at=now)
        await self._desk.transact(lambda connection: connection.execute(statement))

    async def end(self, id: str, who: str | None = None) -> Session | None:
        """End the session that is called ``id``, if it is ``who``'s (None: whosever it is); what it was."""
        s = schema.sessions
        statement = select(s).where(func.substr(s.c.hash, 1, _NAME) == id)
        statement = statement if who is None else statement.where(s.c.who == plain_text(who))

        def work(connection: Connection) -> Any:
            row = connection.execute(statement).first()
            if row is not None:
                connection.execute(delete(s).where(s.c.hash == row.hash))
            return row

        row = await self._desk.transact(work)
        return _session(row) if row is not None else None

    # --- tokens -------------------------------------------------------------------------------------------------------

    async def make(self, hash: str, name: str, who: str, scopes: Sequence[str], now: int, expires_at: int) -> Token:
        """Keep a new token; raises TooManyTokens."""
        t = schema.tokens

        def work(connection: Connection) -> int:
            live = select(func.count()).where(
                t.c.who == plain_text(who), t.c.revoked_at.is_(None), t.c.expires_at > now
            )
            if (connection.execute(live).scalar() or 0) >= MOST_TOKENS:
                raise TooManyTokens(f"{who} has {MOST_TOKENS} tokens already: revoke one first")
            made = connection.execute(
                insert(t).values(
                    hash=hash, name=plain_text(name), who=plain_text(who), scopes=" ".join(scopes), created_at=now,
                    expires_at=expires_at,
                )
            )  # fmt: skip
            key = made.inserted_primary_key
            assert key is not None
            return int(key[0])

        id = await self._desk.transact(work)
        return Token(id, name, who, tuple(scopes), now, expires_at)

    async def token(self, hash: str) -> Token | None:
        """By the hash alone: an index is asked, so that no comparison tells how close a guess came."""
        rows = await self._read(select(schema.tokens).where(schema.tokens.c.hash == hash))
        return _token(rows[0]) if rows else None

    async def tokens(self, who: str | None = None, most: int = 500) -> list[Token]:
        """``who``'s, or everybody's; newest first, with those that are over."""
        t = schema.tokens
        statement = select(t).order_by(t.c.id.desc()).limit(most)
        rows = await self._read(statement if who is None else statement.where(t.c.who == plain_text(who)))
        return [_token(row) for row in rows]

    async def revoke(self, id: int, now: int, who: str | None = None) -> Token | None:
        """End the token, if it is ``who``'s (None: whosever it is); as it is then. None where there is none."""
        t = schema.tokens
        mine = select(t).where(t.c.id == id)
        mine = mine if who is None else mine.where(t.c.who == plain_text(who))

        def work(connection: Connection) -> Any:
            if (row := connection.execute(mine).first()) is not None and row.revoked_at is None:
                connection.execute(update(t).where(t.c.id == id).values(revoked_at=now))
                row = connection.execute(mine).first()
            return row

        row = await self._desk.transact(work)
        return _token(row) if row is not None else None

    # --- the audit log ------------------------------------------------------------------------------------------------

    async def audit(
        self, who: str, what: str, target: str, data: Mapping[str, Any] | None = None, every: int = 0
    ) -> None:
        """Write down who did what to what. ``every`` (ms): the same again is written once in so long; whoever knocks at
        a closed door all day must not fill the disk."""
        now = self._clock.now()
        if every and self._lately((who, what, target), now, every):
            return
        await self._desk.transact(
            lambda connection: audited(connection, now, _cut(who), what, _cut(target), dict(data or {}))
        )

    def _lately(self, same: tuple[str, str, str], now: int, every: int) -> bool:
        if (last := self._told.get(same)) is not None and now - last < every:
            return True
        self._told[same] = now
        self._told.move_to_end(same)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return False

    async def audited(self, before: int | None = None, most: int = 100) -> list[Record]:
        """Newest first; those older than the record ``before``."""
        a = schema.audit
        statement = select(a).order_by(a.c.id.desc()).limit(most)
        rows = await self._read(statement if before is None else statement.where(a.c.id < before))
        return [Record(row.id, row.at, row.who, row.what, row.target, json.loads(row.data)) for row in rows]

    # --- the database -------------------------------------------------------------------------------------------------

    async def _read(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows: Sequence[Row[Any]] = (await connection.execute(statement)).all()
                return rows


def _session(row: Any) -> Session:
    doc = json.loads(row.doc)
    return Session(
        row.hash, row.who, row.created_at, row.last_at, row.expires_at, doc["mark"], doc["browser"], doc["address"]
    )


def _token(row: Any) -> Token:
    return Token(row.id, row.name, row.who, tuple(row.scopes.split()), row.created_at, row.expires_at, row.revoked_at)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False)


def _cut(text: str) -> str:
    return plain_text(text)[:_LONGEST]
