"""Webhooks of those who subscribed to the status page.

Their addresses were entered by strangers, and this machine may reach what strangers may not. So they lead to configured
hosts only, over https; what is allowed by a pattern must have a public address, looked at when the connection is made,
since names can be pointed elsewhere at any time. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from detector.notify.channels.channel import DEFAULT_SCHEDULE, Limits, Receipt, Refused, http_url
from detector.notify.channels.http import judge, request
from detector.notify.messages import Message
from detector.nouns import Notification

CHANNEL = "@status-hook"
"""As the desk calls it in its outbox."""
LONGEST = 2000
_PORTS = {"http": 80, "https": 443}
# Nothing that two readers of addresses could read in two ways.
_NETLOC = re.compile(r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Hosts:
    """Where webhooks may lead; ``patterns`` as configured."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [(parts.hostname or "", parts.port) for p in patterns if (parts := urlsplit(f"//{p}"))]

    def check(self, url: str) -> None:
        """Return where a webhook may be at ``url``; else ValueError with the remedy."""
        if len(url) > LONGEST or not url.isascii():
            raise ValueError(f"write the webhook's address in at most {LONGEST:,} ASCII characters")
        http_url(url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        if _NETLOC.fullmatch(parts.netloc.lower()) is None:
            raise ValueError("write the webhook's host by its plain name, as in https://hooks.example.org/status")
        if parts.scheme == "http" and not _is_here(host):
            raise ValueError("a webhook's address begins with https://")
        port = parts.port or _PORTS[parts.scheme]
        if not any(_fits(host, name) and port == (own or _PORTS[parts.scheme]) for name, own in self._patterns):
            raise ValueError("webhooks at this host are not allowed here; ask those who run this page to allow it")

    def is_named(self, host: str) -> bool:
        """Whether it is allowed by its name: then it may be a private one."""
        return any(host.lower() == name for name, _ in self._patterns)


def _fits(host: str, name: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether it is an address in the internet: not of this machine, its link, or a private network, in whatever
    wrapping."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


class Guarded(AbstractResolver):
    """Resolves names to public addresses only, except those that ``hosts`` names."""

    def __init__(self, hosts: Hosts, inner: AbstractResolver | None = None) -> None:
        self._hosts = hosts
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._hosts.is_named(host):
            return found
        public = [one for one in found if is_public(one["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._inner.close()


class StatusHooks:
    """``wording`` makes the message of what is owed; its ``facts`` are the body."""

    name = CHANNEL
    limits = Limits(body=256 * 1024)
    schedule = DEFAULT_SCHEDULE
    timeout = 10_000

    def __init__(
        self, hosts: Hosts, wording: Callable[[Notification], Awaitable[Message]],
        resolver: AbstractResolver | None = None,
    ) -> None:  # fmt: skip
        self._hosts = hosts
        self._wording = wording
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def word(self, notification: Notification) -> Message:
        return await self._wording(notification)

    async def deliver(self, message: Message) -> Receipt:
        if message.envelope is None:
            raise Refused("invalid", "only what subscribers are owed goes out here")
        url = message.envelope.recipient
        try:
            self._hosts.check(url)
        except ValueError:
            raise Refused("invalid", "its address is not allowed any more") from None
        body = json.dumps(message.facts).encode("ascii")
        if len(body) > self.limits.body:
            raise Refused("too-large", f"{len(body):,} bytes")
        # Known by its id to whoever gets it twice, as in Standard Webhooks.
        headers = {"Content-Type": "application/json", "webhook-id": message.idempotency_key}
        judge(await request(self._opened(), "POST", url, self.timeout, body, headers))
        return Receipt()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """A session of its own, in which names lead to where they may."""
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=Guarded(self._hosts, self._resolver), force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session
