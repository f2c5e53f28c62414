"""Over a hundred chat, mail and push services through apprise (https://appriseit.com): the only file that knows it.

One service address per channel and one thread per channel: apprise's own pool is shared, and there a page waited nine
seconds behind slow sends. An address is a secret (it holds tokens): it is never logged or shown, and neither is what
apprise logs about it; from that only a status or "Connection error" is taken, to tell what another attempt would
bring.
"""

from __future__ import annotations

import html
import logging
import re
import warnings
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from detector.notify.channels.channel import (
    DEFAULT_SCHEDULE,
    ChannelOptions,
    DeliveryError,
    Limits,
    Receipt,
    Refused,
    Unavailable,
    exactly_one,
    secret,
)
from detector.notify.channels.thread import OneThread, wait
from detector.notify.messages import Message
from detector.notify.messages.formats import markdown
from detector.words import cut

Format = Literal["text", "markdown", "html"]


class AppriseOptions(ChannelOptions):
    """One of apprise's services."""

    type: Literal["apprise"]
    url: SecretStr | None = Field(
        default=None, description="One address as in apprise's documentation, such as mailto://, slack:// or ntfy://."
    )
    url_file: Path | None = Field(default=None, description="The same in a file.")
    pictures: bool = Field(default=True, description="Attach the chart where the service takes pictures.")

    @model_validator(mode="after")
    def _one_url(self) -> AppriseOptions:
        exactly_one("url", self.url, self.url_file)
        return self


@dataclass(frozen=True, slots=True)
class _Letter:
    title: str
    body: str
    format: Format
    picture: bool


class AppriseChannel:
    """Hands messages to one apprise plugin, in the richest format it takes itself.

    A message that was refused for what it holds is sent again at once without picture and details: a duplicate is
    better than a page that nobody got.
    """

    schedule = DEFAULT_SCHEDULE

    def __init__(self, options: AppriseOptions) -> None:
        self.name = options.name
        self.timeout = options.timeout
        self._plugin = _plugin(
            options.name, secret(options.name, "url", options.url, options.url_file), options.timeout
        )
        self.limits = Limits(
            subject=int(self._plugin.title_maxlen) or 120,
            body=int(self._plugin.body_maxlen),
            pictures=options.pictures and bool(self._plugin.attachment_support),
        )
        self._format = _format([fmt.value for fmt in self._plugin._formats()])
        self._thread: OneThread[None] = OneThread(f"channel-{options.name}")
        self._log = _Capture(self._thread)
        self._late: tuple[str, Future[None]] | None = None

    async def deliver(self, message: Message) -> Receipt:
        late = self._late
        if late is not None:
            await self._settle_late(late[1])
            if late[0] == message.idempotency_key and late[1].exception() is None:
                return Receipt()  # the attempt that was given up as timed out has arrived after all
        future = self._thread.submit(lambda: self._send(message))
        try:
            await wait(future, self.timeout)
        except TimeoutError:
            self._late = (message.idempotency_key, future)
            raise Unavailable("timeout", f"no answer within {self.timeout / 1000:g} s") from None
        return Receipt()

    async def _settle_late(self, future: Future[None]) -> None:
        """Wait for the call that is stuck in the thread: beside it nothing can be sent."""
        try:
            await wait(future, self.timeout)
        except TimeoutError:
            raise Unavailable("timeout", "the message before this one is still stuck") from None
        except DeliveryError:
            pass  # it failed late; the outbox has planned its next attempt already
        self._late = None

    def _send(self, message: Message) -> None:
        """In the thread: rich first, then brief when that was refused for its content."""
        try:
            self._notify(message, letter(message, self._format, self.limits))
        except Refused as refusal:
            if refusal.reason not in ("rejected", "too-large"):
                raise
            self._notify(message, letter(message, self._format, self.limits, brief=True))

    def _notify(self, message: Message, written: _Letter) -> None:
        from apprise import NotifyType

        kinds = {"critical": NotifyType.FAILURE, "error": NotifyType.FAILURE, "warning": NotifyType.WARNING}
        kind = NotifyType.SUCCESS if message.over else kinds.get(message.severity, NotifyType.INFO)
        self._thread_mail(message)
        said = self._log.start()
        try:
            sent = self._plugin.notify(
                body=written.body,
                title=written.title,
                notify_type=kind,
                body_format=written.format,
                attach=_pictures(message) if written.picture else None,
            )
        except Exception as error:  # noqa: BLE001 - over a hundred plugins, each with its own ways to fail
            raise Unavailable("service-failed", type(error).__name__) from None
        if not sent:
            raise failure(said)

    def _thread_mail(self, message: Message) -> None:
        """Mail programs put messages together that refer to the same one, even one that was never sent."""
        headers = getattr(self._plugin, "headers", None)
        if self._plugin.secure_protocol == "mailtos" and isinstance(headers, dict):
            thread = re.sub(r"[^A-Za-z0-9.-]", "-", message.dedup_key)[:100]
            headers["References"] = headers["In-Reply-To"] = f"<{thread}@detector.invalid>"

    async def close(self) -> None:
        self._log.stop()
        self._thread.close()


def letter(message: Message, form: Format, limits: Limits, brief: bool = False) -> _Letter:
    """What is handed to a plugin. Markdown goes whole into the body (a title beside it would be read as Markdown, too);
    a text's first line is its title where the service has one; a mail has both."""
    if form == "markdown":
        body = message.markdown if not brief else f"**{markdown(message.subject)}**\n{message.link}".rstrip()
        if len(body) > limits.body:
            # A cut could part a sign from the one that closes it; the bare line with every sign escaped cannot.
            body = cut(markdown(message.subject), limits.body).rstrip("\\")
        return _Letter("", body, form, _has_picture(message, limits, brief))
    if form == "html":
        body = message.html if not brief else f"<p>{html.escape(message.subject)}</p><p>{html.escape(message.link)}</p>"
        return _Letter(cut(message.subject, limits.subject), body, form, _has_picture(message, limits, brief))
    whole = message.brief if brief or len(message.text) > limits.body else message.text
    first, _, rest = whole.partition("\n")
    if not rest:
        return _Letter("", cut(first, limits.body), form, _has_picture(message, limits, brief))
    return _Letter(cut(first, limits.subject), cut(rest, limits.body), form, _has_picture(message, limits, brief))


def _has_picture(message: Message, limits: Limits, brief: bool) -> bool:
    return limits.pictures and bool(message.attachments) and not brief


def _format(formats: list[str]) -> Format:
    """The richest format that the service takes without conversion and does not merely pass through as text."""
    if formats[0] == "text" and formats != ["text", "markdown"]:
        return "text"
    return "markdown" if "markdown" in formats else "html" if "html" in formats else "text"


def _plugin(channel: str, url: str, timeout: int) -> Any:
    """apprise's plugin for ``url``; ValueError names the channel and the scheme, nothing else of the address.

    Takes about a second the first time: apprise loads all of its plugins. Call it off the event loop.
    """
    from apprise import Apprise, AppriseAsset

    # apprise logs whole addresses below WARNING, some of them at it.
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    scheme = url.partition("://")[0][:20] if "://" in url else ""
    asset = AppriseAsset(async_mode=False, http_redirects=False, secure_logging=True, app_id="detector", app_desc="")
    try:
        with warnings.catch_warnings():
            # What its over a hundred plugins import is outdated here and there; nobody here can act on it.
            warnings.simplefilter("ignore", DeprecationWarning)
            plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=False)
    except Exception as error:  # noqa: BLE001 - plugins raise what they like, and with the address in it
        raise ValueError(
            f"channel {channel}: apprise does not take this {scheme}:// url ({type(error).__name__})"
        ) from None
    if plugin is None:
        raise ValueError(f"channel {channel}: apprise knows no service for this url (scheme {scheme or 'missing'})")
    # Between two messages apprise sleeps up to 5.5 s, to spare services that limit rates. A second page must not wait
    # for that: a service that wants less answers 429, and the schedule does the rest.
    plugin.request_rate_per_sec = min(plugin.request_rate_per_sec, 0.2)
    # A socket may not outlast the delivery it belongs to.
    plugin.socket_connect_timeout = plugin.socket_read_timeout = max(0.1, timeout / 2000)
    return plugin


def _pictures(message: Message) -> Any:
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    box = AppriseAttachment()
    for picture in message.attachments:
        memory: Any = AttachMemory  # apprise's constructor is untyped
        box.add(memory(content=picture.content, name=picture.name, mimetype=picture.mime))
    return box


_STATUS = re.compile(r"error=(\d{3})\b")


def failure(said: list[str]) -> DeliveryError:
    """What apprise's own log lines say about another attempt; with several targets the most hopeful one decides."""
    statuses = sorted({int(status) for line in said for status in _STATUS.findall(line)}, reverse=True)
    detail = f"answered {statuses[0]}" if statuses else ""
    if any(status >= 500 or status == 408 for status in statuses):
        return Unavailable("server-error", detail)
    if 429 in statuses:
        return Unavailable("rate-limited", "answered 429")
    if any(re.search("connection error|unreachable|timed? ?out", line, re.IGNORECASE) for line in said):
        return Unavailable("unreachable")
    if 413 in statuses:
        return Refused("too-large", "answered 413")
    if statuses and all(status in (401, 403) for status in statuses):
        return Refused("unauthorized", detail)
    if any(300 <= status < 400 for status in statuses):
        return Refused("redirected", detail)
    if any(400 <= status < 500 for status in statuses):
        return Refused("rejected", detail)
    return Unavailable("service-failed")


class _Capture(logging.Handler):
    """Keeps what apprise logs in one thread while one message is sent. It goes nowhere else."""

    def __init__(self, thread: OneThread[None]) -> None:
        super().__init__(logging.WARNING)
        self._thread = thread
        self._lines: list[str] = []
        logging.getLogger("apprise").addHandler(self)

    def start(self) -> list[str]:
        self._lines = []
        return self._lines

    def stop(self) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread.ident and len(self._lines) < 100:
            self._lines.append(record.getMessage()[:500])
