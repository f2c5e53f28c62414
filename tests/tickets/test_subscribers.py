"""Who is told what the status page says, and what a word to the public owes them, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, insert, select

from detector.nouns import Report, Reporter, Sent, Viewer
from detector.pipeline import Pipeline
from detector.tickets import schema
from detector.tickets.audience import HOOK, MAIL
from detector.tickets.database import address
from detector.tickets.outbox import Outbox
from detector.tickets.owed import Route
from detector.tickets.subscribers import CONFIRM_MS, MOST, Full, Kind, Subscribers
from detector.tickets.trace import Trace
from tests.rows import DAY, HOUR, NOW, rows, symptom

ANN, SOL = Viewer("ann"), Viewer("sol", restricted=True)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pipeline]:
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else address(tmp_path / "desk.db")
    async with rows(routes=(Route("ops"),), url=url) as made:
        made.desk.subscribed = ("email", "webhook")
        yield made


async def owed(pipeline: Pipeline) -> list[Any]:
    """The messages to subscribers, in order."""
    o = schema.outbox
    async with pipeline.desk.engine.connect() as connection:
        statement = select(o).where(o.c.channel.in_((MAIL, HOOK))).order_by(o.c.id)
        return list((await connection.execute(statement)).all())


async def tokens(pipeline: Pipeline) -> dict[str, str]:
    s = schema.subscribers
    async with pipeline.desk.engine.connect() as connection:
        return {row.address: row.token for row in await connection.execute(select(s.c.address, s.c.token))}


async def told(pipeline: Pipeline, to: str, components: tuple[str, ...] = (), kind: Kind = "email") -> str:
    """A subscriber who has confirmed; the name that messages call it by."""
    book = Subscribers(pipeline.desk)
    await book.ask(kind, to, components, NOW)
    found = await book.confirm((await tokens(pipeline))[to], NOW)
    assert found is not None
    return found.name


async def publish(pipeline: Pipeline, at: int = NOW + 1, **arguments: Any) -> None:
    given: dict[str, Any] = {"status": "investigating", "body": "We look into it."} | arguments
    await pipeline.act("INC-1", "publish", ANN, now=at, **given)


async def hurt(pipeline: Pipeline, service: str = "storage") -> None:
    await pipeline.step([symptom("w", service=service, disruption=True, detector="rule", item="")], [], NOW)


async def test_only_who_confirmed_is_told_and_only_of_what_they_chose(pipeline: Pipeline) -> None:
    await hurt(pipeline)
    every = await told(pipeline, "all@example.org")
    storage = await told(pipeline, "storage@example.org", ("mail", "storage"))
    hook = await told(pipeline, "https://hooks.example.org/s", ("storage",), "webhook")
    for other in (("mail",), ("Storage",), ("stor",), ("my\nstorage\nx",), ("%",), ("storage\\",)):
        await told(pipeline, f"{len(other[0])}-{other[0][:1]}@example.org", other)
    await Subscribers(pipeline.desk).ask("email", "silent@example.org", (), NOW)
    before = len(await owed(pipeline))
    heard: list[tuple[str, ...]] = []
    pipeline.subscribe(lambda committed: heard.append(committed.channels))
    await publish(pipeline)
    words = (await owed(pipeline))[before:]
    assert {(row.channel, row.recipient) for row in words} == {(MAIL, every), (MAIL, storage), (HOOK, hook)}
    assert {(row.event, row.reason, row.urgency, row.state) for row in words} == {
        ("published", "1", "notify", "pending")
    }
    assert heard == [(MAIL, HOOK)]


async def test_ten_thousand_cost_as_many_statements_as_one(pipeline: Pipeline) -> None:
    await hurt(pipeline)
    made: list[str] = []
    engine = pipeline.desk.writer.engine if pipeline.desk.writer else pipeline.desk.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *about: made.append(about[2]))
    await told(pipeline, "all@example.org")
    made.clear()
    await publish(pipeline)
    with_one = len(made)
    many = [
        {"kind": "email", "address": f"{n}@example.org", "token": f"{n:08}" + "t" * 30, "components": "",
         "created_at": NOW, "confirmed_at": NOW}
        for n in range(MOST - 1)
    ]  # fmt: skip
    await pipeline.desk.transact(lambda connection: connection.execute(insert(schema.subscribers), many))
    made.clear()
    await publish(pipeline, NOW + 2, status="identified")
    assert len(made) <= with_one
    assert len([row for row in await owed(pipeline) if row.reason == "2"]) == MOST
    with pytest.raises(Full):
        await Subscribers(pipeline.desk).ask("email", "one.more@example.org", (), NOW)
    with pytest.raises(Full):  # the same for whoever is among them
        await Subscribers(pipeline.desk).ask("email", "all@example.org", (), NOW)


async def test_each_word_is_owed_once_and_goes_out_in_its_order(pipeline: Pipeline) -> None:
    await hurt(pipeline)
    await told(pipeline, "all@example.org")
    for at, status in enumerate(("investigating", "identified", "resolved"), 1):
        await publish(pipeline, NOW + at, status=status)
    outbox, seen = Outbox(pipeline.desk), []
    while (one := await outbox.claim(MAIL, NOW + DAY, HOUR)) is not None:
        assert await outbox.claim(MAIL, NOW + DAY, HOUR) is None, "the next one waits for it"
        seen.append((one.event, one.reason, one.ticket.key))
        await outbox.settle(one.id, Sent("id"), NOW + DAY)
    assert seen == [("confirm", "", ""), *(("published", str(n), "INC-1") for n in (1, 2, 3))]
    timeline = await pipeline.desk.timeline("INC-1", ANN)
    assert "delivered" not in {entry.what for entry in timeline}, "subscribers are too many for a timeline"
    assert [one.channel for one in await Trace(pipeline.desk).messages("INC-1")] == ["ops"]


async def test_a_confidential_report_owes_nobody_anything(pipeline: Pipeline) -> None:
    await told(pipeline, "all@example.org")
    await pipeline.report(Report("Everything leaks", NOW, Reporter("Kim"), security=True))
    await pipeline.act("INC-1", "reply", SOL, now=NOW + 1, text="We look")
    assert [row.event for row in await owed(pipeline)] == ["confirm"]


async def test_nobody_is_told_where_nothing_can_be_sent(pipeline: Pipeline) -> None:
    await hurt(pipeline)
    await told(pipeline, "all@example.org")
    pipeline.desk.subscribed = ("webhook",)
    await publish(pipeline)
    assert [row.event for row in await owed(pipeline)] == ["confirm"]


async def test_whoever_ends_is_owed_nothing_any_more_and_who_gets_the_number_is_somebody_else(
    pipeline: Pipeline,
) -> None:
    await hurt(pipeline)
    book = Subscribers(pipeline.desk)
    first = await told(pipeline, "a@example.org")
    await publish(pipeline)
    token = (await tokens(pipeline))["a@example.org"]
    assert await book.end(token, NOW + 2) is not None
    assert await book.end(token, NOW + 2) is None
    assert {row.state for row in await owed(pipeline)} == {"cancelled"}
    second = await told(pipeline, "b@example.org")
    assert second != first
    assert await book.named(first) is None
    await publish(pipeline, NOW + 3, status="identified")
    last = (await owed(pipeline))[-1]
    assert (last.recipient, last.state) == (second, "pending")
    for nobody in ("", "x", "1", "1-", "-1-x", "9" * 40, f"{second}x", second.upper() + "\0"):
        assert await book.named(nobody) is None


async def test_who_does_not_confirm_in_time_is_forgotten(pipeline: Pipeline) -> None:
    book = Subscribers(pipeline.desk)
    await book.ask("email", "late@example.org", (), NOW)
    await told(pipeline, "kim@example.org")
    token = (await tokens(pipeline))["late@example.org"]
    assert await book.of(token, NOW + CONFIRM_MS - 1) is not None
    assert await book.of(token, NOW + CONFIRM_MS) is None
    assert await book.confirm(token, NOW + CONFIRM_MS) is None
    assert await book.forget(NOW + CONFIRM_MS - 1) == 0
    assert await book.forget(NOW + CONFIRM_MS) == 1
    assert list(await tokens(pipeline)) == ["kim@example.org"]
    assert [row.state for row in await owed(pipeline)] == ["cancelled", "pending"]


async def test_asking_again_asks_again_and_changes_nothing_that_was_confirmed(pipeline: Pipeline) -> None:
    book = Subscribers(pipeline.desk)
    await book.ask("email", "kim@example.org", ("shop",), NOW)
    token = (await tokens(pipeline))["kim@example.org"]
    await book.ask("email", "kim@example.org", ("mail",), NOW + HOUR)
    assert (await tokens(pipeline))["kim@example.org"] == token, "the link of the first letter still opens it"
    found = await book.of(token, NOW + HOUR)
    assert found is not None
    assert found.components == ("mail",)
    await book.confirm(token, NOW + HOUR)
    await book.ask("email", "kim@example.org", (), NOW + 2 * HOUR)
    found = await book.of(token, NOW + 10 * DAY)
    assert found is not None
    assert found.components == ("mail",)
    assert [row.event for row in await owed(pipeline)] == ["confirm", "confirm", "known"]


async def test_a_maintenance_is_announced_once(pipeline: Pipeline) -> None:
    book = Subscribers(pipeline.desk)
    await told(pipeline, "all@example.org")
    some = await told(pipeline, "db@example.org", ("db",))
    await told(pipeline, "shop@example.org", ("shop",))
    for at in (NOW, NOW + 1):
        await book.announce("move-1", "moving house", "", ("db",), ("email",), at)
    words = [row for row in await owed(pipeline) if row.event == "maintenance"]
    assert (len(words), words[-1].recipient, words[-1].ticket_id) == (2, some, None)
