"""Forgetting: what :mod:`detector.tickets.retention` lets go, in small transactions, between which others have their turn.

Timeline and audit log are append-only for everybody; here the triggers that hold that are off within the transaction
that deletes, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from detector.tickets import schema
from detector.tickets.audit import audited
from detector.tickets.commit import PREFIX, number
from detector.tickets.desk import OPEN_STATES, Desk
from detector.tickets.options import RetentionOptions
from detector.tickets.retention import Family, Record, horizon, names, portions, removable

MOST_ROWS = 500
"""Rows that one transaction deletes at most, except of one ticket that has more."""
_CANDIDATES = 100
_SAID = {"timeline": "the timeline", "audit": "the audit log"}
_DEEPEST = 50
"""Mergers into a merged one that are followed; nobody makes so many."""


class _Document(msgspec.Struct):
    """What of a ticket's document retention looks at."""

    breach: str | None = None
    merged_into: str | None = None


async def prune(desk: Desk, options: RetentionOptions, now: int, least: int) -> tuple[Counter[str], list[str]]:
    """Delete what ``options`` let go; returns rows by table, and the keys of the tickets. ``least`` (ms): nothing that
    ended so recently goes. What was done stands in the audit log, also when it ends before its time."""
    done: Counter[str] = Counter()
    keys: list[str] = []
    try:
        await _tickets(desk, options, now, least, done, keys)
        for table, which in _rows(options, now, least):
            await _emptied(desk, table, which, done)
    finally:
        if done:
            counts = {"rows": dict(done), "tickets": len(keys)}
            await desk.transact(lambda own: audited(own, now, "detector", "pruned", "retention", counts))
    return done, keys


# --- tickets --------------------------------------------------------------------------------------------------------


async def _tickets(
    desk: Desk, options: RetentionOptions, now: int, least: int, done: Counter[str], keys: list[str]
) -> None:
    until = horizon(options, now, least)
    if until is None:
        return
    last = (-1, 0)
    while True:
        families = await desk.transact(lambda own: _candidates(own, until, last))  # noqa: B023 - used at once
        if not families:
            return
        last = (families[-1].root.ended_at or 0, families[-1].root.id)
        weights = await desk.transact(lambda own: [_weight(own, family) for family in families])  # noqa: B023
        for some in portions(families, weights, MOST_ROWS):

            def work(own: Connection, some: Sequence[Family] = some) -> tuple[Counter[str], list[str]]:
                return _removed(own, some, options, now, least)

            counts, gone = await desk.transact(work)
            done.update(counts)
            keys += gone
            await asyncio.sleep(0)


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
    connection: Connection, families: Sequence[Family], options: RetentionOptions, now: int, least: int
) -> tuple[Counter[str], list[str]]:
    """Decide again on what is there now, and delete it: since the families were read somebody may have reopened one."""
    _begin(connection)
    t = schema.tickets
    newest = connection.execute(select(func.max(t.c.id))).scalar() or 0
    fresh = [family for family in families if _is_as_it_was(connection, family)]
    going = removable(fresh, _named(connection), newest, options, now, least)
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


def _named(connection: Connection) -> set[int]:
    """Numbers of tickets that something which is not over names."""
    t, e, p = schema.tickets, schema.timeline, schema.problems
    alive = t.c.state.in_(OPEN_STATES) | (t.c.state == "resolved")
    statements = (
        select(t.c.doc).where(alive),
        select(e.c.data).join(t, t.c.id == e.c.ticket_id).where(alive),
        select(p.c.doc).where(p.c.state != "closed"),
    )
    own = {id for (id,) in connection.execute(select(t.c.id).where(alive))}
    return own | {name for statement in statements for name in names(row[0] for row in connection.execute(statement))}


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
    t, o, a, s = schema.tickets, schema.outbox, schema.alerts, schema.alert_steps
    c, u = schema.changes, schema.audit
    over = select(t.c.id).where(
        (t.c.state == "merged") | ((t.c.state == "closed") & (t.c.ended_at <= now - least))
    )  # fmt: skip
    alive = select(PREFIX + func.cast(t.c.id, schema.audit.c.who.type)).where(t.c.state.not_in(("closed", "merged")))
    if options.outbox is not None:
        settled = o.c.state.in_(("sent", "dead", "cancelled")) & (o.c.settled_at <= now - options.outbox)
        yield o, settled & o.c.ticket_id.in_(over)
    if options.alerts is not None:
        ended = (a.c.status != "firing") & (a.c.last_at <= now - max(least, options.alerts))
        yield a, ended & (a.c.ticket_key.is_(None) | a.c.ticket_key.not_in(alive))
    if options.steps is not None:
        yield s, (s.c.at <= now - options.steps) & (s.c.ticket_key.is_(None) | s.c.ticket_key.not_in(alive))
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
    if connection.dialect.name == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
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
