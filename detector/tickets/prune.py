"""Forgetting what :mod:`detector.tickets.retention` lets go, in small transactions, between which others have a turn.

Timeline and audit log are append-only for everybody; here the triggers that hold that are off within the transaction
that deletes, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, Text, cast, delete, func, literal, select

from detector.tickets import schema
from detector.tickets.audit import audited
from detector.tickets.commit import PREFIX, number
from detector.tickets.desk import OPEN_STATES, Desk
from detector.tickets.options import RetentionOptions
from detector.tickets.retention import Family, Record, horizon, names, portions, removable

MOST_ROWS = 500
"""Rows that one transaction deletes at most, except of one ticket that has more."""
_CANDIDATES = 100
ALIVE = (*OPEN_STATES, "resolved")
_SAID = {"timeline": "the timeline", "audit": "the audit log"}
_DEEPEST = 50
"""Mergers into a merged one that are followed; nobody makes so many."""


class _Document(msgspec.Struct):
    """What of a ticket's document retention looks at."""

    breach: str | None = None
    merged_into: str | None = None


@dataclass
class Named:
    """Numbers of tickets that something which is not over names, as of the timeline's entry ``upto``."""

    numbers: Set[int]
    upto: int


async def prune(
    desk: Desk, options: RetentionOptions, now: int, least: int, gone: Callable[[Set[str]], None] = lambda _: None
) -> Counter[str]:
    """Delete what ``options`` let go; returns rows by table. ``least`` (ms): nothing that ended so recently goes.
    ``gone`` is told the keys of tickets; that and the entry in the audit log also when it ends before its time."""
    done: Counter[str] = Counter()
    keys: set[str] = set()
    try:
        await _tickets(desk, options, now, least, done, keys)
        for table, which in _rows(options, now, least):
            await _emptied(desk, table, which, done)
    finally:
        if done:
            gone(keys)
            await desk.transact(lambda own: audited(own, now, "detector", "pruned", "retention", {"rows": dict(done)}))
    return done


# --- tickets --------------------------------------------------------------------------------------------------------


async def _tickets(
    desk: Desk, options: RetentionOptions, now: int, least: int, done: Counter[str], keys: set[str]
) -> None:
    until = horizon(options, now, least)
    last = (-1, 0)
    while until is not None:
        families, weights, named = await desk.read(lambda own: _looked_at(own, until, last))  # noqa: B023 - used at once
        for some in portions(families, weights, MOST_ROWS):

            def work(own: Connection, some: Sequence[Family] = some, named: Named = named) -> Counter[str]:
                counts, removed = _removed(own, some, named, options, now, least)
                keys.update(removed)
                return counts

            done.update(await desk.transact(work))
            await asyncio.sleep(0)
        if not families:
            return
        last = (families[-1].root.ended_at or 0, families[-1].root.id)


def _looked_at(connection: Connection, until: int, after: tuple[int, int]) -> tuple[list[Family], list[int], Named]:
    """The next families, how many rows each has, and what is named."""
    families = _candidates(connection, until, after)
    named = _named(connection) if families else Named(frozenset(), 0)
    return families, [_weight(connection, family) for family in families], named


def _candidates(connection: Connection, until: int, after: tuple[int, int]) -> list[Family]:
    """The next closed tickets, oldest end first, with those that were merged into them."""
    t = schema.tickets
    later = (t.c.ended_at > after[0]) | ((t.c.ended_at == after[0]) & (t.c.id > after[1]))
    statement = _record_columns().where(t.c.state == "closed", t.c.ended_at <= until, later)
    rows = connection.execute(statement.order_by(t.c.ended_at, t.c.id).limit(_CANDIDATES))
    return [Family(root, _members(connection, root)) for root in map(_record, rows)]


def _members(connection: Connection, root: Record) -> tuple[Record, ...]:
    """Those that were merged into it, and into these, the farthest first."""
    t, e = schema.tickets, schema.timeline
    levels: list[list[Record]] = []
    above = [root.id]
    seen = {root.id}
    while above and len(levels) < _DEEPEST:
        statement = select(e.c.data).where(e.c.ticket_id.in_(above), e.c.what == "absorbed")
        sources = {number(msgspec.json.decode(data)["source"]) for (data,) in connection.execute(statement)} - seen
        found = map(_record, connection.execute(_record_columns().where(t.c.id.in_(sorted(sources)))))
        # One that was split off again, or went on elsewhere, is not of this family.
        levels.append([record for record in found if record.merged_into in above])
        above = [record.id for record in levels[-1]]
        seen |= sources
    return tuple(record for level in reversed(levels) for record in level)


def _removed(
    connection: Connection, families: Sequence[Family], named: Named, options: RetentionOptions, now: int, least: int
) -> tuple[Counter[str], list[str]]:
    """Decide on what is there now, and delete it: since the families were read somebody may have reopened or named
    one."""
    _begin(connection)
    t, e, p = schema.tickets, schema.timeline, schema.problems
    newest = connection.execute(select(func.max(t.c.id))).scalar() or 0
    since = select(e.c.data).where(e.c.id > named.upto)
    problems = select(p.c.doc).where(p.c.state != "closed")
    also = {n for some in (since, problems) for n in names(text for (text,) in connection.execute(some))}
    fresh = [family for family in families if _is_as_it_was(connection, family)]
    going = removable(fresh, named.numbers | also, newest, options, now, least)
    ids = [record.id for family in going for record in family.records]
    counts: Counter[str] = Counter()
    if not ids:
        return counts, []
    with _deletable(connection, schema.timeline):
        for table, column in _of_tickets():
            counts[table.name] += connection.execute(delete(table).where(column.in_(ids))).rowcount
    counts["tickets"] += connection.execute(delete(t).where(t.c.id.in_(ids))).rowcount
    return +counts, [f"{PREFIX}{id}" for id in ids]


def _is_as_it_was(connection: Connection, family: Family) -> bool:
    t = schema.tickets
    ids = [record.id for record in family.records]
    found = {row.id: row.version for row in connection.execute(select(t.c.id, t.c.version).where(t.c.id.in_(ids)))}
    return found == {record.id: record.version for record in family.records}


def _named(connection: Connection) -> Named:
    """By open tickets and by resolved ones: in their documents and in their timelines."""
    t, e = schema.tickets, schema.timeline
    # First, so that what is written meanwhile is looked at again.
    upto = connection.execute(select(func.max(e.c.id))).scalar() or 0
    alive = t.c.state.in_(ALIVE)
    texts = (select(t.c.doc).where(alive), select(e.c.data).join(t, t.c.id == e.c.ticket_id).where(alive))
    found = {n for some in texts for n in names(text for (text,) in connection.execute(some))}
    return Named(found, upto)


def _weight(connection: Connection, family: Family) -> int:
    ids = [record.id for record in family.records]
    tables = [select(func.count()).select_from(table).where(column.in_(ids)) for table, column in _of_tickets()]
    return len(ids) + sum(connection.execute(statement).scalar() or 0 for statement in tables)


def _of_tickets() -> Iterator[tuple[Table, ColumnElement[Any]]]:
    """Every table whose rows belong to a ticket, by its foreign key."""
    for table in schema.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column is schema.tickets.c.id:
                yield table, key.parent


def _record_columns() -> Any:
    t = schema.tickets
    return select(t.c.id, t.c.version, t.c.state, t.c.mode, t.c.restricted, t.c.ended_at, t.c.doc)


def _record(row: Any) -> Record:
    known = msgspec.json.decode(row.doc, type=_Document)
    into = number(known.merged_into) if known.merged_into is not None else None
    return Record(
        row.id, row.version, row.state, row.mode, bool(row.restricted) or known.breach is not None, row.ended_at, into
    )


# --- other rows -----------------------------------------------------------------------------------------------------


def _rows(options: RetentionOptions, now: int, least: int) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Which rows of which tables may go beside the tickets'. What an open ticket rests on stays: its messages say who
    was told, its alerts what it is made of."""
    t, o, a, c, u = schema.tickets, schema.outbox, schema.alerts, schema.changes, schema.audit
    over = select(t.c.id).where(
        (t.c.state == "merged") | ((t.c.state == "closed") & (t.c.ended_at <= now - least))
    )  # fmt: skip
    alive = select(literal(PREFIX) + cast(t.c.id, Text)).where(t.c.state.in_(ALIVE))
    if options.outbox is not None:
        settled = o.c.state.in_(("sent", "dead", "cancelled")) & (o.c.settled_at <= now - options.outbox)
        yield o, settled & o.c.ticket_id.in_(over)
    if options.alerts is not None:
        ended = (a.c.status != "firing") & (a.c.last_at <= now - max(least, options.alerts))
        yield a, ended & (a.c.ticket_key.is_(None) | a.c.ticket_key.not_in(alive))
    if options.changes is not None:
        yield c, c.c.at <= now - options.changes
    if options.audit is not None:
        yield u, u.c.at <= now - options.audit


async def _emptied(desk: Desk, table: Table, which: ColumnElement[bool], done: Counter[str]) -> None:
    keys = list(table.primary_key.columns)

    def work(connection: Connection) -> int:
        _begin(connection)
        found = connection.execute(select(*keys).where(which).order_by(*keys).limit(MOST_ROWS)).all()
        if not found:
            return 0
        with _deletable(connection, table):
            if len(keys) == 1:
                statement = delete(table).where(keys[0].in_([row[0] for row in found]))
                return connection.execute(statement).rowcount
            return sum(
                connection.execute(delete(table).where(*(k == v for k, v in zip(keys, row, strict=True)))).rowcount
                for row in found
            )

    while count := await desk.transact(work):
        done[table.name] += count
        await asyncio.sleep(0)


# --- triggers -------------------------------------------------------------------------------------------------------


def _begin(connection: Connection) -> None:
    """SQLite's driver begins a transaction with the first row that is written, which is after a trigger is dropped."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _deletable(connection: Connection, table: Table) -> Iterator[None]:
    """Rows of an append-only table may be deleted inside, by this transaction alone; whatever goes wrong undoes that,
    too."""
    if table.name not in _SAID:
        yield
        return
    name = table.name
    if connection.dialect.name == "sqlite":
        made = [sql for sql in schema.append_only("sqlite", name, _SAID[name]) if f"{name}_no_delete" in sql]
        before, after = [f"DROP TRIGGER {name}_no_delete"], made
    else:
        # The table is locked against other writers from here to the end of the transaction.
        before = [f"ALTER TABLE {name} DISABLE TRIGGER {name}_append_only"]
        after = [f"ALTER TABLE {name} ENABLE TRIGGER {name}_append_only"]
    _run(connection, before)
    yield
    _run(connection, after)


def _run(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
