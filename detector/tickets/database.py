"""The engine: SQLite by default, PostgreSQL when addressed; brought to this version's schema before it is used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

T = TypeVar("T")
APPLICATION = "detector"
"""What PostgreSQL lists a connection of ours as."""
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
            named = {"server_settings": {"application_name": APPLICATION}}
            return create_async_engine(
                parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True, connect_args=named
            )
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


class FileWriter:
    """The one who writes a SQLite file: a thread with a connection of its own, in which a whole transaction is one hop.

    The asynchronous driver hops to its thread and back for every statement, ten times a commit; on a busy core that is
    most of a commit's time. Readers keep using it: WAL lets them go on beside the writer.
    """

    def __init__(self, url: URL) -> None:
        self.engine = create_engine(url.set(drivername="sqlite"))
        event.listen(self.engine, "connect", _sqlite_settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")

    @classmethod
    def beside(cls, made: AsyncEngine) -> FileWriter | None:
        """For an engine of a file; in memory there is one connection, and PostgreSQL has no thread to hop to."""
        is_file = made.url.get_backend_name() == "sqlite" and made.url.database
        return cls(made.url) if is_file else None

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transacted, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()

    def _transacted(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)


async def migrate(made: AsyncEngine) -> None:
    """Bring the schema to this version; idempotent."""
    with storage_errors():
        async with made.begin() as connection:
            await connection.run_sync(upgrade)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the schema to the revision ``to``."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def is_current(connection: Connection) -> bool:
    """Whether the schema is this version's."""
    heads = ScriptDirectory(str(MIGRATIONS)).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the driver raises becomes :class:`StorageError`, with the reason in a few words."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(str(error.orig)) from error
    except (sqlite3.Error, OSError, PoolTimeout) as error:
        raise StorageError(str(error)) from error
