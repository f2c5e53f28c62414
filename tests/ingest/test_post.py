"""Mails over HTTP: raw or in a form, of any length, behind the ingest tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from detector.ingest import post
from detector.ingest.mail import MAIL_BYTES, Rejected, Taken, parse
from detector.ingest.receive import Unavailable
from detector.web.options import WebOptions
from tests.web.house import house

RAW = b"From: kim@example.org\r\nTo: desk@example.org\r\nSubject: x\r\n\r\nNothing can be bought\r\n"
MESSAGE = {"Content-Type": "message/rfc822"}


@dataclass
class Inbox:
    """Keeps what it was given; ``result`` or ``error`` is what it answers."""

    result: str = "opened"
    error: Exception | None = None
    mails: list[tuple[bytes, tuple[str, ...]]] = field(default_factory=list)

    async def take(self, raw: bytes, envelope: Sequence[str] = ()) -> Taken:
        if self.error is not None:
            raise self.error
        self.mails.append((raw, tuple(envelope)))
        found = parse(raw, envelope)
        return Taken("rejected", found.reason) if isinstance(found, Rejected) else Taken(self.result)


@asynccontextmanager
async def served(inbox: Inbox) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application(client_max_size=0)
    app.add_routes(post.routes(inbox))
    async with TestClient(TestServer(app)) as client:
        yield client


async def send(inbox: Inbox, data: Any, headers: dict[str, str] | None = None, path: str = "") -> tuple[int, Any]:
    async with served(inbox) as client:
        answer = await client.post(f"/webhooks/mail{path}", data=data, headers=headers)
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize(
    ("result", "said"),
    [("opened", "stored"), ("answered", "stored"), ("duplicate", "duplicate"), ("automatic", "automatic")],
)
async def test_a_raw_mail_is_answered_with_what_became_of_it_and_not_with_which_ticket(result: str, said: str) -> None:
    inbox = Inbox(result)
    assert await send(inbox, RAW, MESSAGE, "?recipient=security@example.org") == (200, {"result": said})
    assert inbox.mails == [(RAW, ("security@example.org",))]


@pytest.mark.parametrize("name", ["email", "message", "body-mime"])
async def test_a_form_of_a_mail_provider_is_read(name: str) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("envelope", '{"to":["security@example.org"],"from":"kim@example.org"}')
    form.add_field("attachment-info", b"y" * 100_000, filename="x.bin")
    form.add_field(name, RAW.decode())
    form.add_field("recipient", "desk@example.org")
    inbox = Inbox()
    assert await send(inbox, form) == (200, {"result": "stored"})
    ((raw, envelope),) = inbox.mails
    assert raw == RAW
    found = parse(raw, envelope)
    assert not isinstance(found, Rejected)
    assert {"security@example.org", "desk@example.org"} <= found.recipients


async def test_of_a_huge_mail_the_beginning_is_taken_and_more_than_any_mail_is_refused() -> None:
    inbox = Inbox()

    async def chunks(count: int) -> AsyncIterator[bytes]:
        yield RAW
        for _ in range(count):
            yield b"A" * (1 << 20)

    assert await send(inbox, chunks(12), MESSAGE) == (200, {"result": "stored"})
    assert len(inbox.mails[0][0]) == MAIL_BYTES + 1
    status, problem = await send(inbox, chunks(70), MESSAGE)
    assert (status, len(inbox.mails)) == (413, 1)
    assert "at most" in problem["detail"] or "more than" in problem["detail"]


@pytest.mark.parametrize(
    ("data", "headers", "status", "why"),
    [
        (b"", MESSAGE, 400, "the body is empty"),
        (b"no headers at all", MESSAGE, 400, "From: there is no mail address"),
        (b"{}", {"Content-Type": "application/json"}, 415, "message/rfc822"),
        (b"x=y", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "message/rfc822"),
        (b"garbage", {"Content-Type": "multipart/form-data"}, 400, "cannot be read"),
        (b"garbage", {"Content-Type": "multipart/form-data; boundary=x"}, 400, ""),
        (b"--x\r\n\r\nlost", {"Content-Type": "multipart/form-data; boundary=x"}, 400, ""),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
         {"Content-Type": "multipart/form-data; boundary=x"}, 400, "no mail in the form"),
        (b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n",
         {"Content-Type": "multipart/form-data; boundary=x"}, 400, "cannot be a form"),
    ],
)  # fmt: skip
async def test_what_is_no_mail_is_refused_with_the_remedy(
    data: bytes, headers: dict[str, str], status: int, why: str
) -> None:
    got, problem = await send(Inbox(), data, headers)
    assert got == status, problem
    assert why in problem["detail"]


async def test_a_desk_that_cannot_store_it_asks_to_come_again() -> None:
    async with served(Inbox(error=Unavailable("the disk is full", 5))) as client:
        answer = await client.post("/webhooks/mail", data=RAW, headers=MESSAGE)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_it_takes_an_ingest_token_where_there_are_any() -> None:
    inbox = Inbox()
    options = WebOptions.model_validate({"ingest_tokens": [{"name": "mx", "token": "letter-box"}]})
    async with house(options, ingest=post.routes(inbox)) as home:
        assert (await home.client.post("/webhooks/mail", data=RAW, headers=MESSAGE)).status == 401
        bearer = MESSAGE | {"Authorization": "Bearer letter-box"}
        assert (await home.client.post("/webhooks/mail", data=RAW, headers=bearer)).status == 200
    assert len(inbox.mails) == 1
