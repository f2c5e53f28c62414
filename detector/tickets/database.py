"""The engine: SQLite by default, PostgreSQL when addressed; brought to this version's schema before it is used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

MIGRATIONS = Path(__file__).parent / "migrations"


class StorageError(Exception):
    """The database cannot be read or written now: a full disk, a server that restarts. Nothing was acknowledged."""


def address(path: Path | None) -> str:
    """The address of SQLite in a file, or in memory."""
    return "sqlite+aiosqlite://" if path is None else f"sqlite+aiosqlite:///{path}"


def engine(url: str) -> AsyncEngine:
    """An engine for ``url``; ValueError with the remedy where it cannot be one."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(f"database {parsed.get_backend_name()!r} is not supported: sqlite or postgresql")
        if parsed.get_backend_name() == "postgresql":
            return create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
        memory: dict[str, Any] = {} if parsed.database else {"poolclass": StaticPool}
        made = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), **memory)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ValueError(f"tickets.database is not a database address: {error}") from None
    except ModuleNotFoundError:
        raise ValueError("PostgreSQL needs the extra: pip install 'proactive-detector[postgres]'") from None
    event.listen(made.sync_engine, "connect", _sqlite_settings)
    return made


def _sqlite_settings(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL: readers do not wait for the writer. FULL: a commit is on the disk before anybody is answered.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def migrate(made: AsyncEngine) -> None:
    """Bring the schema to this version; idempotent."""
    with storage_errors():
        async with made.begin() as connection:
            await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the driver raises becomes :class:`StorageError`, with the reason in a few words."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(str(error.orig)) from error
    except (sqlite3.Error, OSError) as error:
        raise StorageError(str(error)) from error
