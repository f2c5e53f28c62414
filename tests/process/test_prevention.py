"""P21: a response that prevents; and the acts with whoever reported (P04, P18, P19)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from detector.nouns import ActionRun, Impact, Viewer
from detector.pipeline import Policy
from detector.tickets.acts import NotAllowed
from detector.tickets.options import TicketOptions
from detector.tickets.prevention import ResponseOptions, effect, filled, proposed
from tests.process.conftest import BEN, POLICY, Desk
from tests.process.test_process import KIM, detected, recovered, reported
from tests.rows import HOUR, MINUTE, symptom

RUNBOOK = {
    "name": "disk full", "categories": ["capacity/disk"], "steps": ["delete old logs"],
    "actions": [{"name": "grow", "says": "adds 10 GiB", "url": "http://127.0.0.1:9/grow", "every": "10m",
                 "body": '{"k": "$key", "disk": "$item"}'}],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person(Viewer):
    """Whoever has a role, as the web room says it."""

    role: str = "agent"


def armed(**changed: object) -> Policy:
    response = ResponseOptions.model_validate({"runbooks": [RUNBOOK]} | changed)
    return replace(POLICY, tickets=TicketOptions(response=response))


async def test_P21_an_action_is_proposed_run_at_a_confirmed_press_and_recorded_with_its_answer(desk: Desk) -> None:
    desk.pipeline.set_policy(armed())
    await detected(desk, left=5 * HOUR)
    ticket = await desk.ticket()
    [action] = proposed(ticket, desk.pipeline.policy.tickets.response)
    assert filled(action, ticket) == '{"k": "INC-1", "disk": "disk"}'
    with pytest.raises(NotAllowed, match="confirm that it shall be run: adds 10 GiB"):
        await desk.act("run", name="grow")
    with pytest.raises(NotAllowed, match="is not offered"):
        await desk.act("run", name="rm -rf /", confirmed=True)
    seen: list[ActionRun] = []
    desk.pipeline.subscribe(lambda done: seen.extend(c for c in done.changes if isinstance(c, ActionRun)))
    before = (await desk.ticket()).impact
    await desk.act("run", name="grow", confirmed=True)
    assert [(run.name, run.who, run.body, run.before) for run in seen] == [
        ("grow", "ann", '{"k": "INC-1", "disk": "disk"}', before)
    ]
    with pytest.raises(NotAllowed, match="runs already"):
        await desk.act("run", name="grow", confirmed=True)
    await desk.act("answered-action", name="grow", ok=True, said="answered 200")
    [taken] = (await desk.ticket()).actions
    assert (taken.result, taken.said) == ("succeeded", "answered 200")
    assert proposed(await desk.ticket(), desk.pipeline.policy.tickets.response) == ()


async def test_P21_the_forecast_before_is_frozen_and_held_against_what_followed(desk: Desk) -> None:
    await detected(desk, left=2 * HOUR)
    before = (await desk.ticket()).impact
    await desk.act("prevent", text="deleted old logs")
    ticket = await desk.ticket()
    assert (ticket.prevention_before, effect(ticket, desk.now)) == (before, "open")
    better = Impact(desk.now + 8 * HOUR, desk.now + 9 * HOUR, desk.now + 11 * HOUR)
    await desk.pipeline.step([replace(symptom(service="shop", left=2 * HOUR), impact=better)], [], desk.now)
    ticket = await desk.ticket()
    assert (ticket.prevention_before, effect(ticket, desk.now)) == (before, "prevented")
    await recovered(desk, left=2 * HOUR)
    await desk.act("ack")
    await desk.pass_time(11 * MINUTE)
    proposals = [e.data["resolution"] for e in await desk.timeline() if e.what == "resolution-proposed"]
    assert proposals == ["prevented"]


async def test_P21_what_disrupts_all_the_same_was_not_helped_and_what_nobody_touched_recovered_by_itself(
    desk: Desk,
) -> None:
    await detected(desk, left=2 * HOUR)
    await desk.act("prevent", text="deleted old logs")
    hurting = symptom("sales", service="shop", onset=desk.now, disruption=True, detector="rule", item="")
    await desk.pipeline.step([hurting], [], desk.now)
    assert effect(await desk.ticket(), desk.now) == "not helped"
    await detected(desk, left=2 * HOUR, service="mail")
    await recovered(desk, left=2 * HOUR, service="mail")
    assert effect(await desk.ticket("INC-2"), desk.now) == "self-recovered"


async def test_P21_it_may_be_declined_limited_and_switched_off(desk: Desk) -> None:
    desk.pipeline.set_policy(armed())
    await detected(desk, left=5 * HOUR)
    await desk.act("decline", text="the disk is replaced tomorrow")
    assert (await desk.ticket()).prevention_declined == "the disk is replaced tomorrow"
    await desk.act("run", name="grow", confirmed=True)
    await desk.act("answered-action", name="grow", ok=False, said="timeout")
    with pytest.raises(NotAllowed, match="less than 10 min ago"):
        await desk.act("run", name="grow", confirmed=True)
    await desk.pass_time(11 * MINUTE)
    desk.pipeline.set_policy(armed(actions=False))
    with pytest.raises(NotAllowed, match="switched off"):
        await desk.act("run", name="grow", confirmed=True)
    only = RUNBOOK | {"actions": [RUNBOOK["actions"][0] | {"approve": "manager"}]}  # type: ignore[operator]
    desk.pipeline.set_policy(armed(runbooks=[only]))
    with pytest.raises(NotAllowed, match="with the role manager"):
        await desk.act("run", Person("bo", role="agent"), name="grow", confirmed=True)
    assert (await desk.act("run", Person("mo", role="manager"), name="grow", confirmed=True)).actions[-1].who == "mo"


# --- with whoever reported --------------------------------------------------------------------------------------------


async def test_P04_a_serious_report_gets_a_call_with_the_reporter_and_its_outcome(desk: Desk) -> None:
    await reported(desk)
    with pytest.raises(NotAllowed, match="a link or a number"):
        await desk.act("bridge")
    with pytest.raises(NotAllowed, match="begins with https"):
        await desk.act("bridge", link="javascript:alert(1)")
    await desk.act("bridge", link="https://meet.example/7", dial_in="+49 30 1 #7", attendees=["ben@example.org"])
    call = (await desk.ticket()).bridge
    assert call is not None
    assert call.attendees == ("ben@example.org", KIM.contact)
    assert call.ends - call.begins == HOUR
    await desk.act("end-bridge", BEN, text="the cache was cleared together")
    assert [e.what for e in await desk.timeline()][-1] == "bridge-ended"
    assert (await desk.ticket()).bridge == replace(call, outcome="the cache was cleared together")


async def test_P18_whether_an_offered_solution_was_used_and_helped_is_recorded(desk: Desk) -> None:
    await detected(desk, left=5 * HOUR)
    await desk.act("record", cause="logs", fix="rotate them", prevention="a timer")
    await desk.act("resolve", force=True)
    await desk.act("close")
    await desk.pass_time(49 * HOUR)
    await desk.pipeline.step([symptom(service="shop", left=5 * HOUR, onset=desk.now)], [], desk.now)
    ticket = await desk.pipeline.desk.similar(await desk.ticket("INC-2"), BEN)
    assert [(one["key"], one["fix"]) for one in ticket.similar] == [("INC-1", "rotate them")]
    await desk.act("use", key="INC-2", solution="INC-1", helped=True)
    assert [(used.key, used.helped) for used in (await desk.ticket("INC-2")).used] == [("INC-1", True)]
    with pytest.raises(NotAllowed, match="there is no incident or problem INC-77"):
        await desk.act("use", key="INC-2", solution="INC-77")


async def test_P19_the_basic_questions_of_the_category_are_asked_and_the_clock_waits_for_the_answers(
    desk: Desk,
) -> None:
    await reported(desk)
    await desk.act("categorise", category="latency")
    await desk.pass_time(HOUR)
    await desk.act("ask")
    ticket = await desk.ticket()
    assert [q.text for q in ticket.questions] == [
        "What is slow, and how long does it take?", "Since when?", "From where do you work?"
    ]  # fmt: skip
    assert (ticket.state, ticket.waiting, (await desk.clock("resolution"))[0]) == ("waiting", "user", "paused")
    with pytest.raises(NotAllowed, match="asked already"):
        await desk.act("ask")
    await desk.act("answer", answers={1: "the shop, a minute", 3: "home"})
    ticket = await desk.ticket()
    assert [q.answer for q in ticket.questions] == ["the shop, a minute", "", "home"]
    assert (ticket.waiting, (await desk.clock("resolution"))[0]) == (None, "running")
    with pytest.raises(NotAllowed, match="no question 9"):
        await desk.act("answer", answers={9: "x"})


async def test_P19_questions_are_configured_by_category(desk: Desk) -> None:
    options = TicketOptions.model_validate({"questions": {"capacity": ["How full is it?"], "": ["What is it?"]}})
    desk.pipeline.set_policy(replace(POLICY, tickets=options))
    await reported(desk)
    await desk.act("categorise", category="capacity/disk")
    await desk.act("ask")
    assert [q.text for q in (await desk.ticket()).questions] == ["How full is it?"]
