"""Keeping the database: what ``detector db`` does, on the database that the configuration names.

In: the command's words. Out: a sentence on how it went; StartError, StorageError or BackupError says why it did not.
"""

from __future__ import annotations

import asyncio
import getpass
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from detector.clock import Clock, SystemClock, parse_rfc3339, rfc3339
from detector.config.compose import load
from detector.daemon.parts import StartError
from detector.nouns import Viewer
from detector.tickets.audit import audited
from detector.tickets.backup import backup, restore
from detector.tickets.database import StorageError, address, engine, migrate
from detector.tickets.desk import Desk
from detector.tickets.portable import BackupError
from detector.tickets.register import as_csv, register
from detector.web.record import json_bytes, ticket_json

T = TypeVar("T")
PORTION = 200
STDOUT = "-"


def migrate_database(config: Path | None, data_dir: Path | None) -> str:
    """Bring the database to this version's schema."""
    url = _url(config, data_dir)

    async def run() -> None:
        made = engine(url)
        try:
            await migrate(made)
        finally:
            await made.dispose()

    (data_dir or Path("data")).mkdir(parents=True, exist_ok=True)
    _run(run)
    return "the database has this version's schema"


def backup_database(config: Path | None, data_dir: Path | None, file: Path, clock: Clock | None = None) -> str:
    """Write all of it to ``file``, while a daemon runs or not."""
    url, now = _url(config, data_dir), (clock or SystemClock()).now()
    found = _run(lambda: backup(url, file, now))
    return f"{file}: {found.said}, read back and whole"


def restore_database(config: Path | None, data_dir: Path | None, file: Path, force: bool = False) -> str:
    """Fill the database from ``file``."""
    url = _url(config, data_dir)
    found = _run(lambda: restore(url, file, force))
    return f"restored from {file}, made at {rfc3339(found.header.at)}: {found.said}. Everybody has to log in again"


def export_database(
    config: Path | None,
    data_dir: Path | None,
    *,
    since: str | None = None,
    output: str = STDOUT,
    restricted: bool = False,
    breaches: bool = False,
    clock: Clock | None = None,
) -> str:
    """Tickets with their timelines as JSON lines, oldest first, or the register of data breaches as JSON and CSV; into
    the folder ``output``, or on standard output (the register as JSON)."""
    try:
        start = parse_rfc3339(since) if since is not None else None
    except ValueError as error:
        raise StartError(f"--since: {error}") from None
    url, viewer = _url(config, data_dir), Viewer("export", restricted=restricted or breaches)
    now = (clock or SystemClock()).now()

    async def run() -> str:
        desk = Desk(engine(url))
        try:
            await desk.fits()
            if viewer.restricted:
                what = "breaches" if breaches else "incidents"
                await desk.transact(lambda own: audited(own, now, _whoever(), "exported", what, {"to": output}))
            if breaches:
                return await _export_register(desk, viewer, output)
            return await _export_tickets(desk, viewer, start, output, now)
        finally:
            await desk.close()

    return _run(run)


async def _export_tickets(desk: Desk, viewer: Viewer, since: int | None, output: str, now: int) -> str:
    file, out = _out(output, "incidents.jsonl")
    count, after = 0, 0
    with out:
        while tickets := await desk.since(since, viewer, after, PORTION):
            timelines = await desk.timelines(tickets, viewer)
            for ticket in tickets:
                out.write(json_bytes(ticket_json(ticket, timelines[ticket.key], now)) + b"\n")
            count += len(tickets)
            after = int(tickets[-1].key.rpartition("-")[2])
        out.flush()
    left_out = "" if viewer.restricted else "; restricted ones are left out without --restricted"
    return f"{file}: {count} tickets{left_out}"


async def _export_register(desk: Desk, viewer: Viewer, output: str) -> str:
    tickets = await desk.breaches(viewer)
    timelines = await desk.timelines(tickets, viewer)
    records = register((ticket, timelines[ticket.key]) for ticket in tickets)
    bodies = {"breaches.json": json_bytes({"items": records}) + b"\n", "breaches.csv": as_csv(records).encode()}
    for name, body in bodies.items():
        if output == STDOUT and name != "breaches.json":
            continue
        _, out = _out(output, name)
        with out:
            out.write(body)
            out.flush()
    place = "standard output" if output == STDOUT else str(Path(output))
    return f"{place}: {len(records)} entries of the register of data breaches"


def _out(output: str, name: str) -> tuple[str, BinaryIO]:
    """Where it goes: a file that only its owner reads, in a folder that is made; or standard output, left open."""
    if output == STDOUT:
        return "standard output", io.BufferedWriter(io.FileIO(os.dup(sys.stdout.fileno()), "wb"))
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return str(path), os.fdopen(handle, "wb")


def _whoever() -> str:
    """The account in whose shell this runs."""
    try:
        return f"{getpass.getuser()} (shell)"
    except (OSError, KeyError):
        return "shell"


def _url(config: Path | None, data_dir: Path | None) -> str:
    return load(config).root.tickets.database or address((data_dir or Path("data")) / "detector.db")


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work()

    try:
        return asyncio.run(run())
    except BrokenPipeError:
        raise
    except BackupError as error:
        raise StartError(str(error)) from None
    except (ValueError, StorageError) as error:
        raise StartError(f"the database cannot be used: {error}") from None
    except OSError as error:
        raise StartError(f"{error.filename or 'the file'}: {error.strerror or error}") from None
