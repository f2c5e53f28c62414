"""A backup of the database, and a database from a backup: the same file for SQLite and PostgreSQL, either way.

A backup is one consistent view, taken while others write. What is restored is made beside what is there, or in one
transaction, and takes its place only when all of it is there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from detector.tickets import schema
from detector.tickets.database import APPLICATION, MIGRATIONS, StorageError, address, engine, storage_errors, upgrade
from detector.tickets.portable import BackupError, BackupWriter, Summary, batches, verify

LEFT_OUT = frozenset({"sessions"})
"""A login that was ended since must not come back to life: everybody logs in again."""
_AT_ONCE = 500


async def backup(url: str, file: Path, now: int) -> Summary:
    """Write all of the database to ``file`` and read it back; raises StorageError, BackupError, ValueError."""
    if (path := _sqlite_file(url)) is not None and not path.exists():
        raise StorageError(f"there is no database {path}")
    made = engine(url)
    try:
        with storage_errors():
            async with made.connect() as connection:
                connection = await _view(connection)
                return await connection.run_sync(_dump, file, now)
    finally:
        await made.dispose()


async def restore(url: str, file: Path, force: bool = False) -> Summary:
    """Fill the database from ``file``. One that holds anything is refused without ``force``, one that a daemon has open
    always; raises StorageError, BackupError, ValueError, and nothing was changed then."""
    found = verify(file)
    if found.header.revision not in _revisions():
        raise BackupError(
            f"{file} has revision {found.header.revision} of the schema, which this version does not know: it was made "
            "by a newer detector; upgrade this one"
        )
    path = _sqlite_file(url)
    if path is not None:
        await _restore_file(path, file, found, force)
    else:
        await _restore_server(url, file, found, force)
    return found


# --- out ------------------------------------------------------------------------------------------------------------


async def _view(connection: AsyncConnection) -> AsyncConnection:
    """A transaction that sees one moment to its end."""
    if connection.dialect.name == "sqlite":
        # The driver begins one for writes only; in WAL mode nobody waits for it.
        await connection.exec_driver_sql("BEGIN")
        checked = (await connection.exec_driver_sql("PRAGMA quick_check")).scalar()
        if checked != "ok":
            raise StorageError(f"the database is damaged: {checked}; restore the last good backup")
        return connection
    return await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _dump(connection: Connection, file: Path, now: int) -> Summary:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision not in _revisions():
        what = "holds no desk" if revision is None else f"has revision {revision}, which this version does not know"
        raise StorageError(f"the database {what}: nothing to back up")
    with BackupWriter(file, revision, now) as writer:
        for table in _stored(connection):
            if table.name in LEFT_OUT:
                continue
            writer.table(str(table.name), [str(column.name) for column in table.columns])
            statement = select(table).order_by(*table.primary_key.columns)
            for row in connection.execute(statement, execution_options={"yield_per": _AT_ONCE}):
                writer.row(tuple(row))
    return writer.summary


def _stored(connection: Connection) -> list[Table]:
    """Our tables as they are there, in an order in which rows can be put back."""
    names = set(inspect(connection).get_table_names()) & set(schema.metadata.tables)
    known = MetaData()
    known.reflect(connection, only=sorted(names))
    return known.sorted_tables


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


# --- in -------------------------------------------------------------------------------------------------------------


async def _restore_file(path: Path, file: Path, found: Summary, force: bool) -> None:
    _refuse_file(path, force)
    fresh = path.with_name(f"{path.name}.restoring")
    _remove(fresh)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        await _within(engine(address(fresh)), lambda connection: _fill(connection, file, found))
        _refuse_file(path, force)  # somebody may have started a daemon meanwhile
        os.replace(fresh, path)
    finally:
        _remove(fresh)


async def _restore_server(url: str, file: Path, found: Summary, force: bool) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        others = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
        )
        if connection.execute(others, {"name": APPLICATION}).scalar():
            raise StorageError("a detector is connected to the database: stop it first")
        stored = _stored(connection)
        _refuse_rows(connection, stored, force)
        for name in (*(table.name for table in reversed(stored)), "alembic_version"):
            connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
        for name in schema.metadata.tables:
            connection.execute(text(f"DROP FUNCTION IF EXISTS {name}_append_only()"))
        _fill(connection, file, found)

    await _within(engine(url), work)


async def _within(made: AsyncEngine, work: Callable[[Connection], None]) -> None:
    try:
        with storage_errors():
            async with made.begin() as connection:
                await connection.run_sync(work)
    finally:
        await made.dispose()


def _fill(connection: Connection, file: Path, found: Summary) -> None:
    """The schema as the backup knew it, its rows, then what came to the schema since."""
    upgrade(connection, found.header.revision)
    tables = {table.name: table for table in _stored(connection)}
    for section, rows in batches(file, _AT_ONCE):
        table = tables.get(section.table)
        if table is None or (unknown := sorted(set(section.columns) - set(table.columns.keys()))):
            what = f"table {section.table}" if table is None else f"column {section.table}.{unknown[0]}"
            raise BackupError(f"{file} has the {what}, which revision {found.header.revision} does not have")
        connection.execute(insert(table), [dict(zip(section.columns, row, strict=True)) for row in rows])
    for name, count in found.rows.items():
        if (stored := connection.execute(select(func.count()).select_from(tables[name])).scalar()) != count:
            raise StorageError(f"{stored} of {count} rows of {name} were stored: nothing was restored")
    if connection.dialect.name == "postgresql":
        _go_on_counting(connection, tables)
    elif connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise BackupError(f"{file} has rows of tickets that it does not have: it is damaged")
    upgrade(connection)


def _go_on_counting(connection: Connection, tables: dict[str, Table]) -> None:
    """The next ticket has the number after the last one: rows that bring their number do not move a sequence."""
    for name, table in tables.items():
        if "id" not in table.columns:
            continue
        sequence = connection.execute(select(func.pg_get_serial_sequence(name, "id"))).scalar()
        newest = connection.execute(select(func.max(table.c.id))).scalar()
        if sequence is not None and newest is not None:
            connection.execute(select(func.setval(sequence, newest)))


# --- what is refused ------------------------------------------------------------------------------------------------


def _refuse_file(path: Path, force: bool) -> None:
    """Raises StorageError where the SQLite file is in use, or holds something and is not to be replaced. Its journal is
    in it afterwards."""
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        connection = sqlite3.connect(path, timeout=0)
        try:
            # Refused while anybody else has it open, be it only to read.
            connection.execute("PRAGMA journal_mode=DELETE")
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            held = [name for name in sorted(there & set(schema.metadata.tables)) if _any(connection, name)]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise StorageError(f"{path} cannot be used: {error}") from None
        raise StorageError(f"{path} is in use: stop the detector first") from None
    except sqlite3.DatabaseError as error:
        if not force:
            raise StorageError(f"{path}: {error}; --force replaces it") from None
        return
    foreign = there - set(schema.metadata.tables) - {"alembic_version"}
    if (held or foreign) and not force:
        raise StorageError(f"{path} is not empty ({', '.join(held or sorted(foreign))}); --force replaces all of it")


def _any(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() is not None


def _refuse_rows(connection: Connection, tables: list[Table], force: bool) -> None:
    held = [table.name for table in tables if connection.execute(select(1).select_from(table).limit(1)).first()]
    if held and not force:
        raise StorageError(f"the database is not empty ({', '.join(sorted(held))}); --force replaces all of it")


def _sqlite_file(url: str) -> Path | None:
    """The file behind the address; None for PostgreSQL. ValueError for SQLite in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database:
        raise ValueError("a database in memory is nobody's to back up")
    return Path(parsed.database)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
