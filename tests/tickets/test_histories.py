"""Random histories of symptoms, alerts, people, clocks, deliveries and restarts; what must hold after every step."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from detector.incidents.board import OPEN, slim
from detector.nouns import SYSTEM, Dead, Notification, Retry, Sent, Ticket
from detector.pipeline import Pipeline
from detector.tickets import schema
from detector.tickets.acts import ACTIONS, NotAllowed
from detector.tickets.desk import TicketQuery
from detector.tickets.lifecycle import next_due
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from tests.rows import HOUR, MINUTE, NOW, alert, rows, symptom

ROUTES = (Route("pager", ("page",)), Route("chat"))
small = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("symptom"), small, st.booleans(), st.sampled_from([0, 30, 300])),
    st.tuples(st.just("alert"), small, st.booleans(), st.sampled_from(["warning", "critical", "info"])),
    st.tuples(st.just("act"), small, st.sampled_from([action for action in ACTIONS if action != "merge"])),
    st.tuples(st.just("merge"), small, small),
    st.tuples(
        st.just("deliver"), st.sampled_from(["pager", "chat"]), st.sampled_from(["sent", "retry", "dead", "crash"])
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 5 * MINUTE, 11 * MINUTE, 2 * HOUR, 26 * HOUR])),
    st.tuples(st.just("restart")),
)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "not-mine": {"reason": "the network"},
    "note": {"text": "looked at it"}, "resolve": {"resolution": "fixed", "force": True}, "assign": {"assignee": "bo"},
    "decide": {"kind": "request"}, "categorise": {"category": "capacity/disk"}, "wait": {"reason": "supplier"},
    "prioritise": {"priority": "P4", "reason": "small"}, "reply": {"text": "soon"}, "inform": {"tier": "L2"},

    "hypothesis": {"text": "the disk"}, "settle": {"number": 1, "holds": True}, "fix": {"text": "grew it"},
    "link": {"to": "INC-1"}, "split": {"symptoms": ["nothing"]},
    "use": {"solution": "INC-1"}, "bridge": {"link": "https://meet.example/1"}, "end-bridge": {"text": "talked"},
    "prevent": {"text": "cleaned up"}, "decline": {"text": "no need"}, "run": {"name": "nothing"},
    "draft": {"status": "investigating", "body": "we look"}, "publish": {"status": "investigating", "body": "we look"},
    "restore": {"force": True}, "record": {"cause": "a", "fix": "b", "prevention": "c"},
}  # fmt: skip


class World:
    """A pipeline, its outbox, and what a slow and obvious observer remembers of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.outbox = Outbox(pipeline.desk)
        self.now = NOW
        self.symptoms: dict[int, Any] = {}
        self.episodes: dict[int, int] = {}
        self.held: dict[str, int] = {}
        self.fired: set[str] = set()
        self.delivered: dict[str, str] = {}

    async def do(self, step: tuple[Any, ...]) -> None:
        self.now += 1
        await getattr(self, f"_{step[0]}")(*step[1:])

    async def _symptom(self, n: int, active: bool, left: int) -> None:
        known = self.symptoms.get(n)
        if known is None or (active and not known.active):
            known = symptom(f"disk{n}", onset=self.now, left=left * MINUTE or None)
        self.symptoms[n] = replace(known, active=active, last_at=self.now)
        await self.pipeline.step([self.symptoms[n]], [], self.now)

    async def _alert(self, n: int, firing: bool, severity: str) -> None:
        start = self.episodes.setdefault(n, self.now)
        one = alert(
            f"A{n}", labels={"service": f"s{n % 2}", "severity": severity}, at=self.now, starts_at=start,
            status="firing" if firing else "resolved", expires_at=self.now + HOUR,
        )  # fmt: skip
        if firing:
            self.fired.add(f"A{n}/{severity}/{start}")
        else:
            self.episodes.pop(n)
        await self.pipeline.step([], [one], self.now)

    async def _act(self, n: int, action: str) -> None:
        tickets = await self.tickets()
        if n >= len(tickets):
            return
        try:
            arguments = ARGUMENTS.get(action, {})
            if action == "split" and len(tickets[n].symptoms) > 1:
                arguments = {"symptoms": [tickets[n].symptoms[0].id]}
            done = await self.pipeline.act(tickets[n].key, action, SYSTEM, now=self.now, **arguments)
        except NotAllowed:
            return
        if action == "ack":
            self.held[done.key] = self.now
        elif action in ("escalate", "reopen"):
            self.held.pop(done.key, None)

    async def _merge(self, n: int, m: int) -> None:
        tickets = await self.tickets()
        if max(n, m) < len(tickets):
            try:
                await self.pipeline.act(tickets[n].key, "merge", SYSTEM, now=self.now, into=tickets[m].key)
            except NotAllowed:
                return

    async def _deliver(self, channel: str, result: str) -> None:
        claimed = await self.outbox.claim(channel, self.now, MINUTE)
        if claimed is None:
            return
        self.judge(claimed)
        if result == "sent":
            assert claimed.idempotency_key not in self.delivered, "settled as sent, and handed out again"
            self.delivered[claimed.idempotency_key] = claimed.dedup_key
        outcome = {"sent": Sent("r"), "retry": Retry(self.now + MINUTE, "timeout"), "dead": Dead("refused")}
        if result != "crash":  # a crash never settles: the lease ends
            await self.outbox.settle(claimed.id, outcome[result], self.now)

    def judge(self, message: Notification) -> None:
        """Nobody is paged for what somebody holds, except that it became worse since."""
        assert message.dedup_key.startswith(f"detector/{message.ticket.key}/")
        if message.urgency == "page":
            assert message.ticket.state not in ("resolved", "closed", "merged"), "paged for what is over"
            held = self.held.get(message.ticket.key)
            if held is not None and message.ticket.state == "diagnosing":
                assert message.event == "worse", "paged for what somebody holds"
                assert message.created_at > held, "paged for what was known when it was taken"

    async def _wait(self, ms: int) -> None:
        self.now += ms
        if ms > HOUR:
            self.episodes.clear()  # what fires after the window is a new ticket's matter
        while (due := await self.pipeline.tick(self.now)) is not None and due <= self.now:
            pass

    async def _restart(self) -> None:
        again = Pipeline(self.pipeline.desk, self.pipeline.policy, self.pipeline._telemetry)
        await again.load(self.now)
        again._counts = self.pipeline._counts
        self.pipeline = again
        # What journal and senders repeat after a restart is known.
        before = await self.rows_of(schema.timeline)
        known = [s for s in self.symptoms.values() if again.board.by_symptom(s.id) is not None]
        await again.step(known, [], self.now)
        assert await self.rows_of(schema.timeline) == before

    async def tickets(self) -> list[Ticket]:
        return list((await self.pipeline.desk.tickets(TicketQuery(limit=500), SYSTEM)).items)[::-1]

    async def rows_of(self, table: Any) -> list[Any]:
        async with self.pipeline.desk.engine.connect() as connection:
            return list((await connection.execute(select(table).order_by(table.c.id))).all())

    # --- what holds -------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        tickets = await self.tickets()
        for ticket in tickets:
            on_board = self.pipeline.board.tickets.get(ticket.key)
            assert on_board in (None, slim(ticket)), "the board is not what is stored"
            assert on_board is not None or ticket.state not in OPEN, "an open ticket is missing on the board"
            assert (ticket.state == "merged") == (ticket.merged_into is not None)
            assert ticket.state not in ("resolved", "closed") or ticket.resolution is not None
            assert ticket.category is not None
        assert len({s.id for t in tickets for s in t.symptoms if t.state in OPEN}) == sum(
            len(t.symptoms) for t in tickets if t.state in OPEN
        ), "a symptom is in two open tickets"
        await self.check_due()
        await self.check_timelines()

    async def check_due(self) -> None:
        """Due times belong to a state: who left it has none of them left."""
        options = self.pipeline.policy
        for row in await self.rows_of(schema.tickets):
            ticket = await self.pipeline.desk.ticket(f"INC-{row.id}", SYSTEM)
            assert ticket is not None
            due = next_due(ticket, options.incidents.quiet_period, options.tickets.close_after)
            assert row.due_at is None or due is not None or ticket.state in OPEN
            if ticket.state in ("merged", "closed"):
                assert row.due_at is None

    async def check_timelines(self) -> None:
        """Every alert that was taken stands in exactly one timeline."""
        found: dict[str, list[int]] = {}
        for row in await self.rows_of(schema.timeline):
            if row.what == "symptom-joined" and '"detector":"alert"' in row.data:
                data = json.loads(row.data)
                one = data["symptom"]
                if data["new"]:
                    found.setdefault(f"{one['name']}/{one['severity']}/{one['first_at']}", []).append(row.ticket_id)
        assert self.fired <= set(found)
        assert all(len(tickets) == 1 for tickets in found.values()), found


async def play(history: list[tuple[Any, ...]]) -> None:
    async with rows(routes=ROUTES) as pipeline:
        world = World(pipeline)
        for step in history:
            await world.do(step)
            await world.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=5, max_size=20))
def test_no_history_pages_after_acknowledgement_loses_an_alert_or_leaves_a_due_time(history: list[Any]) -> None:
    asyncio.run(play(history))


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=20, max_size=60))
def test_no_long_history_does_either(history: list[Any]) -> None:
    asyncio.run(play(history))
