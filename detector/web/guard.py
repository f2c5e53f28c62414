"""The inmost door: whom a request comes from, and whether they may do what it asks.

It answers 401 (or leads a browser to the login), 403 that names the role or scope that is needed, 429 where passwords
are guessed; else it leaves ``request[VIEWER]``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from dataclasses import replace
from typing import NoReturn
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from detector.web import rights
from detector.web.auth import ANONYMOUS, VIEWER
from detector.web.deps import Deps
from detector.web.problems import Problem, wants_page
from detector.web.rights import Person, Scope
from detector.web.sessions import Sessions, digest, local
from detector.web.throttle import Guesses
from detector.words import MINUTE

TOKEN_PREFIX = "det_"
"""What tokens begin with, so that they are found where they do not belong."""
_SENDER: frozenset[Scope] = frozenset({"ingest"})


class Guard:
    """``ingest``: the paths whose POST also takes the tokens of ``web.ingest_tokens``."""

    def __init__(self, deps: Deps, ingest: frozenset[str]) -> None:
        self._access, self._people, self._clock = deps.access, deps.people, deps.clock
        self._ingest = ingest
        self._guesses = Guesses()
        self.sessions = Sessions(deps.people, deps.access, deps.options, deps.clock)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else None
        if route is not None and rights.public(route):
            request[VIEWER] = Person(ANONYMOUS, role="viewer", way="public")
            return await handler(request)
        request[VIEWER] = person = await self.who(request)
        if route is not None:
            # The route as it was matched, not the path as it was written: no spelling of a path gets past the table.
            await self._check(person, request.method, route)
        return await handler(request)

    async def _check(self, person: Person, method: str, route: str) -> None:
        if reason := rights.refusal(person, rights.need(method, route, self._ingest)):
            data = {"reason": reason, "way": person.way}
            await self._people.audit(person.name, "refused", f"{method} {route}", data, every=MINUTE)
            raise Problem(403, reason)

    # --- who it is ----------------------------------------------------------------------------------------------------

    async def who(self, request: web.Request, touch: bool = True) -> Person:
        """Whom the request comes from; raises Problem, or leads a browser to the login."""
        access = self._access
        sending = self._sends(request)
        if not access.users and not (access.tokens and sending):
            return self._unasked(request)
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        found: Person | None = None
        match scheme.lower():
            case "bearer":
                found = await self._bearer(credentials.strip(), sending)
            case "basic" if access.users:
                found = await self._basic(request, credentials, sending)
            case "" if access.users:
                found = await self.sessions.person(request, touch)
                if found is None and wants_page(request):
                    self._lead_to_login(request)
        if found is None:
            raise self._unauthorized(request, sending and bool(access.tokens), bool(access.users))
        return found

    async def still(self, request: web.Request) -> bool:
        """Whether what let the request in would do so again: long streams ask from time to time."""
        try:
            await self.who(request, touch=False)
        except (Problem, web.HTTPException):
            return False
        return True

    def _sends(self, request: web.Request) -> bool:
        return request.method in ("POST", "PUT") and request.rel_url.path in self._ingest

    def _unasked(self, request: web.Request) -> Person:
        name = _certificate_name(request)
        if not name:
            return Person(ANONYMOUS)
        return replace(self._access.person(name) or Person(name), way="certificate")

    async def _bearer(self, credentials: str, sending: bool) -> Person | None:
        if sending:
            sent = hashlib.sha256(credentials.encode("utf-8", "surrogateescape")).digest()
            # Every token is looked at, so that the time says nothing about which one came close.
            matches = [name for name, kept in self._access.tokens.items() if hmac.compare_digest(sent, kept)]
            if matches:
                return Person(matches[0], scopes=_SENDER, way="token")
        if not credentials.startswith(TOKEN_PREFIX) or len(credentials) > 100:
            return None
        token = await self._people.token(digest(credentials))
        if token is None or not token.alive(self._clock.now()):
            return None
        owner = self._access.person(token.who)
        if owner is None:
            return None
        scopes = frozenset(scope for scope in rights.SCOPES if scope in token.scopes)
        return replace(owner, scopes=scopes, way="token", login=str(token.id), expires_at=token.expires_at)

    async def _basic(self, request: web.Request, credentials: str, sending: bool) -> Person | None:
        name, password = _basic(credentials)
        if not await self.right(request, name, password, sending):
            return None
        person = self._access.person(name)
        return replace(person, way="password") if person is not None else None

    async def right(self, request: web.Request, name: str, password: str, sending: bool = False) -> bool:
        """Whether it is ``name``'s password. Who guesses waits: 429, and 503 for who sends samples or alerts, since
        those take every 4xx as final. Written down where it is wrong."""
        users, passwords = self._access.users, self._access.passwords
        now, address = self._clock.now(), _network(request.remote)
        # Also before what was right once: else that would be guessed at without waiting.
        if wait := self._guesses.wait(name, address, now):
            seconds = -(-wait // 1000)
            detail = f"Too many wrong passwords; try again in {seconds} s."
            raise Problem(503 if sending else 429, detail, headers={"Retry-After": str(seconds)})
        if passwords.remembered(users, name, password):
            return True
        self._guesses.take(name, address, now)
        if await passwords.check(users, name, password):
            self._guesses.right(name, address)
            return True
        # Who is not known may be a password in the wrong field: that is not kept.
        target = name if name in users else "(unknown name)"
        await self._people.audit("(nobody)", "login-failed", target, {"address": request.remote or ""})
        return False

    # --- answers ------------------------------------------------------------------------------------------------------

    def _lead_to_login(self, request: web.Request) -> NoReturn:
        if request.method in ("GET", "HEAD"):
            raise web.HTTPSeeOther(f"/login?next={quote(local(str(request.rel_url)), safe='/')}")
        # What a form sent is lost; it leads back to the page that it stood on, and says so.
        came = urlsplit(request.headers.get("Referer", ""))
        here = came.netloc.lower() == request.headers.get("Host", "").lower()
        back = local(came.path + (f"?{came.query}" if came.query else "")) if here else "/"
        raise web.HTTPSeeOther(f"/login?lost=1&next={quote(back, safe='/')}")

    def _unauthorized(self, request: web.Request, bearer: bool, basic: bool) -> Problem:
        ways = [way for way, open_ in (("a token", bearer or basic), ("a user's name and password", basic)) if open_]
        # A page's own script must not make the browser ask for a password in a window of its own.
        asks = basic and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        schemes = (('Basic realm="detector", charset="UTF-8"', asks), ('Bearer realm="detector"', bearer or not asks))
        challenge = ", ".join(scheme for scheme, open_ in schemes if open_)
        return Problem(401, f"This needs {' or '.join(ways)}.", headers={"WWW-Authenticate": challenge})


def _basic(credentials: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _network(address: str | None) -> str:
    """Whom an address belongs to: of IPv6 a whole /64 is one customer's."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def _certificate_name(request: web.Request) -> str:
    """The common name of a verified client certificate, else empty."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""
