"""Letters to reporters: their words, their envelope, and a real SMTP server that takes or refuses them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import ManualClock
from detector.notify.channels import DeliveryError, Refused, Unavailable
from detector.notify.channels.letters import CHANNEL, Letters, SmtpOptions, composed
from detector.notify.messages import Attachment, Envelope, Message, letter, sentence
from detector.nouns import Notification, Reporter, Ticket, TimelineEntry
from detector.tickets import letters as owed
from detector.words import ANSWER_ABOVE, mailbox
from tests.daemon import free_port
from tests.notify.tickets import ticket
from tests.rows import NOW
from tests.smtp import Post, said, smtp_server

LINK = "https://desk.example.org/my/INC-42.sign"
SENDER = ("Service desk", "desk@example.org")


def reported(**values: Any) -> Ticket:
    given: dict[str, Any] = {
        "key": "INC-42", "title": "The shop is white", "reporter": Reporter("Kim", "kim@example.org"),
        "restricted": False,
    }  # fmt: skip
    return ticket(**(given | values))


def worded(event: str = "replied", text: str = "Try again, please.", **values: Any) -> Message:
    about = reported(**values)
    notification = Notification(
        7, about, CHANNEL, event, "notify", "", "t", "t/7", NOW, NOW, 0, recipient="kim@example.org", text=text
    )
    envelope = Envelope("kim@example.org", "INC-42.7.sign@example.org", ("a@b", "c@d"), event == "received")
    return letter(notification, LINK, envelope)


def channel(post: Post, home: Path, **changed: Any) -> Letters:
    options = {"host": "127.0.0.1", "port": post.port, "security": "none", "timeout": "5s"} | changed
    if "user" in options:
        (home / "smtp.password").write_text(changed.pop("password", post.password))
        options = {k: v for k, v in options.items() if k != "password"} | {"password_file": "smtp.password"}

    async def never(notification: Notification) -> Message:
        raise AssertionError("tests word their own")

    return Letters(SmtpOptions.model_validate(options), SENDER, home, ManualClock(NOW), never)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said_so"),
    [
        ("received", "Its number is INC-42."), ("replied", "Try again, please."), ("question", "We need an answer"),
        ("resolved", "solved, or not solved"), ("merged", "together with theirs"), ("closed", "is closed"),
    ],
)  # fmt: skip
def test_every_letter_has_its_number_its_link_and_its_words_in_both_formats(event: str, said_so: str) -> None:
    message = worded(event)
    assert message.subject == "[INC-42] The shop is white"
    for text in (message.text, message.html):
        assert said_so in text
        assert LINK in text
        assert ANSWER_ABOVE in text


def test_a_restricted_tickets_letter_says_nothing_but_the_link() -> None:
    message = worded("replied", "The mailbox of sales was read.", restricted=True, title="leak", description="leak")
    for text in (message.subject, message.text, message.html):
        assert "mailbox" not in text
        assert "leak" not in text
    assert "INC-42" not in message.subject
    assert LINK in message.text


def test_what_people_write_is_only_text() -> None:
    hostile = "<script>x</script>\n\u202eabc\r\nBcc: all@example.org"
    message = worded("replied", hostile, title="<b>x</b>\r\nBcc: all@example.org")
    assert "<script>" not in message.html
    assert "\u202e" not in message.text
    assert "\n" not in message.subject


def test_the_timeline_says_that_the_reporter_was_written_to() -> None:
    entry = TimelineEntry(NOW, "detector", "delivered", {"channel": CHANNEL, "result": "sent"})
    assert sentence(entry) == "The reporter was written to"
    dead = replace(entry, data={"channel": CHANNEL, "result": "dead", "reason": "rejected"})
    assert sentence(dead) == "The reporter could not be written to: rejected"
    assert owed.CHANNEL == CHANNEL


# --- the mail ---------------------------------------------------------------------------------------------------------


async def test_a_letter_arrives_with_its_thread_and_both_formats(tmp_path: Path) -> None:
    async with smtp_server(Post()) as post:
        receipt = await channel(post, tmp_path).deliver(worded("replied", "Größe\nzwei"))
    (mail,) = post.mails
    assert receipt.id == "INC-42.7.sign@example.org"
    assert post.recipients == [["kim@example.org"]]
    assert (mail["From"], mail["To"], mail["Subject"]) == (
        "Service desk <desk@example.org>", "kim@example.org", "[INC-42] The shop is white",
    )  # fmt: skip
    assert (mail["Message-ID"], mail["In-Reply-To"], mail["References"]) == (
        "<INC-42.7.sign@example.org>", "<c@d>", "<a@b> <c@d>",
    )  # fmt: skip
    assert mail["Auto-Submitted"] is None, "a person wrote it"
    assert mail["Date"].datetime.timestamp() == NOW // 1000
    assert "Größe\r\nzwei" in said(mail).replace("\n", "\r\n").replace("\r\r", "\r")
    assert "Größe<br>zwei" in said(mail, "html")


async def test_what_no_person_wrote_says_so(tmp_path: Path) -> None:
    async with smtp_server(Post()) as post:
        await channel(post, tmp_path).deliver(worded("received"))
    assert post.mails[0]["Auto-Submitted"] == "auto-generated"
    assert post.mails[0]["X-Auto-Response-Suppress"] == "All"


@given(
    st.text(max_size=200), st.lists(st.text(max_size=60), max_size=30),
    st.sampled_from(["kim@example.org", "kim@example.org\r\nBcc: x@y.org", "kim@x.org,x@y.org", "k\u00edm@x.org"]),
)  # fmt: skip
def test_nothing_that_is_put_into_it_adds_a_header_or_a_recipient(
    subject: str, references: list[str], recipient: str
) -> None:
    envelope = Envelope(recipient, "id@example.org", tuple(references))
    message = replace(worded("replied"), subject=subject, envelope=envelope)
    try:
        raw = composed(message, SENDER, NOW)
    except Refused as refused:
        assert refused.reason == "invalid"
        return
    assert mailbox(recipient)
    head = raw.partition(b"\r\n\r\n")[0]
    assert b"\nBcc" not in head
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    known = {
        b"content-type", b"mime-version", b"from", b"to", b"subject", b"date", b"message-id", b"in-reply-to",
        b"references", b"auto-submitted", b"x-auto-response-suppress",
    }  # fmt: skip
    assert set(names) <= known
    assert len(names) == len(set(names))
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))


# --- servers that refuse ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer", "kind", "reason"),
    [
        ("RCPT", "550 5.1.1 nobody of that name", Refused, "gone"),
        ("RCPT", "550 5.7.1 not from you", Refused, "rejected"),
        ("RCPT", "450 4.2.1 busy", Unavailable, "server-error"),
        ("DATA", "552 5.3.4 too much", Refused, "too-large"),
        ("DATA", "554 5.7.1 no", Refused, "rejected"),
        ("DATA", "451 4.3.0 later", Unavailable, "server-error"),
    ],
)
async def test_a_refusal_for_good_is_told_from_one_for_now(
    tmp_path: Path, command: str, answer: str, kind: type[DeliveryError], reason: str
) -> None:
    async with smtp_server(Post(answers={command: answer})) as post:
        with pytest.raises(kind) as caught:
            await channel(post, tmp_path).deliver(worded())
    assert caught.value.reason == reason
    assert "nobody of that name" not in str(caught.value)


async def test_a_server_that_is_away_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await channel(Post(port=free_port()), tmp_path).deliver(worded())
    assert caught.value.reason == "unreachable"


async def test_a_server_that_never_answers_is_left_in_time(tmp_path: Path) -> None:
    import asyncio

    async def silent(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await asyncio.sleep(0)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    for handler, reason in ((mute, "timeout"), (silent, "unreachable")):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            await channel(Post(port=port), tmp_path, timeout="1s").deliver(worded())
        assert caught.value.reason == reason
        server.close()


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_over_tls_with_a_login(tmp_path: Path, security: str) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with smtp_server(Post(), context, implicit=security == "tls", login=True) as post:
        given = {"security": security, "user": "desk", "ca_file": "ca.pem"}
        await channel(post, tmp_path, **given).deliver(worded())
        assert len(post.mails) == 1
        for changed, reason in (({"password": "wrong"}, "unauthorized"), ({"ca_file": "other.pem"}, "tls")):
            with pytest.raises(Unavailable) as caught:
                await channel(post, tmp_path, **given | changed).deliver(worded())
            assert caught.value.reason == reason
        assert len(post.mails) == 1


async def test_a_server_without_starttls_gets_neither_password_nor_letter(tmp_path: Path) -> None:
    async with smtp_server(Post()) as post:
        with pytest.raises(Unavailable) as caught:
            await channel(post, tmp_path, security="starttls", user="desk").deliver(worded())
    assert caught.value.reason == "tls"
    assert post.mails == []


# --- more than words --------------------------------------------------------------------------------------------------


def test_what_is_attached_stands_beside_the_words() -> None:
    made = replace(worded("call"), attachments=(Attachment("call.ics", "text/calendar", b"BEGIN:VCALENDAR\r\n"),))
    mail = message_from_bytes(composed(made, SENDER, NOW), policy=SMTP)
    assert mail.get_content_type() == "multipart/mixed"
    words, calendar = mail.iter_parts()  # type: ignore[attr-defined]
    assert words.get_content_type() == "multipart/alternative"
    assert calendar["Content-Type"].params["method"] == "PUBLISH"
    assert (calendar.get_content_type(), calendar.get_filename()) == ("text/calendar", "call.ics")
    assert calendar.get_content().startswith("BEGIN:VCALENDAR")


def test_a_restricted_tickets_call_is_not_in_its_letter() -> None:
    attached = (Attachment("call.ics", "text/calendar", b"x"),)
    about = Notification(
        7, reported(restricted=True), CHANNEL, "call", "notify", "", "t", "t/7", NOW, NOW, 0, "", "kim@example.org"
    )
    made = letter(about, LINK, Envelope("kim@example.org", "x@y"), ["Where: https://meet.example/7"], attached)
    assert "meet.example" not in made.text + made.html
    assert made.attachments == ()


def test_a_letter_that_can_be_ended_says_how() -> None:
    url = "https://desk.example.org/status/unsubscribe/" + "t" * 43
    made = replace(worded(), envelope=Envelope("kim@example.org", "x@y", unsubscribe=url))
    mail = message_from_bytes(composed(made, SENDER, NOW), policy=SMTP)
    assert mail["List-Unsubscribe"] == f"<{url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
