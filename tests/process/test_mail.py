"""The lines of the process that a reporter meets by mail or on the phone, over HTTP and real SMTP, on each database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from icalendar import Calendar

from detector.config.mail import MailOptions
from detector.daemon.mail import Inbox, letters
from detector.ingest import post, receive
from detector.ingest.mail import Taken
from detector.notify.deliver import Deliverer
from detector.notify.messages import sentence
from detector.nouns import SYSTEM, Report, Ticket, TimelineEntry, Viewer
from detector.tickets.commit import Committed
from detector.tickets.database import address
from detector.tickets.outbox import Outbox
from detector.web.links import Links
from tests.rows import HOUR, MINUTE, NOW, symptom
from tests.smtp import Post, said, smtp_server
from tests.web.house import House, house

ANN = Viewer("ann")
SECURITY = Viewer("sol", restricted=True)
URL = "https://desk.example.org"


class Intake:
    """What the daemon hands to ingest, as far as people use it; its pipeline comes with the house."""

    home: Desk

    def now(self) -> int:
        return self.home.house.clock.now()

    async def report(self, report: Report, who: str = "reporter") -> str:
        return (await self.home.pipeline.report(report, who)).key

    async def take(self, raw: bytes, envelope: Sequence[str] = ()) -> Taken:
        return await self.home.inbox.take(raw, envelope)


@dataclass
class Desk:
    """A desk with a mail server on each side."""

    house: House
    server: Post
    inbox: Inbox
    read: int = 0

    @property
    def pipeline(self) -> Any:
        return self.house.pipeline

    async def send(self, text: str, sender: str = "Kim <kim@example.org>", to: str = "", **headers: str) -> str:
        """A mail to the desk by the webhook; what became of it."""
        mail = EmailMessage()
        mail["From"], mail["To"] = sender, to or "desk@example.org"
        given = {"subject": "The shop is white", "message-id": f"<{hash((text, *headers.values()))}@kim.example.org>"}
        for name, value in (given | {n.replace("_", "-"): v for n, v in headers.items()}).items():
            mail[name] = value
        mail.set_content(text)
        answer = await self.house.client.post(
            "/webhooks/mail", data=mail.as_bytes(), headers={"Content-Type": "message/rfc822"}
        )
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["result"])

    async def letter(self) -> EmailMessage:
        """The next letter that arrives."""
        async with asyncio.timeout(20):
            while len(self.server.raw) <= self.read:  # noqa: ASYNC110 - the server is another party
                await asyncio.sleep(0.005)
        self.read += 1
        return self.server.mails[self.read - 1]

    async def answer(self, letter: EmailMessage, text: str, **headers: str) -> str:
        quoted = "".join(f"> {line}\n" for line in said(letter).splitlines())
        named = {
            "subject": f"Re: {letter['Subject']}", "in_reply_to": letter["Message-ID"],
            "references": f"{letter['References'] or ''} {letter['Message-ID']}".strip(), **headers,
        }  # fmt: skip
        return await self.send(f"{text}\n\nOn Tuesday, Service desk <desk@example.org> wrote:\n{quoted}", **named)

    async def act(self, action: str, key: str = "INC-1", who: Viewer = ANN, **arguments: object) -> Ticket:
        self.house.clock.set(self.house.clock.now() + 1)
        found: Ticket = await self.pipeline.act(key, action, who, now=self.house.clock.now(), **arguments)
        return found

    async def ticket(self, key: str = "INC-1") -> Ticket:
        found = await self.pipeline.desk.ticket(key, SYSTEM)
        assert found is not None, f"there is no {key}"
        return found  # type: ignore[no-any-return]

    async def timeline(self, key: str = "INC-1") -> list[TimelineEntry]:
        return list(await self.pipeline.desk.timeline(key, SYSTEM))

    async def answers(self, key: str = "INC-1") -> list[str]:
        return [entry.data["text"] for entry in await self.timeline(key) if entry.what == "answered"]


@asynccontextmanager
async def desk_with_mail(url: str | None, folder: Path) -> AsyncIterator[Desk]:
    intake, links = Intake(), Links(b"k" * 32)
    ingest = [*receive.routes(intake), *post.routes(intake)]  # type: ignore[arg-type]
    async with smtp_server(Post()) as server, house(url=url, links=links, ingest=ingest) as home:
        options = MailOptions.model_validate({
            "from": "Service desk <desk@example.org>", "security_address": "security@example.org",
            "smtp": {"host": "127.0.0.1", "port": server.port, "security": "none"},
        })  # fmt: skip
        pipeline, clock = home.pipeline, home.clock
        pipeline.desk.letters = True
        inbox = Inbox(pipeline, links, lambda: options, clock.now, pipeline._telemetry)
        channel = letters(pipeline, links, options, URL, folder, clock)
        deliverer = Deliverer(Outbox(pipeline.desk), [channel], clock, pipeline._telemetry, URL, UTC)

        def wake(committed: Committed) -> None:
            deliverer.wake(committed.channels)

        pipeline.subscribe(wake)
        worker = asyncio.create_task(deliverer.run())
        intake.home = Desk(home, server, inbox)
        try:
            yield intake.home
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    # In a file: in memory all share one connection, and the deliverer looks on while others write.
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else address(tmp_path / "desk.db")
    async with desk_with_mail(url, tmp_path) as made:
        yield made


# --- the point of contact ---------------------------------------------------------------------------------------------


async def test_P01_a_mail_opens_a_ticket_and_the_reporter_reads_and_answers_in_the_same_thread(desk: Desk) -> None:
    assert await desk.send("Nothing can be bought.\n-- \nKim", message_id="<first@kim.example.org>") == "stored"
    confirmed = await desk.letter()
    assert (confirmed["To"], confirmed["Subject"]) == ("kim@example.org", "[INC-1] The shop is white")
    assert (confirmed["In-Reply-To"], confirmed["Auto-Submitted"]) == ("<first@kim.example.org>", "auto-generated")
    await desk.act("reply", text="Which browser?")
    reply = await desk.letter()
    assert "Which browser?" in said(reply)
    assert reply["References"].split() == ["<first@kim.example.org>", confirmed["Message-ID"]]
    assert reply["Auto-Submitted"] is None
    assert await desk.answer(reply, "Firefox.") == "stored"
    assert await desk.answers() == ["Firefox."]
    await desk.act("reply", text="Thank you")
    following = await desk.letter()
    assert following["In-Reply-To"] not in (None, confirmed["Message-ID"]), "it answers their newest"
    assert "The reporter was written to" in [sentence(entry) for entry in await desk.timeline()]


async def test_P01_the_link_of_a_letter_opens_the_reporters_page(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    link = re.search(rf"{URL}(/my/\S+)", said(await desk.letter()))
    assert link is not None
    page = await desk.house.client.get(link[1])
    assert "Nothing can be bought" in await page.text()


async def test_P01_what_is_delivered_twice_is_kept_once(desk: Desk) -> None:
    assert [await desk.send("It is down") for _ in range(2)] == ["stored", "duplicate"]
    await desk.act("reply", text="Since when?")
    await desk.letter()
    reply = await desk.letter()
    assert [await desk.answer(reply, "Noon.") for _ in range(2)] == ["stored", "duplicate"]
    assert await desk.answers() == ["Noon."]
    assert await desk.pipeline.desk.ticket("INC-2", SYSTEM) is None


async def test_P01_many_copies_at_once_are_kept_once(desk: Desk) -> None:
    results = await asyncio.gather(*(desk.send("It is down") for _ in range(8)))
    assert sorted(results) == ["duplicate"] * 7 + ["stored"]


async def test_P01_machines_are_neither_heard_nor_answered(desk: Desk) -> None:
    await desk.send("It is down")
    confirmed = await desk.letter()
    assert await desk.answer(confirmed, "I am away.", auto_submitted="auto-replied") == "automatic"
    assert await desk.send("undeliverable", sender="MAILER-DAEMON@mx.example.org") == "automatic"
    assert await desk.send("to myself", sender="desk@example.org") == "automatic"
    assert await desk.answers() == []
    assert await desk.pipeline.desk.ticket("INC-2", SYSTEM) is None
    assert len(desk.server.raw) == 1


async def test_P01_a_machine_that_does_not_say_so_is_not_answered_for_ever(desk: Desk) -> None:
    for number in range(14):
        await desk.send(f"I am away, notice {number}", subject="Out of office")
    for _ in range(10):
        await desk.letter()
    await desk.act("reply", key="INC-14", text="are you a machine?")
    assert "are you a machine?" in said(await desk.letter())
    assert len(desk.server.raw) == 11


async def test_P01_nobody_writes_into_the_tickets_of_others(desk: Desk) -> None:
    await desk.send("Nothing can be bought", message_id="<first@kim.example.org>")
    eve: dict[str, str] = {"sender": "eve@evil.org"}
    await desk.send("close it", subject="Re: [INC-1] The shop is white", **eve)
    await desk.send("really", subject="Re: x", in_reply_to="<first@kim.example.org>", **eve)
    await desk.send("please", subject="Re: x", in_reply_to="<INC-1.1.AAAAAAAAAAAAAAAAAAAAAAAA@example.org>", **eve)
    assert await desk.answers() == []
    reporters = [(await desk.ticket(f"INC-{n}")).reporter for n in (2, 3, 4)]
    assert {reporter.contact for reporter in reporters if reporter} == {"eve@evil.org"}
    opened = [next(e for e in await desk.timeline(f"INC-{n}") if e.what == "opened") for n in (2, 3, 4)]
    assert [entry.data["follows"] for entry in opened] == [None, None, None]


async def test_P01_the_number_in_the_subject_is_enough_for_its_reporter(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    assert await desk.send("It is worse", subject="[INC-1] again", sender="KIM@example.org") == "stored"
    assert await desk.answers() == ["It is worse"]


async def test_P01_who_was_handed_the_letter_answers_under_the_own_name(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    assert await desk.answer(await desk.letter(), "Same here.", sender="Lou <lou@example.org>") == "stored"
    assert await desk.answers() == ["(Lou, lou@example.org:) Same here."]


async def test_P01_an_agent_logs_a_call_on_a_users_behalf(desk: Desk) -> None:
    form = {"description": "Nothing can be bought", "name": "Kim", "contact": "kim@example.org", "call": "true"}
    answer = await desk.house.client.post("/report", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/incidents/INC-1")
    told = {"description": "It is slow", "channel": "call", "reporter": {"name": "Lou", "contact": "+49 30 1"}}
    assert (await desk.house.client.post("/api/reports", json=told)).status == 201
    for key, name in (("INC-1", "Kim"), ("INC-2", "Lou")):
        opened = next(entry for entry in await desk.timeline(key) if entry.what == "opened")
        assert (opened.who, opened.data["channel"], opened.data["source"]) == ("operator", "call", "report")
        assert opened.data["reporter"]["name"] == name
        assert sentence(opened) == "Reported by a call"
    assert (await desk.letter())["To"] == "kim@example.org", "who called hears of it by mail"


# --- a call -----------------------------------------------------------------------------------------------------------


async def test_P04_everybody_who_is_asked_to_a_call_gets_it_by_mail_for_their_calendar(desk: Desk) -> None:
    await desk.send("Nothing can be bought", message_id="<first@kim.example.org>")
    await desk.letter()
    await desk.act(
        "bridge", link="https://meet.example/7", dial_in="+49 30 1 #7", at=NOW + 2 * HOUR, minutes=30,
        attendees=["ben@example.org", "KIM@example.org", "Ben@Example.org", "+49 30 2", "x@y.org, z@y.org"],
        text="Have your order's number at hand.",
    )  # fmt: skip
    by = {letter["To"]: letter for letter in [await desk.letter(), await desk.letter()]}
    assert {to.casefold() for to in by} == {"kim@example.org", "ben@example.org"}
    for letter in by.values():
        assert letter["Subject"] == "[INC-1] The shop is white"
        assert "Have your order's number at hand." in said(letter)
        assert "Where: https://meet.example/7 or +49 30 1 #7" in said(letter)
        assert "Wednesday, 18 Nov 2026 13:06 (UTC), for 30 min" in said(letter)
        [attached] = letter.iter_attachments()
        assert (attached.get_content_type(), attached["Content-Type"].params["method"]) == ("text/calendar", "PUBLISH")
        [event] = Calendar.from_ical(attached.get_content()).walk("VEVENT")
        assert event["uid"] == "INC-1-bridge-1@desk.example.org"
        assert event["dtstart"].dt.timestamp() * 1000 == NOW + 2 * HOUR
        assert event["location"] == "https://meet.example/7 or +49 30 1 #7"
    kim, ben = by["kim@example.org"], by.get("Ben@Example.org", by.get("ben@example.org"))
    assert ben is not None
    assert f"{URL}/my/INC-1." in said(kim)
    assert "/my/" not in said(ben) + said(ben, "html"), "the reporter's page is the reporter's"
    assert "<first@kim.example.org>" in kim["References"]
    assert ben["References"] is None, "what the reporter wrote is nobody else's"
    assert await desk.answer(ben, "I cannot come.", sender="Ben <ben@example.org>") == "stored"
    assert await desk.answers() == ["(Ben, ben@example.org:) I cannot come."]
    async with asyncio.timeout(20):
        while [sentence(entry) for entry in await desk.timeline()].count("Invited to the call") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await desk.act("bridge", link="https://meet.example/8", attendees=["ben@example.org"])
    again = [await desk.letter(), await desk.letter()]
    assert all("https://meet.example/8" in said(letter) for letter in again)
    assert len(desk.server.raw) == 5


async def test_P04_a_call_about_what_was_detected_is_written_to_who_is_asked(desk: Desk) -> None:
    await desk.pipeline.step([symptom(left=HOUR)], [], NOW)
    await desk.act("bridge", link="https://meet.example/7", attendees=["ben@example.org"])
    letter = await desk.letter()
    assert letter["To"] == "ben@example.org"
    assert len(list(letter.iter_attachments())) == 1


async def test_P04_where_a_confidential_call_takes_place_is_in_no_mail(desk: Desk) -> None:
    await desk.send("A list is public", to="security@example.org", subject="A leak")
    await desk.letter()
    await desk.act("bridge", who=SECURITY, link="https://meet.example/7", attendees=["ben@example.org"], text="a leak")
    letter = await desk.letter()
    assert letter["To"] == "kim@example.org"
    assert list(letter.iter_attachments()) == []
    for text in (letter["Subject"], said(letter), said(letter, "html")):
        assert "meet.example" not in text
        assert "leak" not in text
    link = re.search(rf"{URL}(/my/\S+)", said(letter))
    assert link is not None
    assert "https://meet.example/7" in await (await desk.house.client.get(link[1])).text()
    assert len(desk.server.raw) == 2


async def test_P14_whoever_reported_it_hears_what_the_public_is_told(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.letter()
    await desk.act("decide", kind="incident")
    await desk.act("publish", status="investigating", body="The shop is down.")
    letter = await desk.letter()
    assert "The shop is down." in said(letter)
    assert "on our status page" in said(letter)


# --- the process of one ticket ----------------------------------------------------------------------------------------


async def test_P16_a_mail_is_logged_with_name_contact_words_and_its_time(desk: Desk) -> None:
    desk.house.clock.set(NOW + HOUR)
    await desk.send("Nothing can be bought", date="Wed, 18 Nov 2026 12:30:00 +0100")
    ticket = await desk.ticket()
    assert ticket.reporter is not None
    assert (ticket.kind, ticket.source, ticket.title) == ("undecided", "report", "The shop is white")
    assert (ticket.reporter.name, ticket.reporter.contact) == ("Kim", "kim@example.org")
    assert (ticket.description, ticket.opened_at) == ("Nothing can be bought", NOW + HOUR)
    assert ticket.reported_at == 1_795_001_400_000


async def test_P19_the_question_goes_by_mail_and_the_answer_by_mail_ends_the_waiting(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.letter()
    await desk.act("wait", reason="user", text="Which browser do you use?")
    question = await desk.letter()
    assert "Which browser do you use?" in said(question)
    resolution = next(clock for clock in (await desk.ticket()).clocks if clock.name == "resolution")
    assert resolution.state == "paused"
    desk.house.clock.set(desk.house.clock.now() + HOUR)
    await desk.answer(question, "Firefox.")
    ticket = await desk.ticket()
    again = next(clock for clock in ticket.clocks if clock.name == "resolution")
    assert (ticket.waiting, again.state, again.due_at) == (None, "running", resolution.due_at + HOUR)


async def test_P19_the_basic_questions_go_by_one_letter_and_later_ones_by_another(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.letter()
    await desk.act("ask", asked=("Which browser?", "Since when?"))
    assert "Which browser?\nSince when?" in said(await desk.letter()).replace("\r", "")
    await desk.act("ask", asked=("From where?",))
    assert "From where?" in said(await desk.letter())
    assert len(desk.server.raw) == 3


async def test_P23_the_letter_asks_whether_it_is_solved_and_the_page_takes_the_word(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.letter()
    await desk.act("resolve", text="The shop was started again.")
    asked = await desk.letter()
    assert "The shop was started again." in said(asked)
    assert "solved, or not solved" in said(asked)
    await desk.answer(asked, "Thanks, all fine!")
    ticket = await desk.ticket()
    assert (ticket.state, await desk.answers()) == ("resolved", ["Thanks, all fine!"]), "a mail's tone decides nothing"
    link = re.search(rf"{URL}(/my/\S+)", said(asked))
    assert link is not None
    await desk.house.client.post(link[1], data={"solved": "yes"})
    assert (await desk.ticket()).state == "closed"
    assert len(desk.server.raw) == 2, "nobody is written to about what they have just said"


async def test_P23_an_answer_to_what_is_closed_opens_a_new_one_that_names_it(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.letter()
    await desk.act("resolve")
    await desk.act("close")
    asked, closed = await desk.letter(), await desk.letter()
    assert "is closed" in said(closed)
    await desk.answer(asked, "It is back.")
    opened = next(entry for entry in await desk.timeline("INC-2") if entry.what == "opened")
    assert (opened.data["follows"], (await desk.ticket("INC-2")).description) == ("INC-1", "It is back.")
    assert (await desk.ticket()).state == "closed"


async def test_P24_neither_the_confirmation_nor_an_answer_stops_the_response_clock(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.answer(await desk.letter(), "Hello?")

    async def response() -> str:
        return next(clock.state for clock in (await desk.ticket()).clocks if clock.name == "response")

    assert await response() == "running"
    await desk.act("reply", text="We are on it")
    assert await response() == "met"


# --- data breach ------------------------------------------------------------------------------------------------------


async def test_P27_a_mail_to_the_security_address_is_restricted_from_its_first_byte(desk: Desk) -> None:
    await desk.send("The customers' addresses are public", to="Security <Security@Example.org>", subject="A leak")
    ticket = await desk.ticket()
    assert (ticket.restricted, ticket.breach, ticket.tier) == (True, "suspected", "L3")
    assert await desk.pipeline.desk.ticket("INC-1", ANN) is None
    confirmed = await desk.letter()
    for text in (str(confirmed["Subject"]), said(confirmed), said(confirmed, "html")):
        assert "leak" not in text
        assert "addresses are" not in text
    assert confirmed["Reply-To"] == "security@example.org"
    assert await desk.answer(confirmed, "There is more.", subject="Re: Your report") == "stored"
    assert await desk.answers() == ["There is more."]
    figures = await (await desk.house.client.get("/metrics")).text()
    assert "INC-1" not in figures
    assert 'detector_mails_total{result="opened"}' not in figures
    assert 'detector_notifications_total{channel="@mail"' not in figures
    for path in ("/", "/api/incidents", "/incidents/INC-1"):
        assert "A leak" not in await (await desk.house.client.get(path)).text()


async def test_P27_what_is_sent_there_is_not_added_to_what_everybody_reads(desk: Desk) -> None:
    await desk.send("Nothing can be bought")
    await desk.answer(await desk.letter(), "I saw other people's orders.", to="desk@example.org, security@example.org")
    assert await desk.answers() == []
    assert ((await desk.ticket("INC-2")).restricted, (await desk.ticket()).restricted) == (True, False)


async def test_P27_what_follows_a_confidential_one_is_confidential(desk: Desk) -> None:
    await desk.send("A list was sent to strangers", to="security@example.org")
    confirmed = await desk.letter()
    await desk.act("judge", who=SECURITY, verdict="dismissed", text="a rehearsal")
    await desk.act("resolve", who=SECURITY)
    await desk.act("close", who=SECURITY)
    await desk.answer(confirmed, "And another one.", to="desk@example.org", subject="Re: Your report")
    assert (await desk.ticket("INC-2")).restricted


async def test_P27_who_logs_a_confidential_call_gets_its_number_and_no_way_in(desk: Desk) -> None:
    form = {"description": "A list is public", "name": "Kim", "security": "true", "call": "true"}
    answer = await desk.house.client.post("/report", data=form, allow_redirects=False)
    text = await answer.text()
    assert (answer.status, "INC-1 is logged. It is confidential" in text) == (200, True)
    assert "A list is public" not in text
    assert (await desk.house.client.get("/incidents/INC-1")).status == 404


async def test_P01_without_a_server_for_it_nobody_is_owed_a_letter(desk: Desk) -> None:
    desk.pipeline.desk.letters = False
    await desk.send("Nothing can be bought")
    await desk.act("reply", text="Soon")
    assert await Outbox(desk.pipeline.desk).claim("@mail", NOW + HOUR, MINUTE) is None
