"""Webhooks whose addresses strangers entered: where they lead, and what they are told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from detector.notify.channels import DeliveryError, Refused, Unavailable
from detector.notify.channels.hooks import CHANNEL, Guarded, Hosts, StatusHooks, is_public
from detector.notify.messages import Envelope, Message
from detector.nouns import Notification
from detector.options import HostPattern
from detector.tickets.audience import HOOK
from tests.contract.receivers import Loopback
from tests.rows import NOW


class Receiver(Loopback):
    """Takes any JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[Any] = []

    async def receive(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        self.bodies.append(await request.json())
        return web.Response(status=204)


class Names(AbstractResolver):
    """A DNS that says what it is told to: it stands in for the world's."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self.addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def never(notification: Notification) -> Message:
    raise AssertionError("tests word their own")


def message(url: str, **facts: Any) -> Message:
    envelope = Envelope(url, "", unsubscribe="https://desk.example.org/status/unsubscribe/t")
    return Message(
        "", "", "", "", "", "", "t", "t/1", "published", "notify", "info", NOW, facts=facts, envelope=envelope
    )


@asynccontextmanager
async def hooks(*patterns: str, names: AbstractResolver | None = None) -> AsyncIterator[StatusHooks]:
    channel = StatusHooks(Hosts(patterns), never, names)
    try:
        yield channel
    finally:
        await channel.close()


async def test_what_is_told_arrives_as_json_with_an_id_to_know_it_by() -> None:
    async with receiver() as other, hooks(f"127.0.0.1:{other.port}") as channel:
        await channel.deliver(message(f"{other.url}/status", page={"id": "x"}))
        await channel.deliver(message(f"{other.url}/status", page={"id": "\u00e9"}))
        assert other.bodies == [{"page": {"id": "x"}}, {"page": {"id": "\u00e9"}}]
        assert other.seen[0].headers["webhook-id"] == "t/1"
    assert CHANNEL == HOOK


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (410, Refused, "gone"), (404, Refused, "rejected"), (302, Refused, "redirected"),
        (503, Unavailable, "server-error"), (429, Unavailable, "rate-limited"),
    ],
)  # fmt: skip
async def test_answers_are_judged_and_redirects_not_followed(
    status: int, kind: type[DeliveryError], reason: str
) -> None:
    async with receiver() as other, receiver() as inside, hooks(f"127.0.0.1:{other.port}") as channel:
        other.answers = [(status, {"Location": inside.url})]
        with pytest.raises(kind) as caught:
            await channel.deliver(message(other.url))
        assert caught.value.reason == reason
        assert inside.seen == []


@pytest.mark.parametrize("inner", ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0"])
async def test_a_name_below_a_pattern_that_leads_inside_is_never_connected_to(inner: str) -> None:
    async with receiver() as other, hooks(f"*.example.org:{other.port}", names=Names(inner)) as channel:
        with pytest.raises(Unavailable) as caught:
            await channel.deliver(message(f"https://rebound.example.org:{other.port}/"))
        assert (caught.value.reason, other.seen) == ("unreachable", [])


async def test_a_host_that_is_named_may_be_a_private_one() -> None:
    names = Names("10.1.2.3", "8.8.8.8")
    resolved = await Guarded(Hosts(["hook.intern"]), names).resolve("hook.intern", 443)
    assert [one["host"] for one in resolved] == ["10.1.2.3", "8.8.8.8"]
    resolved = await Guarded(Hosts(["*.intern"]), names).resolve("hook.intern", 443)
    assert [one["host"] for one in resolved] == ["8.8.8.8"]


async def test_what_is_allowed_no_more_is_not_sent() -> None:
    async with receiver() as other, hooks("hooks.example.org") as channel:
        with pytest.raises(Refused, match="not allowed any more"):
            await channel.deliver(message(other.url))
        assert other.seen == []


async def test_what_is_too_large_is_not_sent() -> None:
    async with receiver() as other, hooks(f"127.0.0.1:{other.port}") as channel:
        with pytest.raises(Refused, match="too-large"):
            await channel.deliver(message(other.url, body="x" * 300_000))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "localhost", "", "nonsense",
    ],
)  # fmt: skip
def test_what_lies_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_what_lies_outside_is(address: str) -> None:
    assert is_public(address)


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z.@:\\/#?%\[\]0-9-]{0,40}", fullmatch=True))
def test_nothing_is_allowed_but_what_is_named(url: str) -> None:
    hosts = Hosts(["hooks.example.org", "*.example.net"])
    try:
        hosts.check(url)
    except ValueError as error:
        assert str(error)
        return
    host = url.lower().removeprefix("https://").partition("/")[0].partition("?")[0].removesuffix(":443")
    assert host == "hooks.example.org" or host.endswith(".example.net")


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("hooks.example.org", True), ("*.Example.org", True), ("10.0.0.7:8443", True), ("[::1]:8080", True),
        ("localhost", True), ("*", False), ("*.org", False), ("https://x.org", False), ("x.org/y", False),
        ("x.org:0", False), ("x.org:99999", False), ("a b", False), ("", False), ("x" * 300, False), ("*.*.org", False),
        ("kim@x.org", False),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_one_is_a_mistake_in_the_configuration(text: str, fine: bool) -> None:
    try:
        assert TypeAdapter(HostPattern).validate_python(text) == text.lower()
        assert fine
    except ValidationError as error:
        assert not fine
        assert "example.org" in str(error)
