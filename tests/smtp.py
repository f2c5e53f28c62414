"""A real SMTP server (aiosmtpd) on loopback that keeps what it takes."""

from __future__ import annotations

import asyncio
import email
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as MAIL
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Post:
    """``answers``: what RCPT or DATA is answered with, by command, instead of being taken."""

    port: int = 0
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    user: str = "desk"
    password: str = "secret"

    @property
    def mails(self) -> list[EmailMessage]:
        made = [email.message_from_bytes(raw, policy=MAIL) for raw in self.raw]
        assert all(isinstance(one, EmailMessage) for one in made)
        return made  # type: ignore[return-value]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if (answer := self.answers.get("RCPT")) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if (answer := self.answers.get("DATA")) is not None:
            return answer
        self.raw.append(envelope.original_content)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (
            self.user.encode(), self.password.encode(),
        )  # fmt: skip
        return AuthResult(success=right, handled=False)


def said(mail: EmailMessage, kind: str = "plain") -> str:
    """One of the mail's two bodies."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@asynccontextmanager
async def smtp_server(
    post: Post, tls: ssl.SSLContext | None = None, implicit: bool = False, login: bool = False
) -> AsyncIterator[Post]:
    """``tls``: STARTTLS is required, or with ``implicit`` everything is encrypted; ``login``: so is a login."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        with warnings.catch_warnings(action="ignore"):  # it knows no other TLS than STARTTLS, and warns
            return made()

    def made() -> SMTP:
        return SMTP(
            post, hostname="mx.example.org", loop=loop, tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit, authenticator=post.authenticate if login else None,
            auth_required=login, auth_require_tls=not implicit, enable_SMTPUTF8=True,
        )  # fmt: skip

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        await server.wait_closed()
