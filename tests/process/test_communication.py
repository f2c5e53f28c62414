"""P14: the users are told while it lasts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.nouns import SYSTEM
from detector.pipeline import Policy
from detector.tickets.acts import NotAllowed
from detector.tickets.options import Communication, TicketOptions
from tests.process.conftest import BEN, POLICY, Desk
from tests.process.test_process import detected
from tests.rows import HOUR, MINUTE, symptom


async def disrupts(desk: Desk) -> None:
    hurting = symptom("sales", service="shop", onset=desk.now, disruption=True, detector="rule", item="")
    await desk.pipeline.step([hurting], [], desk.now)


def reviewed(review: str) -> Policy:
    return replace(POLICY, tickets=TicketOptions(communication=Communication.model_validate({"review": review})))


async def test_P14_a_prediction_is_internal_until_it_disrupts_or_a_person_publishes_it(desk: Desk) -> None:
    await detected(desk)
    ticket = await desk.ticket()
    assert (ticket.public, ticket.draft) == ((), None)
    assert [clock.name for clock in ticket.clocks] == ["response", "resolution"]
    await disrupts(desk)
    ticket = await desk.ticket()
    assert ticket.draft is not None
    assert ticket.draft.body == "We are looking into a disruption of shop."
    assert await desk.pipeline.desk.public(0) == []
    await desk.act("publish")
    [public] = await desk.pipeline.desk.public(0)
    assert [(u.status, u.by) for u in public.public] == [("investigating", "ann")]


async def test_P14_updates_have_a_clock_of_their_own_by_priority(desk: Desk) -> None:
    await detected(desk)
    await disrupts(desk)
    await desk.told("l3")
    await desk.act("ack")
    assert await desk.clock("update") == ("running", 30)
    await desk.act("publish")
    await desk.pass_time(20 * MINUTE)
    await desk.act("publish", status="investigating", body="Still looking.")
    state, due = await desk.clock("update")
    assert (state, due) == ("running", 50)
    await desk.pass_time(16 * MINUTE)
    await desk.act("note", text="changing the disk")
    await desk.pass_time(15 * MINUTE)
    assert (await desk.clock("update"))[0] == "breached"
    # Everybody who was told hears that the public waits; the ticket stays with whoever has it.
    assert "the public waits for an update" in await desk.told("l3")
    assert (await desk.ticket()).assignee == "ann"
    await desk.act("publish", status="identified", body="A disk died.")
    assert (await desk.clock("update"))[0] == "running"
    await desk.act("resolve", force=True)
    assert (await desk.clock("update"))[0] == "met"


async def test_P14_drafts_follow_what_happens(desk: Desk) -> None:
    await detected(desk)
    await disrupts(desk)
    await desk.act("publish")
    await desk.act("hypothesis", text="a dead disk")
    await desk.act("settle", number=1, holds=True)
    drafts = [(await desk.ticket()).draft]
    await desk.act("publish")
    over = replace(symptom("sales", service="shop", onset=(await desk.ticket()).symptoms[-1].first_at, disruption=True,
                           detector="rule", item=""), active=False)  # fmt: skip
    await desk.pipeline.step([over], [], desk.now)
    drafts.append((await desk.ticket()).draft)
    await desk.act("publish")
    await desk.act("resolve", force=True)
    drafts.append((await desk.ticket()).draft)
    assert [draft.status for draft in drafts if draft] == ["identified", "monitoring", "resolved"]


async def test_P14_a_word_can_need_the_eyes_of_somebody_else_or_of_nobody(desk: Desk) -> None:
    desk.pipeline.set_policy(reviewed("another"))
    await detected(desk)
    with pytest.raises(NotAllowed, match="somebody else publishes"):
        await desk.act("publish", status="investigating", body="x")
    await desk.act("draft", status="investigating", body="We look into it.")
    with pytest.raises(NotAllowed, match="somebody else publishes"):
        await desk.act("publish")
    with pytest.raises(NotAllowed, match="as it was reviewed"):
        await desk.act("publish", BEN, body="other words", status="investigating")
    assert (await desk.act("publish", BEN)).public[0].body == "We look into it."
    desk.pipeline.set_policy(reviewed("nobody"))
    await desk.pipeline.step([symptom(service="mail", onset=desk.now, disruption=True)], [], desk.now)
    assert [(u.status, u.by) for u in (await desk.ticket("INC-2")).public] == [("investigating", SYSTEM.name)]


async def test_P14_nothing_confidential_merged_or_empty_is_published(desk: Desk) -> None:
    await detected(desk)
    with pytest.raises(NotAllowed, match="say what the public should know"):
        await desk.act("publish", status="investigating", body=" ")
    with pytest.raises(NotAllowed, match="one of: investigating"):
        await desk.act("publish", body="x")
    await desk.pass_time(HOUR)
    assert (await desk.ticket()).public == ()
