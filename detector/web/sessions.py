"""A login in a browser: 32 random bytes in a cookie, of which the database knows the SHA-256.

It ends by a press of its owner or an admin, after a time without use, after its lifetime, and when its owner leaves the
configuration or gets another password.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import web

from detector.clock import Clock
from detector.tickets.database import StorageError
from detector.tickets.people import People, Session
from detector.web.auth import Access
from detector.web.options import WebOptions
from detector.web.rights import Person
from detector.words import MINUTE, plain

log = logging.getLogger(__name__)

COOKIE = "detector"
_BYTES = 32
_LONGEST_NEXT = 2000


def digest(secret: str) -> str:
    """What is kept of a secret of 32 random bytes: it needs no salt, and its look-up tells nothing by its time."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def local(text: str) -> str:
    """Where to go after the login: a path here, or the board. No other site can be meant (``//host``, ``/\\host``)."""
    odd = any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in text)
    if odd or not text.startswith("/") or text.startswith("//") or len(text) > _LONGEST_NEXT:
        return "/"
    path = urlsplit(text).path
    return "/" if path.rstrip("/") in ("/login", "/logout") else text


class Sessions:
    """Begins, finds and ends them."""

    def __init__(self, people: People, access: Access, options: WebOptions, clock: Clock) -> None:
        self._people, self._access, self._clock = people, access, clock
        self._options = options.sessions
        self._tls = (options.external_url or "").startswith("https://")

    def _secure(self, request: web.Request) -> bool:
        return self._tls or request.secure

    def _cookie(self, request: web.Request) -> str:
        # With this prefix a browser takes it over TLS only, and from no other host of the domain.
        return f"__Host-{COOKIE}" if self._secure(request) else COOKIE

    async def person(self, request: web.Request, touch: bool = True) -> Person | None:
        """Whose request it is by its cookie; None where that opens nothing (any more). ``touch``: it counts as use."""
        secret = request.cookies.get(self._cookie(request), "")
        session = await self._people.session(digest(secret)) if 20 <= len(secret) <= 100 else None
        if session is None:
            return None
        now, person = self._clock.now(), self._access.person(session.who)
        if person is None or not self.alive(session, now):
            await self._people.end(session.id)
            return None
        if touch and now - session.last_at >= MINUTE:
            try:
                await self._people.seen(session.hash, now)
            except StorageError as error:
                # Reading goes on beside a full disk.
                log.warning("the use of a session could not be written down: %s", error)
        return replace(person, way="session", login=session.id)

    def alive(self, session: Session, now: int) -> bool:
        """Whether it still opens anything at ``now`` (ms)."""
        ends = min(session.expires_at, session.last_at + self._options.idle)
        mark = self._access.mark(session.who)
        return now < ends and mark is not None and secrets.compare_digest(mark, session.mark)

    async def begin(self, request: web.Request, who: str, response: web.StreamResponse) -> None:
        """A new one for ``who``, always under a new secret; one that the browser came with ends."""
        if old := request.cookies.get(self._cookie(request)):
            await self._people.end(digest(old)[:16])
        secret, now = secrets.token_urlsafe(_BYTES), self._clock.now()
        session = Session(
            digest(secret), who, now, now, now + self._options.lifetime, self._access.mark(who) or "",
            plain(request.headers.get("User-Agent", ""), 200), request.remote or "",
        )  # fmt: skip
        await self._people.begin(session)
        response.set_cookie(
            self._cookie(request), secret, max_age=self._options.lifetime // 1000, path="/", httponly=True,
            secure=self._secure(request), samesite="Lax",
        )  # fmt: skip

    def forget(self, request: web.Request, response: web.StreamResponse) -> None:
        """The browser is told to forget it."""
        response.del_cookie(
            self._cookie(request), path="/", httponly=True, secure=self._secure(request), samesite="Lax"
        )
