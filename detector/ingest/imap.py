"""A mailbox over IMAP4rev1 (RFC 3501): what is unseen there is taken, and marked as seen only after it was.

:class:`Mailbox` blocks, and belongs into a thread; :func:`poll` is the order of the steps, without one. At least once:
what was taken and could not be marked comes again, and is known by its Message-ID then.
"""

from __future__ import annotations

import asyncio
import imaplib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from detector.ingest.mail import MAIL_BYTES
from detector.options import Duration, MailServer, ms

log = logging.getLogger(__name__)

MOST_AT_ONCE = 50
"""Mails of one look; the next look is soon when there are more."""
_LITERAL = re.compile(rb"\{(\d{1,10})\}$")
_ANSWER_BYTES = MAIL_BYTES + 64 * 1024


class ImapOptions(MailServer):
    """A mailbox whose unseen mails become reports and answers."""

    port: int = Field(993, ge=1, le=65535)
    folder: str = Field("INBOX", min_length=1, max_length=200, pattern=r"^[ !#-\[\]-~]+$")
    """ASCII; other letters as IMAP writes them (modified UTF-7)."""
    poll: Duration = Field(ms("1m"), ge=1000)


class MailboxError(Exception):
    """The mailbox cannot be read now; the text says what failed, and holds no secret."""


class Mailbox:
    """One connection. Every method may raise :class:`MailboxError`."""

    def __init__(self, options: ImapOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._imap: imaplib.IMAP4 | None = None

    def open(self) -> None:
        """Connect, log in and select the folder."""
        options, timeout = self._options, self._options.timeout / 1000
        with _said("connecting"):
            if options.security == "tls":
                context = options.tls(self._folder)
                self._imap = _TlsClient(options.host, options.port, ssl_context=context, timeout=timeout)
            else:
                self._imap = _Client(options.host, options.port, timeout=timeout)
            if options.security == "starttls":
                self._imap.starttls(options.tls(self._folder))
        if options.user is not None:
            with _said("logging in"):
                self._imap.login(_quotable(options.user), options.password(self._folder))
        self._ask("selecting the folder", "select", f'"{options.folder}"')

    def unseen(self) -> list[str]:
        """The UIDs of unseen mails, oldest first."""
        data = self._ask("searching", "uid", "SEARCH", "UNSEEN", "UNDELETED")
        found = b" ".join(part for part in data if isinstance(part, bytes)).split()
        return [uid.decode("ascii") for uid in found if uid.isdigit()]

    def fetch(self, uid: str) -> bytes:
        """The mail's first bytes, as many as are looked at; empty where it is gone. It stays unseen."""
        data = self._ask("fetching", "uid", "FETCH", uid, f"(BODY.PEEK[]<0.{MAIL_BYTES + 1}>)")
        return next((part[1] for part in data if isinstance(part, tuple) and len(part) > 1), b"")

    def mark(self, uid: str, flagged: bool) -> None:
        """It is done with; ``flagged``: a person should look at it."""
        flags = r"(\Seen \Flagged)" if flagged else r"(\Seen)"
        self._ask("marking", "uid", "STORE", uid, "+FLAGS.SILENT", flags)

    def close(self) -> None:
        """Log out; whatever fails then is not worth a word."""
        imap, self._imap = self._imap, None
        if imap is None:
            return
        try:
            imap.logout()
        except (imaplib.IMAP4.error, OSError):
            with suppress(OSError):
                imap.shutdown()

    def abandon(self) -> None:
        """Cut the connection, from whatever thread: a step that waits for the server ends."""
        imap, self._imap = self._imap, None
        if imap is not None:
            with suppress(OSError):
                imap.socket().shutdown(socket.SHUT_RDWR)

    def _ask(self, what: str, command: str, *arguments: str) -> list[Any]:
        assert self._imap is not None, "open comes first"
        with _said(what):
            status, data = getattr(self._imap, command)(*arguments)
        if status != "OK":
            raise MailboxError(f"{what} was refused")
        return list(data)


class _Bounded:
    """What a literal announces is refused before it is read."""

    def readline(self) -> bytes:
        line: bytes = super().readline()  # type: ignore[misc]
        announced = _LITERAL.search(line.rstrip(b"\r\n"))
        if announced is not None and int(announced[1]) > _ANSWER_BYTES:
            raise imaplib.IMAP4.abort(f"the server announces {int(announced[1])} bytes")
        return line


class _Client(_Bounded, imaplib.IMAP4):
    pass


class _TlsClient(_Bounded, imaplib.IMAP4_SSL):
    pass


class _said:
    """What the library and the network raise becomes :class:`MailboxError`. The server's own words may repeat what it
    was sent: they are left out."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> Literal[False]:
        if isinstance(error, ssl.SSLError):
            raise MailboxError(f"{self._what}: TLS failed: {error.reason or type(error).__name__}") from None
        if isinstance(error, OSError):
            raise MailboxError(f"{self._what}: {error.strerror or type(error).__name__}") from None
        if isinstance(error, imaplib.IMAP4.error):
            raise MailboxError(f"{self._what} failed") from None
        if isinstance(error, UnicodeError):
            raise MailboxError(f"{self._what}: only ASCII can be sent") from None
        if isinstance(error, ValueError):
            raise MailboxError(f"{self._what}: {error}") from None
        return False


def _quotable(user: str) -> str:
    """imaplib quotes the password, and not the name."""
    return '"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'[\s"\\(){%*]', user) else user


Verdict = Literal["taken", "rejected", "later"]


async def poll(
    mailbox: Mailbox, call: Callable[[Callable[[], Any]], Awaitable[Any]], take: Callable[[bytes], Awaitable[Verdict]]
) -> bool:
    """One look into the mailbox: ``take`` what is unseen and mark it. ``call`` runs a blocking step elsewhere. True
    when more is waiting. Raises MailboxError.

    A mail that ``take`` fails on stays unseen and does not keep those behind it; ``later`` ends the look.
    """
    try:
        await call(mailbox.open)
        more = await _look(mailbox, call, take)
    except asyncio.CancelledError:
        mailbox.abandon()
        raise
    except MailboxError:
        await call(mailbox.close)
        raise
    await call(mailbox.close)
    return more


async def _look(
    mailbox: Mailbox, call: Callable[[Callable[[], Any]], Awaitable[Any]], take: Callable[[bytes], Awaitable[Verdict]]
) -> bool:
    waiting = await call(mailbox.unseen)
    for uid in waiting[:MOST_AT_ONCE]:
        raw = await call(partial(mailbox.fetch, uid))
        if not raw:
            continue
        try:
            verdict = await take(raw)
        except Exception:
            log.exception("a mail could not be taken; it stays unseen")
            continue
        if verdict == "later":
            return False
        await call(partial(mailbox.mark, uid, verdict == "rejected"))
    return len(waiting) > MOST_AT_ONCE
