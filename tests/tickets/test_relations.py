"""Linked, split, behind one problem: on the real desk, and through a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detector.nouns import SYSTEM, Problem, Report, Ticket
from detector.pipeline import Pipeline
from detector.tickets.acts import NotAllowed
from detector.tickets.desk import Conflict
from detector.tickets.relations import changed_problem
from tests.rows import MINUTE, NOW, rows, symptom
from tests.web.house import filling


async def ticket(pipeline: Pipeline, key: str) -> Ticket:
    found = await pipeline.desk.ticket(key, SYSTEM)
    assert found is not None
    return found


async def test_a_split_takes_some_symptoms_with_their_evidence_and_later_news_finds_them(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'desk.db'}"
    disk = filling("/data", item="")
    hurting = symptom("writes", item="", disruption=True, detector="rule", kind="errors")
    async with rows(url=url) as pipeline:
        await pipeline.step([disk, hurting], [], NOW)
        before = await ticket(pipeline, "INC-1")
        assert (len(before.symptoms), before.phase) == (2, "disrupting")
        await pipeline.act("INC-1", "split", SYSTEM, now=NOW + 1, symptoms=[disk.id], reason="another disk")
        old, new = await ticket(pipeline, "INC-1"), await ticket(pipeline, "INC-2")
        assert ([s.id for s in old.symptoms], [s.id for s in new.symptoms]) == ([hurting.id], [disk.id])
        assert new.symptoms[0].evidence == disk.evidence
        assert (old.phase, new.phase, new.category) == ("disrupting", "predicted", "capacity/disk")
        assert [(link.key, link.how) for link in (*old.links, *new.links)] == [
            ("INC-2", "split-into"), ("INC-1", "split-from")
        ]  # fmt: skip
        await pipeline.step([replace(disk, active=False, last_at=NOW + MINUTE)], [], NOW + MINUTE)
        assert not (await ticket(pipeline, "INC-2")).symptoms[0].active
        assert (await ticket(pipeline, "INC-1")).symptoms[0].active
    async with rows(url=url) as pipeline:
        await pipeline.step([replace(hurting, active=False, last_at=NOW + 2 * MINUTE)], [], NOW + 2 * MINUTE)
        assert (await ticket(pipeline, "INC-1")).phase == "recovering"
        told = [e.what for e in await pipeline.desk.timeline("INC-1", SYSTEM)]
        assert "symptoms-moved" in told


@pytest.mark.parametrize("chosen", [[], ["nothing"], None])
async def test_a_split_takes_neither_nothing_nor_everything(chosen: list[str] | None) -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom("a", item=""), symptom("b", item="")], [], NOW)
        ids = [s.id for s in (await ticket(pipeline, "INC-1")).symptoms]
        with pytest.raises(NotAllowed, match="not all and not none"):
            await pipeline.act("INC-1", "split", SYSTEM, now=NOW + 1, symptoms=ids if chosen is None else chosen)


async def test_links_are_seen_from_both_ends_and_confidential_ones_stay_among_themselves() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom(service="a"), symptom("other", service="b")], [], NOW)
        await pipeline.report(Report("leak", NOW, security=True))
        await pipeline.act("INC-1", "link", SYSTEM, now=NOW + 1, to="INC-2", how="caused-by")
        assert [(x.key, x.how) for x in (await ticket(pipeline, "INC-1")).links] == [("INC-2", "caused-by")]
        assert [(x.key, x.how) for x in (await ticket(pipeline, "INC-2")).links] == [("INC-1", "causes")]
        for to, why in (("INC-3", "restricted"), ("INC-1", "itself"), ("INC-9", "no incident or problem")):
            with pytest.raises(NotAllowed, match=why):
                await pipeline.act("INC-1", "link", SYSTEM, now=NOW + 2, to=to)


async def test_a_problem_becomes_a_known_error_with_cause_and_workaround_and_two_cannot_change_it_at_once() -> None:
    async with rows() as pipeline:
        await pipeline.step([symptom()], [], NOW)
        made = await pipeline.problems.open(Problem("", 0, "disks too small", NOW, "ann", service="storage"))
        assert (made.key, made.version) == ("PRB-1", 1)
        await pipeline.act("INC-1", "link", SYSTEM, now=NOW + 1, to="PRB-1")
        assert [(x.key, x.how) for x in (await ticket(pipeline, "INC-1")).links] == [("PRB-1", "problem")]
        with pytest.raises(NotAllowed, match="a cause and a work-around"):
            changed_problem(made, "ben", NOW, state="known-error")
        known = changed_problem(made, "ben", NOW + 2, state="known-error", cause="small", workaround="clean up")
        await pipeline.problems.change(made, known)
        with pytest.raises(Conflict):
            await pipeline.problems.change(made, changed_problem(made, "cid", NOW + 3, title="other"))
        assert [p.key for p in await pipeline.problems.known_errors("storage")] == ["PRB-1"]
        assert await pipeline.problems.known_errors("mail") == []
        assert await pipeline.problems.one("PRB-2") is None
        assert await pipeline.problems.one("INC-1") is None
