"""Which letters a commit owes: to whom, once, in the same transaction, and not without end."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from detector.nouns import Report, Reporter, Viewer
from detector.pipeline import Pipeline
from detector.tickets import schema
from detector.tickets.desk import StorageError
from detector.tickets.letters import CHANNEL, letters
from detector.tickets.mails import MOST_CONFIRMED
from detector.tickets.owed import Route
from tests.rows import HOUR, NOW, rows, symptom

ANN, REPORTER = Viewer("ann"), Viewer("reporter", restricted=True)
KIM = Reporter("Kim", "kim@example.org")


async def owed(pipeline: Pipeline) -> list[tuple[str, str, str]]:
    """(event, recipient, text) of every letter, in order."""
    o = schema.outbox
    statement = select(o.c.event, o.c.recipient, o.c.doc).where(o.c.channel == CHANNEL).order_by(o.c.id)
    async with pipeline.desk.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(statement)]  # type: ignore[misc]


async def test_the_reporter_is_written_what_concerns_them_and_nothing_else() -> None:
    async with rows(routes=(Route("ops"),)) as pipeline:
        pipeline.desk.letters = True
        await pipeline.report(Report("It is down", NOW, KIM))
        for n, (action, who, arguments) in enumerate((
            ("ack", ANN, {}), ("note", ANN, {"text": "they are rude"}), ("reply", ANN, {"text": "Hello"}),
            ("wait", ANN, {"reason": "supplier", "text": "ours"}), ("wait", ANN, {"reason": "user", "text": "Which?"}),
            ("answer", REPORTER, {"text": "That one"}), ("hypothesis", ANN, {"text": "the cache"}),
            ("resolve", ANN, {"text": "Emptied."}), ("confirm", REPORTER, {"solved": False, "text": "no"}),
            ("resolve", ANN, {"text": "Now."}), ("close", ANN, {}),
        ), 1):  # fmt: skip
            await pipeline.act("INC-1", action, who, now=NOW + n, **arguments)
        assert [(event, text) for event, _, text in await owed(pipeline)] == [
            ("received", ""), ("replied", "Hello"), ("question", "Which?"), ("resolved", "Emptied."),
            ("resolved", "Now."), ("closed", ""),
        ]  # fmt: skip
        assert {to for _, to, _ in await owed(pipeline)} == {"kim@example.org"}


async def test_who_is_merged_into_another_hears_so() -> None:
    async with rows() as pipeline:
        pipeline.desk.letters = True
        for who in (KIM, Reporter("Lou", "lou@example.org")):
            await pipeline.report(Report("It is down", NOW, who))
        await pipeline.act("INC-1", "merge", ANN, now=NOW + 1, into="INC-2")
        assert (await owed(pipeline))[-1] == ("merged", "kim@example.org", "")


@pytest.mark.parametrize(
    "contact", ["", "+49 30 123", "kim@example.org, lou@example.org", "kim@example.org\nBcc: x@y.z"]
)
async def test_who_left_no_mail_address_is_not_written_to(contact: str) -> None:
    async with rows() as pipeline:
        pipeline.desk.letters = True
        await pipeline.report(Report("It is down", NOW, Reporter("Kim", contact)))
        await pipeline.act("INC-1", "reply", ANN, now=NOW + 1, text="Hello")
        assert await owed(pipeline) == []


async def test_what_nobody_reported_writes_to_nobody_and_letters_disturb_no_channel() -> None:
    async with rows(routes=(Route("ops", ("page",)),)) as pipeline:
        pipeline.desk.letters = True
        await pipeline.step([symptom(left=HOUR)], [], NOW)
        assert await owed(pipeline) == []
        await pipeline.report(Report("It is down", NOW, KIM))
        await pipeline.act("INC-2", "resolve", ANN, now=NOW + 1)
        o = schema.outbox
        async with pipeline.desk.engine.connect() as connection:
            found = (await connection.execute(select(o.c.channel, o.c.event).where(o.c.ticket_id == 2))).all()
        assert {tuple(row) for row in found} == {(CHANNEL, "received"), (CHANNEL, "resolved")}


async def test_confirmations_to_one_address_end_within_the_hour_and_begin_again_after_it() -> None:
    async with rows() as pipeline:
        pipeline.desk.letters = True
        for _ in range(MOST_CONFIRMED + 5):
            await pipeline.report(Report("I am away", NOW, KIM))
        await pipeline.report(Report("It is down", NOW, Reporter("Lou", "lou@example.org")))
        assert [to for _, to, _ in await owed(pipeline)] == ["kim@example.org"] * MOST_CONFIRMED + ["lou@example.org"]
        await pipeline.report(Report("It is down", NOW + HOUR, KIM))
        assert len(await owed(pipeline)) == MOST_CONFIRMED + 2


async def test_a_mail_is_remembered_with_what_it_did_or_neither_is() -> None:
    async with rows() as pipeline:
        await pipeline.report(Report("It is down", NOW, KIM, mail="a@b"))
        await pipeline.act("INC-1", "answer", REPORTER, now=NOW + 1, text="still", mail="c@d")
        assert await pipeline.desk.mails("INC-1") == ["a@b", "c@d"]
        assert await pipeline.desk.mailed(["x@y", "a@b"]) == "INC-1"
        assert await pipeline.desk.mailed(["x@y", ""]) is None
        with pytest.raises(StorageError):
            await pipeline.report(Report("again", NOW, KIM, mail="c@d"))
        assert await pipeline.desk.ticket("INC-2", ANN) is None


async def test_a_call_is_written_once_to_each_and_whoever_is_away_holds_up_nobody() -> None:
    async with rows() as pipeline:
        pipeline.desk.letters = True
        await pipeline.report(Report("It is down", NOW, KIM))
        asked = ["ben@example.org", "Ben@example.org", "kim@example.org", "lou@example.org", "Room 7"]
        await pipeline.act("INC-1", "bridge", ANN, now=NOW + 1, link="https://meet.example/7", attendees=asked)
        found = [to.casefold() for event, to, _ in await owed(pipeline) if event == "call"]
        assert sorted(found) == ["ben@example.org", "kim@example.org", "lou@example.org"]
        o = schema.outbox
        async with pipeline.desk.engine.connect() as connection:
            threads = (await connection.execute(select(o.c.dedup_key).where(o.c.channel == CHANNEL))).scalars().all()
        assert len(threads) == 4, "and the confirmation"
        assert len(set(threads)) == 3


async def test_letters_are_a_function_of_ticket_and_changes() -> None:
    async with rows() as pipeline:
        told: list[object] = []
        pipeline.subscribe(lambda committed: told.append(letters(committed.ticket, committed.changes)))
        await pipeline.report(Report("It is down", NOW, KIM))
        assert [[letter.event for letter in found] for found in told] == [["received"]]  # type: ignore[attr-defined]
