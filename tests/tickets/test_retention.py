"""Retention: whatever the tickets are, nothing that must stay goes; what goes leaves nothing behind, and a count."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError

from detector.nouns import SYSTEM, Absorbed, Opened, Ticket
from detector.pipeline import Pipeline
from detector.tickets import prune as pruning
from detector.tickets import schema
from detector.tickets.codec import change_data, change_name, document, ticket_doc
from detector.tickets.database import StorageError, address
from detector.tickets.desk import Desk
from detector.tickets.options import RetentionOptions
from detector.tickets.prune import prune
from detector.tickets.retention import Family, Record, portions
from tests.rows import DAY, HOUR, NOW, alert, rows, symptom

OPTIONS = RetentionOptions.model_validate({"closed": "100d", "shadow": "10d"})
LEAST = DAY


def ticket(n: int, **values: Any) -> Ticket:
    defaults = {"kind": "incident", "state": "closed", "source": "detected", "service": "s", "mode": "page"}
    ended = values.pop("ended", NOW - 200 * DAY)
    if values.get("state", "closed") == "closed":
        values["closed_at"] = ended
    return Ticket(key=f"INC-{n}", version=1, opened_at=ended - HOUR, **(defaults | values))


async def store(desk: Desk, tickets: list[Ticket], follows: dict[int, int] | None = None) -> None:
    """The tickets with a timeline, a symptom and a message each; mergers stand in the timeline of who absorbed."""

    def work(connection: Any) -> None:
        for t in tickets:
            n = int(t.key[4:])
            row = {
                "id": n, "version": 1, "kind": t.kind, "state": t.state, "phase": None, "service": t.service,
                "mode": t.mode, "priority": None, "tier": None, "restricted": t.restricted, "opened_at": t.opened_at,
                "ended_at": t.closed_at, "due_at": None, "idempotency_key": None, "doc": ticket_doc(t),
            }  # fmt: skip
            connection.execute(insert(schema.tickets).values(**row))
            earlier = (follows or {}).get(n)
            changes = [Opened(t.key, t.opened_at, follows=f"INC-{earlier}" if earlier else None)]
            changes += [Absorbed(t.key, 0, source=other.key) for other in tickets if other.merged_into == t.key]  # type: ignore[misc]
            for change in changes:
                data = document(change_data(change))
                entry = {"ticket_id": n, "at": change.at, "who": "x", "what": change_name(change), "data": data}
                connection.execute(insert(schema.timeline).values(**entry))
            own = {"ticket_id": n, "symptom_id": f"s{n}", "position": 0, "active": False, "doc": "{}"}
            connection.execute(insert(schema.symptoms).values(**own))
            message = {
                "ticket_id": n, "channel": "c", "event": "opened", "urgency": "page", "reason": "",
                "dedup_key": f"d{n}",
                "idempotency_key": f"i{n}", "state": "sent", "created_at": 0, "not_before": 0, "attempts": 1,
                "receipt": "", "settled_at": t.opened_at,
            }  # fmt: skip
            connection.execute(insert(schema.outbox).values(**message))
            connection.execute(insert(schema.mails).values(message_id=f"m{n}", ticket_id=n, at=0))

    await desk.transact(work)


async def left(desk: Desk) -> set[int]:
    """The numbers that are left; every row of a ticket went with it, none of another one did."""

    def look(connection: Any) -> set[int]:
        ids = set(connection.execute(select(schema.tickets.c.id)).scalars())
        for table in (schema.timeline, schema.symptoms, schema.outbox, schema.mails):
            assert set(connection.execute(select(table.c.ticket_id)).scalars()) == ids
        return ids

    return await desk.read(look)


drawn = st.fixed_dictionaries({
    "state": st.sampled_from(["closed"] * 6 + ["merged"] * 3 + ["triaged", "resolved", "waiting"]),
    "mode": st.sampled_from(["page", "page", "ticket", "shadow"]),
    "restricted": st.sampled_from([False, False, False, True]),
    "breach": st.sampled_from([None, None, None, None, "dismissed"]),
    "age": st.integers(0, 300),
    "into": st.integers(0, 30),
    "follows": st.integers(0, 60),
})  # fmt: skip


def must_stay(n: int, tickets: dict[int, Ticket], follows: dict[int, int], kept: set[int]) -> str | None:
    """A slow and obvious list of reasons; written from the sentence in the options, not from the code."""
    t = tickets[n]
    if n == max(tickets):
        return "its number would be given twice"
    if t.state not in ("closed", "merged"):
        return "it is open"
    if t.restricted or t.breach is not None:
        return "it is in the register of breaches"
    if any(follows.get(m) == n for m, other in tickets.items() if other.state not in ("closed", "merged")):
        return "an open ticket follows it"
    if t.state == "merged":
        into = int(t.merged_into[4:]) if t.merged_into else 0
        return "what it was merged into is there" if into in kept else None
    assert t.closed_at is not None
    if t.closed_at > NOW - (10 if t.mode == "shadow" else 100) * DAY:
        return "it is young"
    return None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(drawn, min_size=1, max_size=30))
def test_nothing_that_must_stay_goes_and_what_may_go_does(chosen: list[dict[str, Any]]) -> None:
    tickets: dict[int, Ticket] = {}
    follows: dict[int, int] = {}
    for n, one in enumerate(chosen, 1):
        values = {"state": one["state"], "mode": one["mode"], "restricted": one["restricted"], "breach": one["breach"]}
        into = one["into"] % len(chosen) + 1
        if one["state"] == "merged":
            # Nobody is merged in a circle: what goes on is open at that time.
            values["merged_into"] = f"INC-{into}" if into < n else None
            values["state"] = "merged" if into < n else "closed"
        tickets[n] = ticket(n, ended=NOW - one["age"] * DAY, **values)
        if 0 < one["follows"] < n:
            follows[n] = one["follows"]

    async def play() -> tuple[set[int], set[str], Counter[str]]:
        desk = await Desk.open(address(None))
        try:
            await store(desk, list(tickets.values()), follows)
            told: set[str] = set()
            done = await prune(desk, OPTIONS, NOW, LEAST, told.update)
            again = await prune(desk, OPTIONS, NOW, LEAST)
            assert not +again, "what could go went at once"
            return await left(desk), told, done
        finally:
            await desk.close()

    kept, told, done = asyncio.run(play())
    gone = set(tickets) - kept
    assert told == {f"INC-{n}" for n in gone}
    assert done["tickets"] == len(gone)
    for n in gone:
        assert must_stay(n, tickets, follows, kept) is None, (n, must_stay(n, tickets, follows, kept))
    for n in kept:
        if tickets[n].state == "closed" and not any(t.merged_into == f"INC-{n}" for t in tickets.values()):
            assert must_stay(n, tickets, follows, kept) is not None, f"{n} could have gone"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(tmp_path / "d.db") if request.param == "sqlite" else request.getfixturevalue("postgres")


async def test_what_goes_goes_whole_is_counted_and_the_timeline_is_append_only_again(url: str) -> None:
    desk = await Desk.open(url)
    try:
        await store(desk, [ticket(1), ticket(2, state="merged", merged_into="INC-1"), ticket(3), ticket(4)], {4: 3})
        await prune(desk, OPTIONS, NOW, LEAST)
        assert await left(desk) == {4}  # the newest; what a closed one follows may go
        async with desk.engine.connect() as connection:
            (entry,) = (await connection.execute(select(schema.audit))).all()
        assert (entry.who, entry.what, entry.target) == ("detector", "pruned", "retention")
        assert json.loads(entry.data)["rows"] == {"tickets": 3, "timeline": 4, "symptoms": 3, "outbox": 3, "mails": 3}
        for statement in ("DELETE FROM timeline", "UPDATE timeline SET who = 'y'", "DELETE FROM audit"):
            with pytest.raises((StorageError, DBAPIError), match="append-only"):
                await desk.transact(lambda own, statement=statement: own.execute(text(statement)))
        assert await left(desk) == {4}
    finally:
        await desk.close()


async def test_a_transaction_that_fails_in_the_middle_leaves_everything_and_the_trigger(url: str) -> None:
    desk = await Desk.open(url)
    try:
        await store(desk, [ticket(1), ticket(2)])

        def hold(own: Any) -> None:
            """Somebody's own table refers to the ticket: its timeline can be deleted, the ticket cannot."""
            own.execute(text("CREATE TABLE theirs (ticket INTEGER REFERENCES tickets(id))"))
            own.execute(text("INSERT INTO theirs VALUES (1)"))

        await desk.transact(hold)
        with pytest.raises((StorageError, DBAPIError), match=r"(?i)foreign key"):
            await prune(desk, OPTIONS, NOW, LEAST)
        assert await left(desk) == {1, 2}
        with pytest.raises((StorageError, DBAPIError), match="append-only"):
            await desk.transact(lambda own: own.execute(text("DELETE FROM timeline")))
        await desk.transact(lambda own: own.execute(text("DROP TABLE theirs")))
    finally:
        await desk.close()


async def test_other_rows_go_by_their_own_age_and_those_of_open_tickets_stay(url: str) -> None:
    async with rows(url=url) as pipeline:
        old, late = NOW - 50 * DAY, NOW - HOUR
        await pipeline.step([symptom()], [alert()], NOW)
        over = {"status": "resolved", "result": "ticket", "received": 1, "stored": 1, "first_at": old, "doc": "{}"}
        ledger = [
            over | {"fingerprint": "a", "starts_at": 1, "ticket_key": None, "last_at": old},
            over | {"fingerprint": "b", "starts_at": 1, "ticket_key": "INC-1", "last_at": old},
            over | {"fingerprint": "c", "starts_at": 1, "ticket_key": None, "last_at": late},
        ]
        changes = [{"service": "s", "at": at, "dedup_key": None, "doc": "{}"} for at in (old, late)]
        entries = [{"at": at, "who": "x", "what": "y", "target": "", "data": "{}"} for at in [old] * 1100 + [late]]

        def fill(own: Any) -> None:
            for table, some in ((schema.alerts, ledger), (schema.changes, changes),
                                (schema.audit, entries)):  # fmt: skip
                own.execute(insert(table), some)
            own.execute(schema.outbox.update().values(state="sent", settled_at=old))

        await pipeline.desk.transact(fill)
        kinds = ("outbox", "alerts", "changes", "audit")
        options = RetentionOptions.model_validate(dict.fromkeys(kinds, "1d"))
        done = await prune(pipeline.desk, options, NOW, LEAST)
        assert done == {"alerts": 1, "changes": 1, "audit": 1100}
        await ended(pipeline)
        assert (await prune(pipeline.desk, options, NOW + 3 * DAY, LEAST))["outbox"] >= 2


async def ended(pipeline: Pipeline) -> None:
    for key in ("INC-1", "INC-2"):
        for action in ("resolve", "close"):
            arguments = {"force": True} if action == "resolve" else {}
            await pipeline.act(key, action, SYSTEM, now=NOW, **arguments)


async def test_what_went_is_named_by_nothing_that_comes_later(url: str) -> None:
    async with rows(url=url) as pipeline:
        await pipeline.step([symptom()], [], NOW)
        await pipeline.step([symptom("b", service="b")], [], NOW)
        await ended(pipeline)
        later = NOW + 200 * DAY
        await pipeline.load(later)
        await prune(pipeline.desk, OPTIONS, later, LEAST, pipeline.board.forget)
        assert await pipeline.desk.ticket("INC-1", SYSTEM) is None
        (again,) = await pipeline.step([symptom(onset=later)], [], later)
        opened = (await pipeline.desk.timeline(again.ticket.key, SYSTEM))[0]
        assert (again.ticket.key, opened.data["follows"]) == ("INC-3", None)


async def test_who_reopens_a_ticket_at_that_moment_keeps_it(url: str) -> None:
    desk = await Desk.open(url)
    try:
        await store(desk, [ticket(1), ticket(2)])
        families, _, named = await desk.read(lambda own: pruning._looked_at(own, NOW, (-1, 0)))
        await desk.transact(lambda own: own.execute(schema.tickets.update().values(version=2)))
        counts, keys = await desk.transact(
            lambda own: pruning._removed(own, families[:1], named, OPTIONS, NOW, LEAST)
        )  # fmt: skip
        assert (counts, keys) == ({}, [])
        async with desk.engine.connect() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.tickets))).scalar() == 2
    finally:
        await desk.close()


def test_portions_hold_some_hundred_rows_and_a_large_one_goes_alone() -> None:
    families = [Family(Record(n, 1, "closed", "page", False, 0)) for n in range(5)]
    found = portions(families, [200, 200, 200, 5000, 10], 500)
    assert [[f.root.id for f in some] for some in found] == [[0, 1], [2], [3], [4]]


async def test_without_options_nothing_goes(url: str) -> None:
    desk = await Desk.open(url)
    try:
        await store(desk, [ticket(1), ticket(2)])
        assert not await prune(desk, RetentionOptions(), NOW + 10_000 * DAY, LEAST)
        assert await left(desk) == {1, 2}
    finally:
        await desk.close()
