"""What was changed before, and the chain of what was done with an alert, on the real desk."""

from __future__ import annotations

from typing import Any

from detector.clock import rfc3339
from detector.nouns import ChangeEvent, Report, Sent, Silence
from detector.tickets.outbox import Outbox
from tests.rows import HOUR, MINUTE, NOW, alert
from tests.web.house import House, filling, house


async def get(home: House, path: str, **params: str) -> tuple[int, Any]:
    answer = await home.client.get(path, params=params)
    return answer.status, await answer.json(content_type=None)


async def steps(home: House, subject: str, **params: str) -> list[tuple[str, str]]:
    status, found = await get(home, "/api/why", subject=subject, **params)
    assert status == 200, found
    return [(step["step"], step["said"]) for episode in found["episodes"] for step in episode["chain"]]


async def test_an_incident_shows_what_was_changed_on_its_services_in_the_two_hours_before() -> None:
    async with house() as home:
        first = NOW - 6 * MINUTE
        for service, at, summary in (
            ("storage", first - HOUR, "resize"), ("network", first - MINUTE, "new <b>switch</b>"),
            ("", first, "failover"),
            ("storage", first - 3 * HOUR, "too long ago"), ("shop", first - MINUTE, "elsewhere"),
            ("storage", first + MINUTE, "afterwards"),
        ):  # fmt: skip
            await home.pipeline.changes.add(ChangeEvent(service, at, summary, dedup_key=summary))
        await home.pipeline.step([filling()], [], NOW)
        _, found = await get(home, "/api/incidents/INC-1")
        assert [change["summary"] for change in found["changes"]] == ["failover", "new <b>switch</b>", "resize"]
        page = await (await home.client.get("/incidents/INC-1")).text()
        assert "What was changed before" in page
        assert "<b>switch</b>" not in page
        _, listed = await get(home, "/api/changes", service="storage")
        assert [c["summary"] for c in listed["items"]] == ["afterwards", "failover", "resize", "too long ago"]
        assert (await get(home, "/api/changes", start="soon"))[0] == 400


async def test_the_chain_says_what_was_done_with_an_alert_from_the_post_to_the_answer() -> None:
    async with house() as home:
        pipeline = home.pipeline
        await pipeline.step([], [alert()], NOW)
        await pipeline.step([], [alert(at=NOW + 1000)], NOW + 1000)
        outbox = Outbox(pipeline.desk)
        message = await outbox.claim("ops", NOW + 2000, MINUTE)
        assert message is not None
        await outbox.settle(message.id, Sent("r"), NOW + 3000)
        home.clock.set(NOW + 4000)
        await home.client.post("/api/incidents/INC-1/ack")
        home.clock.set(NOW + HOUR)
        found = await steps(home, "HighLatency")
        words = [word for word, _ in found]
        assert words[0] == "received"
        for wanted in ("deduplicated", "grouped", "routed", "owed", "sent", "answered"):
            assert wanted in words
        assert any("1 of them repeat" in said for _, said in found)
        # As it was known before it was answered.
        before = [word for word, _ in await steps(home, "HighLatency", at=rfc3339(NOW + 500))]
        assert "sent" not in before
        assert "deduplicated" not in before
        assert (await get(home, "/api/why", subject="HighLatency", at=rfc3339(NOW - 1)))[0] == 404
        assert [s for s in await steps(home, "inc-1") if s[0] == "sent"] == [("sent", "ops: sent")]
        page = await (await home.client.get("/why", params={"subject": "HighLatency"})).text()
        assert "Acknowledged" in page


async def test_the_chain_says_why_nobody_was_told() -> None:
    async with house() as home:
        silence = Silence("s", (("alertname", "=", "Quiet"),), NOW, NOW + HOUR, NOW, "ann", "patching")
        await home.pipeline.silence([silence], NOW)
        await home.pipeline.step([], [alert("Quiet", labels={"service": "a"})], NOW)
        found = await steps(home, "Quiet")
        assert ("not sent", "nobody was told: patching") in found
        assert any(word == "silenced" and "patching" in said for word, said in found)
        await home.pipeline.step([], [alert("Watchdog", labels={"severity": "none"})], NOW)
        assert any(word == "rejected" and "always fires" in said for word, said in await steps(home, "Watchdog"))


async def test_received_is_stored_and_deduplicated_and_rejected() -> None:
    async with house() as home:
        for at in range(5):
            await home.pipeline.step([], [alert(at=NOW + at), alert("Watchdog", at=NOW + at)], NOW + at)
        await home.pipeline.step([], [alert("B", status="resolved")], NOW + 9)
        _, ledger = await get(home, "/api/ledger")
        assert ledger["received"] == 11 == ledger["stored"] + ledger["deduplicated"] + ledger["rejected"]
        assert (ledger["stored"], ledger["deduplicated"], ledger["rejected"]) == (1, 4, 6)
        metrics = await (await home.client.get("/metrics")).text()
        for result, count in (("stored", 1), ("deduplicated", 4), ("rejected", 6)):
            assert f'detector_alerts_total{{result="{result}"}} {count}.0' in metrics


async def test_the_chain_leaks_no_restricted_ticket_and_survives_odd_subjects() -> None:
    async with house() as home:
        await home.pipeline.report(Report("leak", NOW, security=True))
        assert (await get(home, "/api/why", subject="INC-1"))[0] == 404
        for odd in ("%", "_", "\\", '"', "'; DROP TABLE alerts; --", "x" * 2000, "\x00", "INC-999999999999"):
            assert (await get(home, "/api/why", subject=odd))[0] == 404
        assert (await get(home, "/api/why", subject=" "))[0] == 400
