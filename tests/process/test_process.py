"""The process, line by line (``PROCESS.md`` of the product's papers); a test is named by the line that it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.notify.messages import sentence
from detector.nouns import Report, Reporter, Viewer
from detector.tickets.acts import NotAllowed
from detector.tickets.clocks import held
from tests.process.conftest import ANN, BEN, Desk
from tests.rows import DAY, HOUR, MINUTE, NOW, symptom

KIM = Reporter("Kim", "kim@example.org")
SECURITY = Viewer("sol", restricted=True)


async def reported(desk: Desk, *, security: bool = False, service: str = "shop") -> None:
    report = Report("Nothing can be bought", desk.now, KIM, service=service, security=security)
    await desk.pipeline.report(report)


async def detected(desk: Desk, left: int = 30 * MINUTE, service: str = "shop") -> None:
    await desk.pipeline.step([symptom(service=service, left=left)], [], desk.now)


async def recovered(desk: Desk, left: int = 30 * MINUTE, service: str = "shop") -> None:
    over = replace(symptom(service=service, left=left), active=False, last_at=desk.now)
    await desk.pipeline.step([over], [], desk.now)


# --- the three tiers --------------------------------------------------------------------------------------------------


async def test_P02_clocks_run_at_any_hour(desk: Desk) -> None:
    await detected(desk, left=2 * DAY, service="mail")
    await desk.pass_time(3 * DAY)  # a weekend and two nights
    assert (await desk.clock("response"))[0] == "breached"


async def test_P03_an_escalation_hands_over_what_was_tried_and_excluded(desk: Desk) -> None:
    await detected(desk, left=5 * HOUR, service="mail")
    await desk.act("hypothesis", text="the queue is stuck")
    await desk.act("hypothesis", text="a disk is full")
    await desk.act("settle", number=1, holds=False)
    await desk.act("escalate")
    said = next(sentence(entry) for entry in await desk.timeline() if entry.what == "escalated")
    assert "Excluded: the queue is stuck." in said
    assert "Next: find out whether: a disk is full." in said
    assert (await desk.ticket()).tier == "L2"


async def test_P05_what_is_critical_goes_to_L3_at_once_and_closes_with_its_cause_only(desk: Desk) -> None:
    await detected(desk)
    assert ((await desk.ticket()).priority, (await desk.ticket()).tier) == ("P1", "L3")
    assert await desk.told("l3") == ["opened"]
    hurting = symptom(service="shop", onset=desk.now, disruption=True, detector="rule")
    await desk.pipeline.step([hurting], [], desk.now)
    assert (await desk.ticket()).phase == "disrupting"
    await desk.act("resolve", force=True)
    with pytest.raises(NotAllowed, match="record cause, fix and prevention"):
        await desk.act("close")
    with pytest.raises(NotAllowed, match="missing: prevention"):
        await desk.act("record", cause="a leak", fix="a restart")
    await desk.act("record", cause="a leak", fix="a restart", prevention="a limit")
    assert (await desk.act("close")).state == "closed"


async def test_P05_an_acknowledgement_of_a_critical_one_expires_without_a_step_and_paging_resumes(desk: Desk) -> None:
    await detected(desk)
    assert await desk.told("l3") == ["opened"]
    await desk.act("ack")
    assert await desk.told("l3") == ["held by ann"]
    await desk.pass_time(20 * MINUTE)
    await desk.act("note", text="restarting")
    await desk.pass_time(29 * MINUTE)
    assert (await desk.ticket()).assignee == "ann"
    await desk.pass_time(2 * MINUTE)
    assert ((await desk.ticket()).assignee, (await desk.ticket()).state) == (None, "triaged")
    assert await desk.told("l3") == ["ann has taken no step: who does?"]
    await desk.act("ack", BEN)
    await desk.act("wait", BEN, reason="supplier")
    await desk.pass_time(HOUR)
    assert (await desk.ticket()).assignee == "ben"


# --- the nine activities ----------------------------------------------------------------------------------------------


async def test_P06_what_may_happen_soon_is_an_incident_before_it_happens(desk: Desk) -> None:
    await detected(desk)
    ticket = await desk.ticket()
    assert (ticket.kind, ticket.phase, ticket.disrupted_at) == ("incident", "predicted", None)


async def test_P07_time_source_and_symptoms_with_their_values_are_logged(desk: Desk) -> None:
    await detected(desk)
    ticket = await desk.ticket()
    assert (ticket.opened_at, ticket.first_symptom_at, ticket.source) == (NOW, NOW, "detected")
    assert [(s.name, s.value, s.labels["service"]) for s in ticket.symptoms] == [("disk", 1.0, "shop")]


async def test_P08_a_category_comes_before_anyone_is_assigned_and_a_persons_word_stays(desk: Desk) -> None:
    await detected(desk)
    entries = [entry.what for entry in await desk.timeline()]
    assert entries.index("triaged") < entries.index("routed")
    with pytest.raises(NotAllowed, match="'gremlins' is no category; there are: availability,"):
        await desk.act("categorise", category="gremlins")
    await desk.act("categorise", category="capacity/queue")
    await desk.pipeline.step([symptom("other", service="shop", category="errors", onset=desk.now)], [], desk.now)
    assert ((await desk.ticket()).category, (await desk.ticket()).category_by) == ("capacity/queue", "ann")


async def test_P09_priority_follows_from_the_matrix_and_says_why(desk: Desk) -> None:
    await detected(desk)
    ticket = await desk.ticket()
    assert (ticket.impact_users, ticket.urgency, ticket.priority) == ("high", "high", "P1")
    assert ticket.priority_reason == "high impact, high urgency: disruption expected within the hour"
    with pytest.raises(NotAllowed, match="needs a reason"):
        await desk.act("prioritise", priority="P3")
    await desk.act("prioritise", priority="P3", reason="a rehearsal")
    await desk.pass_time(31 * MINUTE)
    ticket = await desk.ticket()
    assert (ticket.priority, ticket.priority_reason) == ("P3", "set by ann: a rehearsal")


async def test_P10_similar_past_incidents_are_offered_with_what_solved_them(desk: Desk) -> None:
    """Also P18: the category and what it was about find past solutions, those that the reader may see."""
    for service in ("shop", "mail"):
        await detected(desk, service=service)
    await desk.act("record", cause="a log", fix="rotated it", prevention="logrotate")
    for key in ("INC-1", "INC-2"):
        await desk.act("resolve", key=key, force=True)
    await reported(desk, security=True)
    await desk.act("judge", SECURITY, key="INC-3", verdict="dismissed", text="nothing")
    await desk.act("resolve", SECURITY, key="INC-3", text="nothing")
    await desk.pass_time(26 * HOUR)
    again = symptom(service="shop", onset=desk.now, left=30 * MINUTE)
    await desk.pipeline.step([again], [], desk.now)
    found = (await desk.pipeline.desk.similar(await desk.ticket("INC-4"), ANN)).similar
    assert [dict(one) for one in found] == [
        {"key": "INC-1", "score": 1.0, "resolution": "fixed", "fix": "rotated it"}
    ]  # fmt: skip


async def test_P11_informing_a_tier_does_not_move_the_ticket(desk: Desk) -> None:
    await detected(desk, left=5 * HOUR, service="mail")
    await desk.act("inform", tier="L3", text="mail may stop tonight")
    assert (await desk.ticket()).tier == "L1"
    assert await desk.told("l3") == ["ann informs L3"]
    assert "L3 is informed: mail may stop tonight" in [sentence(e) for e in await desk.timeline()]


async def test_P12_what_recovers_unattended_is_resolved_and_what_somebody_holds_is_proposed(desk: Desk) -> None:
    await detected(desk)
    await recovered(desk)
    await desk.pass_time(11 * MINUTE)
    assert ((await desk.ticket()).state, (await desk.ticket()).resolution) == ("resolved", "self-recovered")
    await detected(desk, service="mail")
    await desk.act("ack", key="INC-2")
    await recovered(desk, service="mail")
    await desk.pass_time(11 * MINUTE)
    assert (await desk.ticket("INC-2")).state == "diagnosing"
    assert "resolution-proposed" in [entry.what for entry in await desk.timeline("INC-2")]


async def test_P13_what_returns_within_a_day_reopens_and_later_opens_a_linked_one(desk: Desk) -> None:
    await detected(desk)
    await desk.act("resolve", force=True)
    again = symptom(service="shop", onset=desk.now + HOUR, left=30 * MINUTE)
    await desk.pipeline.step([again], [], desk.now + HOUR)
    assert (await desk.ticket()).state in ("reopened", "triaged")
    assert (await desk.ticket()).reopenings == 1
    desk.now += 2 * HOUR
    await desk.act("resolve", force=True)
    later = desk.now + 26 * HOUR
    await desk.pass_time(26 * HOUR)
    await desk.pipeline.step([symptom(service="shop", onset=later, left=30 * MINUTE)], [], later)
    assert next(e for e in await desk.timeline("INC-2") if e.what == "opened").data["follows"] == "INC-1"


# --- the process of one ticket ----------------------------------------------------------------------------------------


async def test_P15_a_report_is_undecided_until_the_first_line_says_what_it_is(desk: Desk) -> None:
    await reported(desk)
    assert (await desk.ticket()).kind == "undecided"
    before = await desk.clock("resolution")
    assert (await desk.act("decide", kind="request")).kind == "request"
    assert (await desk.ticket()).category == "request"
    assert (await desk.act("decide", kind="incident")).kind == "incident"
    assert (await desk.ticket()).category == "other"
    assert ((await desk.ticket()).key, await desk.clock("resolution")) == ("INC-1", before)
    await detected(desk, service="mail")
    assert (await desk.ticket("INC-2")).kind == "incident"
    with pytest.raises(NotAllowed, match="has symptoms: it is an incident"):
        await desk.act("decide", key="INC-2", kind="request")


async def test_P16_the_reporters_words_name_and_time_are_logged(desk: Desk) -> None:
    await reported(desk)
    ticket = await desk.ticket()
    assert (ticket.description, ticket.reporter, ticket.reported_at) == ("Nothing can be bought", KIM, NOW)


async def test_P17_every_step_is_in_the_timeline_by_whom_and_when(desk: Desk) -> None:
    await detected(desk)
    await desk.act("ack")
    await desk.act("fix", BEN, text="a larger disk")
    people = [(e.who, e.what, e.at) for e in await desk.timeline() if e.who in ("ann", "ben")]
    assert people == [("ann", "acknowledged", NOW + 1), ("ben", "fix-applied", NOW + 2)]


@pytest.mark.parametrize("reason", ["user", "supplier", "change"])
async def test_P19_waiting_pauses_the_resolution_clock_with_its_reason_and_nothing_else(
    desk: Desk, reason: str
) -> None:
    await reported(desk)
    _, due = await desk.clock("resolution")
    await desk.act("wait", reason=reason, text="which browser?")
    assert ((await desk.ticket()).state, (await desk.ticket()).waiting) == ("waiting", reason)
    await desk.pass_time(3 * HOUR)
    assert (await desk.clock("resolution"))[0] == "paused"
    assert (await desk.clock("response"))[0] == "breached"
    await desk.act("resume")
    assert await desk.clock("resolution") == ("running", due + 180)
    with pytest.raises(NotAllowed, match="waits for user, supplier, change, not for 'lunch'"):
        await desk.act("wait", reason="lunch")


async def test_P20_a_hypothesis_is_stated_and_settled_and_the_fix_has_its_own_time(desk: Desk) -> None:
    await detected(desk)
    await desk.act("hypothesis", text="logs are not rotated")
    assert [(h.number, h.state) for h in (await desk.ticket()).hypotheses] == [(1, "stated")]
    await desk.act("settle", number=1, holds=True, text="the cron job is gone")
    assert [h.state for h in (await desk.ticket()).hypotheses] == ["confirmed"]
    with pytest.raises(NotAllowed, match="has no hypothesis 7; there are: 1"):
        await desk.act("settle", number=7)
    await desk.pass_time(HOUR)
    done = await desk.act("fix", text="cron job put back")
    assert done.fix_applied_at == desk.now


async def test_P22_restored_is_asked_of_the_symptoms_and_has_its_time(desk: Desk) -> None:
    await detected(desk)
    with pytest.raises(NotAllowed, match=r"still has 1 active symptoms \(disk\)"):
        await desk.act("restore")
    await desk.act("ack")
    await recovered(desk)
    restored = (await desk.act("restore", text="free space is back")).restored_at
    assert restored == desk.now
    await desk.pass_time(HOUR)
    assert (await desk.act("resolve")).restored_at == restored


# --- time targets -----------------------------------------------------------------------------------------------------


async def test_P24_a_persons_reply_stops_the_response_clock_of_a_report_and_acknowledging_does_not(desk: Desk) -> None:
    await reported(desk)
    assert await desk.clock("response") == ("running", 90)
    await desk.act("ack")
    await desk.act("note", text="seen")
    assert (await desk.clock("response"))[0] == "running"
    await desk.act("reply", text="We are looking at it")
    assert (await desk.clock("response"))[0] == "met"
    assert (await desk.ticket()).first_response_at == desk.now


async def test_P24_acknowledging_stops_the_response_clock_of_what_was_detected(desk: Desk) -> None:
    await detected(desk)
    assert await desk.clock("response") == ("running", 5)
    await desk.act("ack")
    assert (await desk.clock("response"))[0] == "met"


async def test_P25_a_reopening_continues_the_same_clock(desk: Desk) -> None:
    await detected(desk, left=5 * HOUR, service="mail")
    _, due = await desk.clock("resolution")
    await desk.act("resolve", force=True)
    assert (await desk.clock("resolution"))[0] == "met"
    await desk.pass_time(HOUR)
    await desk.act("reopen", reason="it is back")
    assert await desk.clock("resolution") == ("running", due)


async def test_P26_a_clock_warns_and_then_escalates_to_the_next_tier(desk: Desk) -> None:
    await detected(desk, left=2 * DAY, service="mail")
    assert ((await desk.ticket()).priority, (await desk.ticket()).tier) == ("P4", "L1")
    await desk.pass_time(136 * MINUTE)  # three quarters of three hours
    assert await desk.told("l1") == ["opened", "the response target is near"]
    assert [e.what for e in await desk.timeline() if e.what.startswith("clock-w")] == ["clock-warned"]
    await desk.pass_time(45 * MINUTE)
    assert ((await desk.ticket()).tier, await desk.told("l2")) == ("L2", ["escalated to L2"])
    said = [sentence(e) for e in await desk.timeline() if e.what == "escalated"]
    assert said == [
        "Escalated from L1 to L2: The response target was missed. "
        "Tried: No fix applied yet. Next: nothing is stated."
    ]  # fmt: skip
    assert held(await desk.timeline(), desk.now) == {"L1": 180 * MINUTE, "L2": desk.now - NOW - 180 * MINUTE}


# --- data breach ------------------------------------------------------------------------------------------------------


async def test_P27_a_suspected_breach_is_restricted_from_its_first_byte(desk: Desk) -> None:
    await reported(desk, security=True)
    assert await desk.pipeline.desk.ticket("INC-1", ANN) is None
    assert (await desk.ticket("INC-1", SECURITY)).restricted
    for channel in ("l1", "l2", "l3"):
        assert await desk.told(channel) == []


async def test_P28_it_goes_to_L3_and_a_named_person_confirms_or_dismisses_it_under_the_regulators_clock(
    desk: Desk,
) -> None:
    await reported(desk, security=True)
    ticket = await desk.ticket()
    assert (ticket.tier, ticket.category, ticket.breach) == ("L3", "security/data-breach", "suspected")
    assert await desk.clock("regulator") == ("running", 72 * 60)
    with pytest.raises(NotAllowed, match="say what was found"):
        await desk.act("judge", SECURITY, verdict="dismissed")
    await desk.act("judge", SECURITY, verdict="dismissed", text="a rehearsal")
    assert ((await desk.ticket()).breach, (await desk.clock("regulator"))[0]) == ("dismissed", "met")
    assert next(e.who for e in await desk.timeline() if e.what == "breach-judged") == "sol"


async def test_P29_a_confirmed_breach_closes_with_its_checklist_done(desk: Desk) -> None:
    await reported(desk, security=True)
    await desk.act("judge", SECURITY, verdict="confirmed", text="a mailbox was read")
    await desk.act("check", SECURITY, item="notify-regulator")
    assert (await desk.clock("regulator"))[0] == "met"
    await desk.act("resolve", SECURITY, text="accounts locked")
    with pytest.raises(NotAllowed, match="still to be done: contain, assess, notify-people, review"):
        await desk.act("close", SECURITY)
