"""A backup holds everything, fits either database, and a restore never leaves half of one."""

from __future__ import annotations

import gzip
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from detector.nouns import SYSTEM, Report, Reporter
from detector.tickets import schema
from detector.tickets.audit import audited
from detector.tickets.backup import LEFT_OUT, backup, restore
from detector.tickets.database import StorageError, address, engine, upgrade
from detector.tickets.desk import Desk
from detector.tickets.portable import BackupError, verify
from tests.rows import NOW, alert, rows, symptom
from tests.tickets.test_database import HOSTILE, differences

Place = Callable[[str], str]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The address of a database by its kind; of SQLite as many as there are names."""

    def of(name: str) -> str:
        return request.getfixturevalue("postgres") if name == "postgresql" else address(tmp_path / f"{name}.db")

    return of


async def filled(url: str) -> dict[str, list[Any]]:
    """Two incidents, a report in hostile words, an audit entry; all rows by table."""
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom(), symptom("b", service="b")], [alert()], NOW)
        await pipeline.act("INC-1", "ack", SYSTEM, now=NOW + 1)
        said = "".join(HOSTILE.values())
        await pipeline.report(Report(said, NOW, Reporter(said, said), security=True))
        await pipeline.desk.transact(lambda own: audited(own, NOW, "ann", "logged-in", "", {}))
        return await everything(pipeline.desk)


async def everything(desk: Desk) -> dict[str, list[Any]]:
    def read(connection: Connection) -> dict[str, list[Any]]:
        return {
            name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for name, table in schema.metadata.tables.items()
            if name not in LEFT_OUT
        }

    return await desk.read(read)


async def held(url: str) -> dict[str, list[Any]]:
    desk = Desk(engine(url))
    try:
        await desk.fits()
        return await everything(desk)
    finally:
        await desk.close()


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["other", "postgresql"])
async def test_what_is_restored_is_what_was_there_and_goes_on_from_there(
    source: str, target: str, place: Place, tmp_path: Path
) -> None:
    before = await filled(place(source))
    file = tmp_path / "backup.gz"
    done = await backup(place(source), file, NOW)
    assert (done.rows["tickets"], verify(file)) == (len(before["tickets"]), done)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    force = source == target
    await restore(place(target), file, force)
    assert await held(place(target)) == before
    async with rows(url=place(target)) as pipeline:
        async with pipeline.desk.engine.connect() as connection:
            assert await connection.run_sync(differences) == []
        (opened,) = await pipeline.step([symptom("new", service="new")], [], NOW + 2)
        assert opened.ticket.key == f"INC-{len(before['tickets']) + 1}"
        for table in ("timeline", "audit"):
            with pytest.raises((StorageError, DBAPIError), match="append-only"):
                await pipeline.desk.transact(lambda own, table=table: own.execute(text(f"DELETE FROM {table}")))


async def test_a_backup_is_one_moment_although_others_write_meanwhile(place: Place, tmp_path: Path) -> None:
    async with rows(url=place("sqlite")) as pipeline:
        await pipeline.step([symptom()], [], NOW)
        before = await everything(pipeline.desk)
        async with pipeline.desk.engine.connect() as reader:
            await reader.exec_driver_sql("BEGIN")
            await reader.execute(select(func.count()).select_from(schema.tickets))
            await pipeline.step([symptom("b", service="b")], [], NOW + 1)  # nobody waits for who reads
            count = await reader.execute(select(func.count()).select_from(schema.tickets))
            assert count.scalar() == len(before["tickets"])
        await backup(place("sqlite"), tmp_path / "b.gz", NOW)  # and a daemon that is connected keeps nobody from it
    assert verify(tmp_path / "b.gz").rows["tickets"] == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_that_holds_anything_is_replaced_by_force_only_and_never_under_a_daemon(
    kind: str, place: Place, tmp_path: Path
) -> None:
    await filled(place("first"))
    await backup(place("first"), tmp_path / "b.gz", NOW)
    async with rows(url=place(kind)) as pipeline:
        await pipeline.step([symptom("mine", service="mine")], [], NOW)
        before = await everything(pipeline.desk)
        with pytest.raises(StorageError, match="stop"):
            await restore(place(kind), tmp_path / "b.gz", force=True)
    with pytest.raises(StorageError, match=r"is not empty .*--force"):
        await restore(place(kind), tmp_path / "b.gz")
    assert await held(place(kind)) == before
    await restore(place(kind), tmp_path / "b.gz", force=True)
    assert await held(place(kind)) == await held(place("first"))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda raw: raw[: len(raw) // 2], "cut short"),
        (lambda raw: raw[:-40], "cut short"),
        (lambda raw: raw[:200] + bytes([raw[200] ^ 1]) + raw[201:], "damaged"),
        (lambda raw: gzip.compress(gzip.decompress(raw).replace(b'"disk', b'"desk')), "checksum"),
        (lambda raw: gzip.compress(b"\n".join(gzip.decompress(raw).splitlines()[:-1])), "cut short"),
        (lambda raw: gzip.compress(gzip.decompress(raw) + b"[1]\n"), "something follows"),
        (lambda raw: gzip.compress(gzip.decompress(raw).replace(b'"0002"', b'"0999"')), "damaged|newer detector"),
        (lambda raw: gzip.compress(b'{"format":"x","version":1,"revision":"","at":0}\n'), "no backup of a detector"),
        (lambda raw: b"not even gzip", "no backup of a detector"),
        (lambda raw: b"", "no backup of a detector"),
    ],
)
async def test_what_is_not_whole_is_refused_and_changes_nothing(
    kind: str, harm: Callable[[bytes], bytes], why: str, place: Place, tmp_path: Path
) -> None:
    await filled(place("first"))
    file = tmp_path / "b.gz"
    await backup(place("first"), file, NOW)
    file.write_bytes(harm(file.read_bytes()))
    before = await filled(place(kind))
    with pytest.raises(BackupError, match=why):
        await restore(place(kind), file, force=True)
    assert await held(place(kind)) == before


async def test_a_backup_of_an_older_release_is_brought_to_this_schema(place: Place, tmp_path: Path) -> None:
    made = engine(place("old"))
    async with made.begin() as connection:
        await connection.run_sync(upgrade, "0001")
        values = "1, 1, 'incident', 'closed', NULL, 's', 'page', 'P1', 'L1', FALSE, 5, 6, NULL, NULL, '{}'"
        await connection.execute(text(f"INSERT INTO tickets VALUES ({values})"))
    await made.dispose()
    await backup(place("old"), tmp_path / "b.gz", NOW)
    assert verify(tmp_path / "b.gz").header.revision == "0001"
    await restore(place("new"), tmp_path / "b.gz")
    assert [row[:2] for row in (await held(place("new")))["tickets"]] == [(1, 1)]


async def test_there_is_nothing_to_back_up_where_there_is_no_desk(place: Place, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        await backup(place("nowhere"), tmp_path / "b.gz", NOW)
    assert not (tmp_path / "nowhere.db").exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match="holds no desk"):
        await backup(place("empty"), tmp_path / "b.gz", NOW)
    assert not list(tmp_path.glob("b.gz*"))
    with pytest.raises(BackupError, match="does not exist"):
        await restore(place("new"), tmp_path / "b.gz")
    assert not (tmp_path / "new.db").exists()


async def test_a_disk_that_fills_up_leaves_the_backup_of_yesterday(place: Place, tmp_path: Path) -> None:
    await filled(place("first"))
    file = tmp_path / "b.gz"
    await backup(place("first"), file, NOW)
    yesterday = file.read_bytes()
    async with rows(url=place("first")) as pipeline:
        await pipeline.report(Report(token_hex(500_000), NOW, Reporter("x")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            await backup(place("first"), file, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (file.read_bytes(), list(tmp_path.glob("*.partial"))) == (yesterday, [])
