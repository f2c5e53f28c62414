"""The whole way in one app: a mailbox over IMAP, the desk, a letter over SMTP, and back; options and reload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from detector.config.compose import load
from detector.config.load import ConfigError
from detector.nouns import SYSTEM, Viewer
from tests.imap import Box, imap_server
from tests.smtp import Post, said, smtp_server
from tests.test_apps import running

ANN = Viewer("ann")


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - other parties over real sockets
            await asyncio.sleep(0.02)
    assert condition(), what


def config(box: Box | None, post: Post | None) -> str:
    mail: dict[str, Any] = {"from": "Service desk <desk@example.org>", "security_address": "security@example.org"}
    here = {"host": "127.0.0.1", "security": "none"}
    if box is not None:
        mail["imap"] = here | {"port": box.port, "user": "desk", "password_file": "imap.password", "poll": "1s"}
    if post is not None:
        mail["smtp"] = here | {"port": post.port}
    return json.dumps({"web": {"external_url": "https://desk.example.org"}, "mail": mail})


async def test_from_a_mailbox_to_a_letter_and_back(tmp_path: Path) -> None:
    (tmp_path / "imap.password").write_text("secret\n")
    box = Box()
    first = box.deliver(b"From: Kim <kim@example.org>\r\nMessage-ID: <a@kim>\r\nSubject: White\r\n\r\nIt is down\r\n")
    rubbish = box.deliver(b"no mail at all")
    with imap_server(box):
        async with smtp_server(Post()) as post, running(tmp_path, config(box, post)) as app:
            await until(lambda: post.mails, "the confirmation")
            await until(lambda: rubbish.flags, "the second one is marked")
            assert (first.flags, rubbish.flags) == ({"\\Seen"}, {"\\Seen", "\\Flagged"})
            await app.pipeline.act("INC-1", "reply", ANN, now=app.clock.now(), text="Which shop?")
            await until(lambda: len(post.mails) == 2, "the reply")
            letter = post.mails[1]
            assert "https://desk.example.org/my/INC-1." in said(letter)
            head = f"From: kim@example.org\r\nMessage-ID: <b@kim>\r\nIn-Reply-To: {letter['Message-ID']}"
            box.deliver(f"{head}\r\n\r\nBoth\r\n".encode())
            await until(lambda: box.mails[-1].flags, "the answer is marked")
            entries = await app.pipeline.desk.timeline("INC-1", SYSTEM)
            assert [entry.data["text"] for entry in entries if entry.what == "answered"] == ["Both"]
            figures = generate_latest(app.registry).decode()
            assert 'detector_mails_total{result="opened"} 1.0' in figures
            assert 'detector_mails_total{result="rejected"} 1.0' in figures


async def test_letters_begin_and_end_with_a_reload(tmp_path: Path) -> None:
    async with smtp_server(Post()) as post, running(tmp_path, config(None, None)) as app:
        assert app.pipeline.desk.letters is False
        (tmp_path / "detector.yml").write_text(config(None, post))
        assert await app.reload() == []
        channel = app.deliverer.channels["@mail"]
        await app.reload()
        assert app.deliverer.channels["@mail"] is channel, "what did not change is not disturbed"
        assert app.pipeline.desk.letters is True
        (tmp_path / "detector.yml").write_text(config(None, None))
        await app.reload()
        assert (app.pipeline.desk.letters, "@mail" in app.deliverer.channels) == (False, False)


async def test_a_mailbox_that_is_away_keeps_nothing_else_from_working(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "imap.password").write_text("wrong\n")
    box = Box()
    with imap_server(box):
        async with running(tmp_path, config(box, None)):
            await until(lambda: "mail.imap" in caplog.text, "it is said")
    assert "mail.imap: 127.0.0.1: logging in failed; again in 1 s" in caplog.text
    assert "wrong" not in caplog.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mail: {from: nobody}", r"detector\.yml:1: mail\.from: 'nobody' is no sender such as Service desk"),
        ("mail: {security_address: a@b@c}", "is no mail address such as security@example.org"),
        ("mail: {smtp: {host: x}}", "set mail.from"),
        ("mail: {from: a@example.org, smtp: {host: x}}", "set web.external_url"),
        ("mail:\n  imap: {host: x, colour: red}", r"detector\.yml:2: mail\.imap\.colour"),
        ("mail: {imap: {host: x.org, security: none, user: a, password_file: p}}", "would travel readable"),
    ],
)
def test_a_mistake_in_the_options_is_named_with_its_remedy(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "detector.yml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load(tmp_path / "detector.yml")
