"""Letters to single people over SMTP (RFC 5321, 5322): one connection for each, plain text and HTML.

Every attempt at a letter carries the same Message-ID, by which whoever gets it twice knows it. What no person wrote
says so (RFC 3834), so that no machine answers.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from email.charset import QP, Charset
from email.encoders import encode_base64
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import formataddr, formatdate
from io import BytesIO
from pathlib import Path
from typing import Any

import aiosmtplib
from pydantic import Field

from detector.clock import Clock
from detector.notify.channels.channel import DEFAULT_SCHEDULE, Limits, Receipt, Refused, Unavailable
from detector.notify.messages import Message
from detector.nouns import Notification
from detector.options import MailServer
from detector.words import mailbox, plain

CHANNEL = "@mail"
"""As the desk calls it in its outbox."""
_REFERENCES = 20
_NOBODY = re.compile(r"\b5\.1\.(?:1|2|3|6|10)\b")
"""RFC 3463 and 7505: no such address, no such host, it has moved away, it takes no mail."""


class SmtpOptions(MailServer):
    """The server that takes our letters."""

    port: int = Field(587, ge=1, le=65535)


class Letters:
    """``sender``: name (or empty) and address; ``wording`` makes the message of what is owed to ``name``."""

    limits = Limits(subject=200, body=64 * 1024)
    schedule = DEFAULT_SCHEDULE

    def __init__(
        self, options: SmtpOptions, sender: tuple[str, str], folder: Path, clock: Clock,
        wording: Callable[[Notification], Awaitable[Message]], name: str = CHANNEL,
    ) -> None:  # fmt: skip
        self.name = name
        self.timeout = options.timeout
        self._options = options
        self._sender = sender
        self._folder = folder
        self._clock = clock
        self._wording = wording

    async def word(self, notification: Notification) -> Message:
        return await self._wording(notification)

    async def deliver(self, message: Message) -> Receipt:
        """Hand it to the server; the receipt is its Message-ID."""
        if message.envelope is None:
            raise Refused("invalid", "only letters to one person go out here")
        raw = composed(message, self._sender, self._clock.now())
        try:
            async with asyncio.timeout(self.timeout / 1000):
                await self._send(message.envelope.recipient, raw)
        except TimeoutError:
            raise Unavailable("timeout", f"not taken within {self.timeout / 1000:g} s") from None
        return Receipt(message.envelope.message_id)

    async def close(self) -> None:
        """No connection outlives its letter."""

    async def _send(self, recipient: str, raw: bytes) -> None:
        options = self._options
        try:
            password, context = options.password(self._folder), options.tls(self._folder)
        except ssl.SSLError:
            raise Unavailable("tls", f"{options.ca_file} holds no certificates") from None
        except (OSError, ValueError) as error:
            raise Unavailable("unauthorized", f"password_file or ca_file: {type(error).__name__}") from None
        client = aiosmtplib.SMTP(
            hostname=options.host, port=options.port, timeout=options.timeout / 1000,
            use_tls=options.security == "tls", start_tls=options.security == "starttls", tls_context=context,
            local_hostname=self._sender[1].rpartition("@")[2], username=options.user, password=password or None,
        )  # fmt: skip
        try:
            async with client:
                utf8 = [] if recipient.isascii() else ["SMTPUTF8"]
                await client.sendmail(self._sender[1], [recipient], raw, mail_options=utf8)
        except aiosmtplib.SMTPException as error:
            raise _judged(error) from None
        except ssl.SSLError as error:
            raise Unavailable("tls", error.reason or "failed") from None
        except OSError as error:
            raise Unavailable("unreachable", type(error).__name__) from None


def _judged(error: aiosmtplib.SMTPException) -> Refused | Unavailable:
    """What the failure means for another attempt. The server's words may repeat what it was sent: they are left out."""
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return Unavailable("unauthorized", f"answered {error.code} to the login")  # a password can be mended
        case aiosmtplib.SMTPRecipientsRefused():
            codes = [refused.code for refused in error.recipients]
            final = all(code >= 500 for code in codes)
            detail = f"answered {', '.join(map(str, codes))} to the recipient"
            nobody = final and all(_NOBODY.search(refused.message) for refused in error.recipients)
            return Refused("gone" if nobody else "rejected", detail) if final else Unavailable("server-error", detail)
        case aiosmtplib.SMTPTimeoutError():
            return Unavailable("timeout", "no answer")
        case aiosmtplib.SMTPSenderRefused():
            return Unavailable("rejected", f"answered {error.code} to mail.from")
        case aiosmtplib.SMTPConnectResponseError() | aiosmtplib.SMTPHeloError():
            return Unavailable("server-error", f"greeted with {error.code}")
        case aiosmtplib.SMTPResponseException() if error.code == 552:
            return Refused("too-large", "answered 552")
        case aiosmtplib.SMTPResponseException():
            detail = f"answered {error.code}"
            return Refused("rejected", detail) if error.code >= 500 else Unavailable("server-error", detail)
        case _ if "certificate" in str(error).lower() or "tls" in str(error).lower():
            return Unavailable("tls", type(error).__name__)
        case aiosmtplib.SMTPNotSupported() if "auth" in str(error).lower():
            return Unavailable("unauthorized", "the server offers no login")
        case aiosmtplib.SMTPNotSupported():
            return Refused("invalid", "the server cannot take this address")
    return Unavailable("unreachable", type(error).__name__)


def composed(message: Message, sender: tuple[str, str], now: int) -> bytes:
    """The mail as it travels. Raises Refused for an address that cannot be written in one."""
    envelope = message.envelope
    assert envelope is not None
    recipient = mailbox(envelope.recipient)
    if not recipient:
        raise Refused("invalid", "the recipient is no mail address")
    mail = _body(message)
    mail["From"] = formataddr(sender)
    mail["To"] = recipient
    subject: Any = Header(plain(message.subject, 200), "us-ascii" if message.subject.isascii() else "utf-8")
    mail["Subject"] = subject
    mail["Date"] = formatdate(now / 1000)
    mail["Message-ID"] = f"<{envelope.message_id}>"
    known = [f"<{id}>" for id in envelope.references if id.isascii() and id.isprintable() and " " not in id]
    if known:
        mail["In-Reply-To"] = known[-1]
        mail["References"] = " ".join([known[0], *known[1:][-_REFERENCES:]])
    if envelope.reply_to:
        mail["Reply-To"] = envelope.reply_to
    if envelope.automatic:
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
    if envelope.unsubscribe:
        mail["List-Unsubscribe"] = f"<{envelope.unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    out = BytesIO()
    try:
        BytesGenerator(out, mangle_from_=False, policy=compat32.clone(linesep="\r\n")).flatten(mail)
    except (MessageError, UnicodeError) as error:
        raise Refused("invalid", type(error).__name__) from None
    # In one line: some readers of it stumble over a folded one.
    return out.getvalue().replace(b"List-Unsubscribe: \r\n ", b"List-Unsubscribe: ", bool(envelope.unsubscribe))


def _body(message: Message) -> MIMEMultipart:
    """Its words in both formats, and beside them what is attached."""
    words = MIMEMultipart("alternative")
    charset: Any = Charset("utf-8")
    charset.body_encoding = QP
    for text, kind in ((message.text, "plain"), (message.html, "html")):
        words.attach(MIMEText(text.encode("utf-8", "replace").decode(), kind, charset))
    if not message.attachments:
        return words
    whole = MIMEMultipart("mixed")
    whole.attach(words)
    for one in message.attachments:
        part = MIMEBase(*one.mime.split("/", 1))
        part.set_payload(one.content)
        encode_base64(part)
        if one.mime == "text/calendar":
            part.set_param("charset", "utf-8")
            part.set_param("method", "PUBLISH")  # as its METHOD says
        part.add_header("Content-Disposition", "attachment", filename=one.name)
        whole.attach(part)
    return whole
