"""Tickets that were read once are not read again, and never shown as they were."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from detector.nouns import SYSTEM, Viewer
from detector.pipeline import Pipeline
from detector.tickets.acts import NotAllowed
from detector.tickets.database import address
from detector.tickets.desk import Conflict, Desk, Draft, TicketQuery
from tests.rows import NOW, rows, symptom


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(tmp_path / "d.db") if request.param == "sqlite" else request.getfixturevalue("postgres")


async def test_a_desk_that_remembers_shows_what_one_that_has_just_come_reads(url: str) -> None:
    dice = random.Random(5)
    async with rows(url=url) as pipeline:
        other = await Desk.open(url)
        for n in range(60):
            name = f"s{dice.randrange(8)}"
            await pipeline.step([symptom(name, service=name, active=dice.random() < 0.7)], [], NOW + n)
            if found := await pipeline.desk.every_open(SYSTEM):
                action = dice.choice(["ack", "note", "resolve"])
                arguments = {"note": {"text": "x"}, "resolve": {"force": True}}.get(action, {})
                with suppress(NotAllowed):
                    await pipeline.act(dice.choice(found).key, action, SYSTEM, now=NOW + n, **arguments)
            fresh = Desk(other.engine)
            for viewer in (SYSTEM, Viewer("ann")):
                assert await pipeline.desk.every_open(viewer) == await fresh.every_open(viewer)
                query = TicketQuery(limit=5)
                assert await pipeline.desk.tickets(query, viewer) == await fresh.tickets(query, viewer)
        await other.close()


async def test_a_conflict_names_the_ticket_and_writes_nothing_of_the_commit(url: str) -> None:
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom(), symptom("b", service="b")], [], NOW)
        one, two = (await pipeline.desk.tickets(TicketQuery(), SYSTEM)).items
        other = Pipeline(pipeline.desk, pipeline.policy, pipeline._telemetry)
        await other.load(NOW)
        await other.act(two.key, "note", SYSTEM, now=NOW, text="meanwhile")
        with pytest.raises(Conflict, match=two.key):
            await pipeline.desk.commit([Draft(one, one, ()), Draft(two, two, ())])
        assert [t.version for t in (await pipeline.desk.tickets(TicketQuery(), SYSTEM)).items] == [1, 2]


async def test_timelines_of_many_are_those_of_each(url: str) -> None:
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom(f"s{n}", service=f"s{n}") for n in range(7)], [], NOW)
        found = (await pipeline.desk.tickets(TicketQuery(), SYSTEM)).items
        together = await pipeline.desk.timelines(found, SYSTEM)
        assert together == {ticket.key: await pipeline.desk.timeline(ticket.key, SYSTEM) for ticket in found}


async def test_symptoms_keep_their_order_when_some_went_elsewhere(url: str) -> None:
    async with rows(url=url) as pipeline:
        labels = [{"name": str(n), "service": "storage"} for n in range(6)]
        signs = [symptom("disk", labels=labels[n]) for n in range(6)]
        signs.sort(key=lambda s: s.id, reverse=True)  # the order that a database would not choose by itself
        await pipeline.step(signs[:3], [], NOW)
        await pipeline.act("INC-1", "split", SYSTEM, now=NOW, symptoms=(signs[0].id,))
        for n in (3, 4, 5):
            await pipeline.step([signs[n]], [], NOW + n)
        stored = await pipeline.desk.ticket("INC-1", SYSTEM)
        assert stored is not None
        board = pipeline.board.tickets["INC-1"]
        assert [s.id for s in stored.symptoms] == [s.id for s in board.symptoms]
