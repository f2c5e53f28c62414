"""Migrations make what the schema says, on both databases; a pipeline runs on PostgreSQL as on SQLite."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from detector.nouns import SYSTEM, Findings, Report, Reporter, Viewer
from detector.tickets import schema
from detector.tickets.database import address, engine, migrate
from detector.tickets.desk import Desk
from tests.rows import NOW, alert, rows, symptom


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))


async def test_a_migrated_database_is_the_schema_and_migrating_again_changes_nothing(tmp_path: Path) -> None:
    made = engine(address(tmp_path / "desk.db"))
    for _ in range(2):
        await migrate(made)
        async with made.connect() as connection:
            assert await connection.run_sync(differences) == []
    await made.dispose()


async def test_postgresql_serves_as_well(postgres: str) -> None:
    async with rows(url=postgres) as pipeline:
        await pipeline.step([symptom()], [alert()], NOW)
        await pipeline.act("INC-1", "ack", SYSTEM, now=NOW + 1)
        timeline = await pipeline.desk.timeline("INC-1", SYSTEM)
        assert [entry.what for entry in timeline][-1] == "clock-met"
    async with rows(url=postgres) as pipeline:
        await pipeline.step([symptom()], [alert()], NOW + 2)
        assert await pipeline.tick(NOW + 3) is not None
        async with pipeline.desk.engine.connect() as connection:
            assert await connection.run_sync(differences) == []


@pytest.mark.parametrize(
    ("url", "why"), [("mysql://h/db", "not supported"), ("what is this", "not a database address")]
)
async def test_an_address_that_cannot_be_one_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        await Desk.open(url)


HOSTILE = {
    "nul": "a\0b", "half a surrogate pair": "\ud800", "quote": "'; DROP TABLE tickets; --", "html": "<script>",
    "long": "x" * 20_000, "template": "{{ 7*7 }}", "right to left": "\u202e",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_text_of_strangers_is_stored_and_harms_nobody_beside_it(
    what: str, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = HOSTILE[what]
    url = address(tmp_path / "desk.db") if backend == "sqlite" else request.getfixturevalue("postgres")
    labels = {"service": text, "category": text, "kind": text, "severity": text, "weird": text}
    annotations = {"summary": text, "runbook_url": text}
    hostile = alert(text, labels=labels, annotations=annotations, fingerprint=f"{list(HOSTILE).index(what):016x}")
    async with rows(url=url) as pipeline:
        done = await pipeline.step([symptom(what, service=what)], [hostile], NOW)
        assert len(done) == 2
        for committed in done:
            await pipeline.act(committed.ticket.key, "note", Viewer(text), now=NOW, text=f"see {text}")
            assert await pipeline.desk.timeline(committed.ticket.key, SYSTEM)
        await pipeline.report(Report(text, NOW, Reporter(text, text), title=text, service=text, idempotency_key=text))


async def test_a_post_that_cannot_be_decided_does_not_refuse_those_beside_it() -> None:
    async with rows() as pipeline:
        broken = replace(symptom("b", service="b"), score=None)  # type: ignore[arg-type]
        posts = [pipeline.findings(Findings(NOW, (s,)), NOW) for s in (symptom("a", service="a"), broken)]
        waiting = asyncio.gather(*posts, pipeline.alerts([alert()], NOW), return_exceptions=True)
        decider = asyncio.create_task(pipeline.run())
        good, bad, fine = await waiting
        decider.cancel()
        assert (good, fine) == (None, None)
        assert isinstance(bad, TypeError)
