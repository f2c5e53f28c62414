"""What is muted on its way through the pipeline: recorded, silent, and told when the silence ends and it goes on."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from detector.incidents.mute import InhibitRule, Maintenance, NoiseOptions
from detector.nouns import SYSTEM, Sent, Silence, Ticket
from detector.pipeline import Pipeline, Policy
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import HOUR, MINUTE, NOW, alert, rows, symptom

PAGER = (Route("pager"),)


def silence(*matchers: tuple[str, str, str], start: int = NOW, end: int = NOW + HOUR, **values: Any) -> Silence:
    return Silence(str(uuid.uuid4()), matchers, start, end, start, "ann", "patching", **values)


async def told(pipeline: Pipeline, now: int) -> list[tuple[str, str]]:
    """Event and key of every message that is owed by ``now``, taken out."""
    outbox, out = Outbox(pipeline.desk), []
    while (message := await outbox.claim("pager", now, MINUTE)) is not None:
        out.append((message.event, message.ticket.key))
        await outbox.settle(message.id, Sent("r"), now)
    return out


async def ticket(pipeline: Pipeline, key: str = "INC-1") -> Ticket:
    found = await pipeline.desk.ticket(key, SYSTEM)
    assert found is not None
    return found


async def test_a_silenced_alert_has_its_incident_and_nobody_is_told_until_the_silence_ends() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.silence([silence(("alertname", "=", "HighLatency"))], NOW)
        await pipeline.step([], [alert()], NOW + 1)
        muted = await ticket(pipeline)
        assert (muted.state, muted.muted_since, muted.muted_until) == ("triaged", NOW + 1, NOW + HOUR)
        assert [clock.state for clock in muted.clocks] == []
        assert await told(pipeline, NOW + 1) == []
        [(shown, hushed)] = pipeline.alerts_firing(NOW + 1)
        assert (shown.labels["alertname"], hushed.kind if hushed else None) == ("HighLatency", "silenced")
        # What is on the stored clock wakes it up; no sender has to come again.
        assert await pipeline.tick(NOW + 2) == NOW + HOUR
        await pipeline.tick(NOW + HOUR)
        assert await told(pipeline, NOW + HOUR) == [("opened", "INC-1")]
        heard = await ticket(pipeline)
        assert heard.muted_since is None
        response = next(clock for clock in heard.clocks if clock.name == "response")
        # The clock counts from when people could know.
        assert response.due_at - (NOW + HOUR) == response.due_at - heard.opened_at - (HOUR - 1)


async def test_what_resolves_inside_the_window_is_never_told() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.silence([silence(("service", "=", "web"))], NOW)
        await pipeline.step([], [alert()], NOW + 1)
        await pipeline.step([], [alert(status="resolved", at=NOW + MINUTE, ends_at=NOW + MINUTE)], NOW + MINUTE)
        await pipeline.tick(NOW + 11 * MINUTE)
        assert (await ticket(pipeline)).resolution == "self-recovered"
        await pipeline.tick(NOW + HOUR)
        await pipeline.tick(NOW + 2 * HOUR)
        assert await told(pipeline, NOW + 2 * HOUR) == []


async def test_a_silence_survives_that_a_flapping_alert_resolves_in_between() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.silence([silence(("alertname", "=", "HighLatency"))], NOW)
        for minute in range(0, 50, 2):
            at = NOW + minute * MINUTE
            await pipeline.step([], [alert(at=at, starts_at=at)], at)
            over = alert(status="resolved", at=at + MINUTE, starts_at=at, ends_at=at + MINUTE)
            await pipeline.step([], [over], at + MINUTE)
            await pipeline.tick(at + MINUTE)
        assert await told(pipeline, NOW + 50 * MINUTE) == []


async def test_a_silence_on_a_prediction_never_mutes_the_disruption() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.step([symptom(left=5 * HOUR)], [], NOW)
        assert await told(pipeline, NOW) == [("opened", "INC-1")]
        made = silence(("service", "=", "storage"))
        assert pipeline.is_about_predictions(made)
        await pipeline.silence([replace(made, covers="predictions")], NOW + 1)
        await pipeline.step([symptom("inodes", left=4 * HOUR, onset=NOW + 2)], [], NOW + 2)
        assert await told(pipeline, NOW + 2) == []
        hurt = symptom("writes fail", onset=NOW + 3, disruption=True, detector="rule", kind="errors", item="")
        await pipeline.step([hurt], [], NOW + 3)
        assert (await ticket(pipeline)).muted_since is None
        assert [event for event, _ in await told(pipeline, NOW + 3)] == ["worse"]


async def test_a_silence_that_names_an_alert_beforehand_covers_its_disruption() -> None:
    async with rows(routes=PAGER) as pipeline:
        made = silence(("alertname", "=", "HighLatency"))
        assert not pipeline.is_about_predictions(made)
        await pipeline.silence([made], NOW)
        await pipeline.step([], [alert(labels={"severity": "critical"})], NOW + 1)
        assert (await ticket(pipeline)).phase == "disrupting"
        assert await told(pipeline, NOW + 1) == []


async def test_silencing_what_was_told_ends_its_pages_and_its_resolution_is_still_told() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.step([], [alert(labels={"severity": "critical"})], NOW)
        await pipeline.silence([silence(("service", "=", "web"))], NOW + 1)
        # The page that had not gone out yet is void.
        assert await told(pipeline, NOW + 1) == []
    async with rows(routes=PAGER) as pipeline:
        await pipeline.step([], [alert(labels={"severity": "critical"})], NOW)
        assert len(await told(pipeline, NOW)) == 1
        await pipeline.silence([silence(("service", "=", "web"))], NOW + 1)
        over = alert(status="resolved", at=NOW + 2, ends_at=NOW + 2, labels={"severity": "critical"})
        await pipeline.step([], [over], NOW + 2)
        await pipeline.tick(NOW + 10 * MINUTE + 2)
        assert await told(pipeline, NOW + 11 * MINUTE) == [("resolved", "INC-1")]


async def test_a_maintenance_window_mutes_and_ends_by_itself() -> None:
    window = Maintenance.model_validate(
        {"name": "move", "matchers": ['service="web"'], "reason": "moving", "start": "2026-11-18T22:00:00Z",
         "end": "2026-11-18T23:00:00Z"}
    )  # fmt: skip
    assert window.start is not None
    begins = round(window.start.timestamp() * 1000)
    async with rows(Policy(noise=NoiseOptions(maintenance=(window,))), PAGER) as pipeline:
        await pipeline.step([], [alert(at=begins, starts_at=begins)], begins)
        assert (await ticket(pipeline)).muted_by == ("maintenance/move",)
        await pipeline.tick(begins + HOUR - 1)
        assert await told(pipeline, begins + HOUR - 1) == []
        await pipeline.tick(begins + HOUR)
        assert await told(pipeline, begins + HOUR) == [("opened", "INC-1")]


async def test_what_is_inhibited_is_not_told_not_even_right_after_a_restart(tmp_path: Any) -> None:
    rule = InhibitRule.model_validate(
        {"source_matchers": ['alertname="DatacentreDown"'], "target_matchers": ['severity="warning"'], "equal": ["dc"]}
    )
    policy, url = Policy(noise=NoiseOptions(inhibit_rules=(rule,))), f"sqlite+aiosqlite:///{tmp_path / 'desk.db'}"
    down = alert("DatacentreDown", labels={"dc": "a", "severity": "critical", "service": "dc"})
    async with rows(policy, PAGER, url) as pipeline:
        await pipeline.step([], [down], NOW)
        assert len(await told(pipeline, NOW)) == 1
    async with rows(policy, PAGER, url) as pipeline:
        await pipeline.step([], [alert(labels={"dc": "a"}, at=NOW + 1)], NOW + 1)
        assert (await ticket(pipeline, "INC-2")).muted_since == NOW + 1
        assert await told(pipeline, NOW + 1) == []
        # Another datacentre is another matter.
        await pipeline.step([], [alert("Slow", labels={"dc": "b", "service": "other"}, at=NOW + 2)], NOW + 2)
        assert await told(pipeline, NOW + 2) == [("opened", "INC-3")]
        # And the inhibited one speaks when what inhibited it is over, if it still fires.
        over = replace(down, status="resolved", ends_at=NOW + 3, received_at=NOW + 3)
        await pipeline.step([], [over], NOW + 3)
        assert ("opened", "INC-2") in await told(pipeline, NOW + 3)


async def test_a_source_that_comes_after_its_targets_mutes_them_from_then_on() -> None:
    rule = InhibitRule.model_validate(
        {"source_matchers": ['alertname="Down"'], "target_matchers": ['severity="warning"']}
    )
    async with rows(Policy(noise=NoiseOptions(inhibit_rules=(rule,))), PAGER) as pipeline:
        await pipeline.step([], [alert()], NOW)
        await pipeline.step([], [alert("Down", labels={"severity": "critical", "service": "dc"})], NOW + 1)
        assert (await ticket(pipeline)).muted_why == "inhibited by Down of dc"


async def test_muted_and_waiting_time_that_overlaps_counts_once() -> None:
    async with rows(routes=PAGER) as pipeline:
        await pipeline.step([], [alert()], NOW)
        before = {c.name: c.due_at for c in (await ticket(pipeline)).clocks}
        await pipeline.act("INC-1", "wait", SYSTEM, now=NOW + MINUTE, reason="supplier")
        await pipeline.silence([silence(("service", "=", "web"), start=NOW + 2 * MINUTE, end=NOW + 5 * MINUTE)],
                               NOW + 2 * MINUTE)  # fmt: skip
        await pipeline.act("INC-1", "resume", SYSTEM, now=NOW + 4 * MINUTE)
        await pipeline.tick(NOW + 5 * MINUTE)
        after = {c.name: c.due_at for c in (await ticket(pipeline)).clocks}
        assert after["resolution"] - before["resolution"] == 4 * MINUTE
        assert after["response"] - before["response"] == 3 * MINUTE


async def test_what_flaps_stays_open_longer_each_time_instead_of_telling_each_time() -> None:
    async with rows(routes=PAGER) as pipeline:
        messages = 0
        for round_ in range(24):  # fires for a minute every quarter of an hour: six hours
            at = NOW + round_ * 15 * MINUTE
            await pipeline.step([], [alert(at=at, starts_at=at)], at)
            over = alert(status="resolved", at=at + MINUTE, starts_at=at, ends_at=at + MINUTE)
            await pipeline.step([], [over], at + MINUTE)
            for minute in range(2, 15):
                await pipeline.tick(at + minute * MINUTE)
            messages += len(await told(pipeline, at + 15 * MINUTE))
        assert (await ticket(pipeline)).reopenings <= 3
        assert messages <= 8
