"""A mailbox over IMAP against a real socket: unseen mails are taken, and marked only after that."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from detector.ingest.imap import ImapOptions, Mailbox, MailboxError, Verdict, poll
from detector.ingest.mail import MAIL_BYTES
from tests.daemon import free_port
from tests.imap import Box, imap_server

MAIL = b"From: kim@example.org\r\nSubject: x\r\n\r\nhello\r\n"


def mailbox(box: Box, home: Path, **changed: Any) -> Mailbox:
    (home / "imap.password").write_text(f"{changed.pop('password', box.password)}\n")
    given = {
        "host": "127.0.0.1", "port": box.port, "security": "none", "user": box.user, "password_file": "imap.password",
        "timeout": "5s",
    }  # fmt: skip
    return Mailbox(ImapOptions.model_validate(given | changed), home)


async def look(box: Mailbox, verdict: Verdict | Callable[[bytes], Verdict] = "taken") -> tuple[list[bytes], bool]:
    taken: list[bytes] = []

    async def take(raw: bytes) -> Verdict:
        taken.append(raw)
        return verdict(raw) if callable(verdict) else verdict

    return taken, await poll(box, asyncio.to_thread, take)


async def test_what_is_unseen_is_taken_in_order_and_marked(tmp_path: Path) -> None:
    box = Box()
    box.deliver(b"old", "\\Seen")
    box.deliver(b"gone", "\\Deleted")
    first, second = box.deliver(MAIL), box.deliver(MAIL + b"2")
    with imap_server(box):
        assert await look(mailbox(box, tmp_path)) == ([MAIL, MAIL + b"2"], False)
        assert first.flags == second.flags == {"\\Seen"}
        assert await look(mailbox(box, tmp_path)) == ([], False)


async def test_it_is_seen_only_after_it_was_taken(tmp_path: Path) -> None:
    box = Box()
    mail = box.deliver(MAIL)

    def not_yet(raw: bytes) -> Verdict:
        assert mail.flags == set()
        return "taken"

    with imap_server(box):
        box.breaks_at = "STORE"
        with pytest.raises(MailboxError, match="marking failed"):
            await look(mailbox(box, tmp_path), not_yet)
        assert mail.flags == set()
        assert (await look(mailbox(box, tmp_path), not_yet))[0] == [MAIL], "at least once"
        assert mail.flags == {"\\Seen"}


async def test_what_cannot_be_used_is_flagged_for_a_person(tmp_path: Path) -> None:
    box = Box()
    mail = box.deliver(b"rubbish")
    with imap_server(box):
        await look(mailbox(box, tmp_path), "rejected")
    assert mail.flags == {"\\Seen", "\\Flagged"}


async def test_a_desk_that_is_full_leaves_the_rest_for_later(tmp_path: Path) -> None:
    box = Box()
    mails = [box.deliver(MAIL + b"%d" % n) for n in range(3)]
    with imap_server(box):
        taken, more = await look(mailbox(box, tmp_path), lambda raw: "later" if raw.endswith(b"1") else "taken")
    assert (len(taken), more) == (2, False)
    assert [mail.flags for mail in mails] == [{"\\Seen"}, set(), set()]


async def test_one_that_fails_does_not_keep_those_behind_it(tmp_path: Path) -> None:
    box = Box()
    bad, good = box.deliver(b"bad"), box.deliver(b"good")

    def broken(raw: bytes) -> Verdict:
        if raw == b"bad":
            raise RuntimeError("a defect")
        return "taken"

    with imap_server(box):
        await look(mailbox(box, tmp_path), broken)
    assert (bad.flags, good.flags) == (set(), {"\\Seen"})


async def test_more_than_one_look_holds_is_said(tmp_path: Path) -> None:
    box = Box()
    for _ in range(51):
        box.deliver(MAIL)
    with imap_server(box):
        taken, more = await look(mailbox(box, tmp_path))
        assert (len(taken), more) == (50, True)


async def test_of_a_huge_mail_only_the_beginning_travels(tmp_path: Path) -> None:
    box = Box()
    box.deliver(b"x" * (MAIL_BYTES + 5_000_000))
    with imap_server(box):
        ((raw,), _) = await look(mailbox(box, tmp_path))
    assert len(raw) == MAIL_BYTES + 1


async def test_a_server_that_announces_more_than_asked_is_not_read(tmp_path: Path) -> None:
    box = Box(lies=b"* 1 FETCH (UID 101 BODY[]<0> {4000000000}\r\n")
    box.deliver(MAIL)
    with imap_server(box):
        with pytest.raises(MailboxError, match="fetching failed"):
            await look(mailbox(box, tmp_path))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"password": "wrong"}, "logging in failed"),
        ({"password": "wr\u00f6ng"}, "logging in: only ASCII can be sent"),
        ({"folder": "Desk"}, "selecting the folder was refused"),
        ({"security": "starttls"}, "connecting failed"),
        ({"port": free_port()}, "connecting: Connection refused"),
        ({"password_file": "nowhere"}, "logging in: No such file"),
    ],
)
async def test_what_is_refused_is_said_without_a_secret(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    box = Box()
    with imap_server(box):
        with pytest.raises(MailboxError, match=why) as caught:
            await look(mailbox(box, tmp_path, **changed))
    assert "wrong" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_names_and_passwords_of_any_signs_are_quoted(tmp_path: Path) -> None:
    box = Box(user='desk "one"', password='a "b\\c')
    with imap_server(box):
        assert await look(mailbox(box, tmp_path)) == ([], False)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_over_tls_the_server_has_to_be_the_one_that_is_named(tmp_path: Path, security: str) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    box = Box(tls=context, needs_starttls=security == "starttls")
    box.deliver(MAIL)
    with imap_server(box, context if security == "tls" else None):
        with pytest.raises(MailboxError, match="connecting: TLS failed: CERTIFICATE_VERIFY_FAILED"):
            await look(mailbox(box, tmp_path, security=security, ca_file="other.pem"))
        assert (await look(mailbox(box, tmp_path, security=security, ca_file="ca.pem")))[0] == [MAIL]


async def test_a_look_that_is_cut_off_lets_go_of_the_connection(tmp_path: Path) -> None:
    box = Box()
    mail = box.deliver(MAIL)
    reached = asyncio.Event()

    async def never(raw: bytes) -> Verdict:
        reached.set()
        await asyncio.Event().wait()
        return "taken"

    with imap_server(box):
        task = asyncio.create_task(poll(mailbox(box, tmp_path), asyncio.to_thread, never))
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert mail.flags == set()


REFUSALS = [
    ("a1 SELECT INBOX", "BAD SELECT is not allowed while not authenticated"), ("a2 DANCE", "BAD DANCE is not known"),
    ("a3 UID LOGIN a b", "BAD"), ("a4 LOGIN desk", "BAD"), ("a5 LOGIN desk wrong", "NO [AUTHENTICATIONFAILED]"),
    ("a6 LOGIN desk secret", "OK"), ("a7 LOGIN desk secret", "BAD LOGIN is not allowed while authenticated"),
    ("a8 UID SEARCH UNSEEN", "BAD SEARCH is not allowed while authenticated"), ("a9 SELECT Desk", "NO [NONEXISTENT]"),
    ("b1 SELECT INBOX", "OK"), ("b2 SEARCH WHENEVER", "BAD"), ("b3 UID FETCH x (BODY[])", "BAD"),
    ("b4 UID FETCH 101 (BODY.PEEK[]<0.0>)", "BAD"), ("b5 UID STORE 101 +FLAGS (\\Mine)", "BAD"),
    ("b6 UID STORE 101 *FLAGS (\\Seen)", "BAD"), ("b7 STARTTLS", "BAD"), ("b8 UID FETCH 101 (BODY[])", "OK"),
    ("b9 LOGOUT", "OK"),
]  # fmt: skip


def test_the_stand_in_refuses_what_a_real_server_refuses() -> None:
    box = Box()
    box.deliver(MAIL)
    with imap_server(box), socket.create_connection(("127.0.0.1", box.port), 10) as client:
        lines = client.makefile("rb")
        assert lines.readline().startswith(b"* OK")
        for asked, answered in REFUSALS:
            client.sendall(asked.encode() + b"\r\n")
            tag = asked.partition(" ")[0].encode() + b" "
            answer = next(line for line in lines if line.startswith(tag)).decode()
            assert answer.partition(" ")[2].startswith(answered), (asked, answer)
        assert lines.readline() == b""
    assert box.mails[0].flags == {"\\Seen"}, "only PEEK leaves it unseen"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"host": "imap.example.org", "security": "none", "user": "a", "password_file": "p"}, "would travel readable"),
        ({"host": "imap.example.org", "user": "a"}, "user and password_file belong together"),
        ({"host": "imap.example.org", "folder": 'x"y'}, "should match pattern"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ImapOptions.model_validate(given)
