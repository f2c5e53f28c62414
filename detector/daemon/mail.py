"""Mail with reporters: where a mail that came in belongs, and what a letter has on its envelope.

A mail is taken once, one after the other: read in a thread, known by its Message-ID, placed, and handed to the
pipeline, which decides and commits. Whoever handed it over is answered after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from detector.clock import Clock
from detector.config.compose import Loaded
from detector.config.mail import MailOptions
from detector.ingest import imap
from detector.ingest.mail import Mail, Rejected, Taken, parse
from detector.ingest.receive import Unavailable
from detector.notify.channels import Channel, Refused
from detector.notify.channels.letters import CHANNEL, Letters
from detector.notify.channels.thread import OneThread, wait
from detector.notify.messages import Attachment, Envelope, Message, letter
from detector.notify.messages.invite import invitation, when_and_where
from detector.notify.messages.letter import is_automatic
from detector.nouns import SYSTEM, Notification, Report, Reporter, Ticket, Viewer
from detector.pipeline import Busy, NotAllowed, Pipeline, StorageError
from detector.telemetry import Telemetry
from detector.tickets.lifecycle import REPORTER
from detector.web.links import Links

log = logging.getLogger(__name__)

MOST_WAITING = 50
"""Mails that may wait for their turn; beyond it senders are told to come again."""
_DAY = 86_400_000
_LOOK_MS = 10_000
"""How often it is looked whether a mailbox is configured meanwhile."""
_SLACK_MS = 5_000
_EMPTY = "(The mail holds no text.)"


@dataclass(frozen=True, slots=True)
class Answer:
    """It belongs to ticket ``key``."""

    key: str


@dataclass(frozen=True, slots=True)
class New:
    """It is a report of its own; ``follows``: the ticket that it speaks of, which has ended."""

    confidential: bool = False
    follows: str | None = None


def place(
    mail: Mail, ours: Ticket | None, theirs: Ticket | None, named: Ticket | None, confidential: bool
) -> Answer | New:
    """Where ``mail`` belongs. ``ours``: the ticket of a letter of ours that it answers, which nobody can guess;
    ``theirs``: of an earlier mail; ``named``: whose number is in the subject. The last two anybody may know: they count
    from the reporter's own address only. ``confidential``: it was sent to the security address."""
    for ticket, proven in ((ours, True), (theirs, False), (named, False)):
        if ticket is None or not (proven or from_reporter(mail.sender, ticket)):
            continue
        if confidential and not ticket.restricted:
            return New(True, ticket.key)  # nothing of it may stand where everybody reads
        if ticket.state in ("closed", "merged"):
            return New(ticket.restricted, ticket.key)
        return Answer(ticket.key)
    return New(confidential)


def from_reporter(sender: str, ticket: Ticket) -> bool:
    """Whether it is the address that the reporter left."""
    return ticket.reporter is not None and ticket.reporter.contact.strip().casefold() == sender.casefold()


class Inbox:
    """Takes mails; ``closed`` answers why nothing is taken at the moment, if so."""

    def __init__(
        self, pipeline: Pipeline, links: Links, options: Callable[[], MailOptions], now: Callable[[], int],
        telemetry: Telemetry, closed: Callable[[], str | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._pipeline = pipeline
        self._links = links
        self._options = options
        self._now = now
        self._closed = closed
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._mails = Counter("detector_mails", "Mails that came in.", ["result"], registry=telemetry.registry)

    async def take(self, raw: bytes, envelope: Sequence[str] = ()) -> Taken:
        """What became of it, once that is durable; raises Unavailable."""
        if (reason := self._closed()) is not None:
            raise Unavailable(reason)
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many mails wait to be read", 5)
        self._waiting += 1
        try:
            async with self._turn:
                taken, secret = await self._take(raw, envelope)
        except (StorageError, Busy) as error:
            raise Unavailable(f"the mail could not be stored: {error}", 5) from None
        finally:
            self._waiting -= 1
        if not secret:  # no figure tells that there is a confidential report
            self._mails.labels(taken.result).inc()
        if taken.reason:
            log.info("a mail was not kept: %s: %s", taken.result, taken.reason)
        return taken

    async def _take(self, raw: bytes, envelope: Sequence[str]) -> tuple[Taken, bool]:
        mail = await asyncio.to_thread(parse, raw, envelope)
        if isinstance(mail, Rejected):
            return Taken("rejected", mail.reason), False
        options = self._options()
        automatic = mail.automatic or ("our own address" if mail.sender.casefold() in options.own else "")
        if automatic:
            # Neither a ticket nor an answer, and above all nothing that we would answer: two machines never stop.
            return Taken("automatic", automatic), False
        desk = self._pipeline.desk
        if (known := await self._ticket(await desk.mailed([mail.message_id]))) is not None:
            return Taken("duplicate"), known.restricted
        confidential = (options.security_address or "").casefold() in mail.recipients
        placed = place(
            mail,
            await self._ticket(next((key for id in reversed(mail.thread) if (key := self._links.mail_key(id))), None)),
            await self._ticket(await desk.mailed(mail.thread) if mail.thread else None),
            await self._ticket(mail.named),
            confidential,
        )
        if isinstance(placed, Answer):
            ticket = await self._answer(mail, placed.key)
            if ticket is not None:
                return Taken("answered"), ticket.restricted
            placed = New(confidential, placed.key)
        ticket = await self._pipeline.report(self._report(mail, placed))
        return Taken("opened"), ticket.restricted

    async def _ticket(self, key: str | None) -> Ticket | None:
        return None if key is None else await self._pipeline.desk.ticket(key, SYSTEM)

    async def _answer(self, mail: Mail, key: str) -> Ticket | None:
        """None where the ticket has ended meanwhile."""
        ticket = await self._ticket(key)
        foreign = ticket is None or not from_reporter(mail.sender, ticket)
        text = f"({mail.name}, {mail.sender}:) {mail.text or _EMPTY}" if foreign else mail.text or _EMPTY
        viewer = Viewer(REPORTER, restricted=True)
        try:
            return await self._pipeline.act(key, "answer", viewer, now=self._now(), text=text, mail=mail.message_id)
        except (NotAllowed, LookupError):
            return None

    def _report(self, mail: Mail, new: New) -> Report:
        now = self._now()
        told = mail.sent_at if mail.sent_at is not None and now - _DAY <= mail.sent_at <= now else None
        return Report(
            mail.text or mail.subject or _EMPTY, now, Reporter(mail.name, mail.sender), title=mail.subject,
            security=new.confidential, channel="mail", mail=mail.message_id, follows=new.follows, told_at=told,
        )  # fmt: skip


async def collect(inbox: Inbox, loaded: Callable[[], Loaded], clock: Clock, now: int) -> int:
    """Look into the mailbox, if one is configured; when (ms) to look again. One that cannot be read is said."""
    options, folder = loaded().root.mail.imap, loaded().path.parent
    if options is None:
        return now + _LOOK_MS
    thread, mailbox = OneThread[Any]("mailbox"), imap.Mailbox(options, folder)

    async def take(raw: bytes) -> imap.Verdict:
        try:
            taken = await inbox.take(raw)
        except Unavailable as error:
            log.warning("mails stay unseen: %s", error)
            return "later"
        return "rejected" if taken.result == "rejected" else "taken"

    more = False
    try:
        more = await imap.poll(mailbox, lambda step: wait(thread.submit(step), options.timeout + _SLACK_MS), take)
    except (imap.MailboxError, TimeoutError) as error:
        mailbox.abandon()
        reason = str(error) or "no answer"
        log.error("mail.imap: %s: %s; again in %d s", options.host, reason, options.poll // 1000)
    finally:
        thread.close()
    return clock.now() + (0 if more else options.poll)


def lettered(
    known: Mapping[str, tuple[Any, Channel]], pipeline: Pipeline, links: Links, loaded: Loaded, clock: Clock
) -> dict[str, tuple[Any, Channel]]:
    """The channel of letters by its name with what it was built from; the very one that is ``known`` where that is the
    same. None where no server is configured."""
    options = (loaded.root.mail, loaded.root.web.url, loaded.zone)
    if loaded.root.mail.smtp is None:
        return {}
    if CHANNEL in known and known[CHANNEL][0] == options:
        return {CHANNEL: known[CHANNEL]}
    return {CHANNEL: (options, letters(pipeline, links, *options[:2], loaded.path.parent, clock, loaded.zone))}


def letters(
    pipeline: Pipeline, links: Links, options: MailOptions, url: str, folder: Path, clock: Clock, zone: tzinfo = UTC
) -> Letters:
    """The channel of letters; ``url``: where pages are reached, ``folder``: of the configuration."""
    assert options.smtp is not None, "only where there is a server to send them"
    domain = options.name_and_address[1].rpartition("@")[2]

    async def wording(notification: Notification) -> Message:
        ticket = notification.ticket
        own = from_reporter(notification.recipient, ticket)
        if ticket.restricted and not own:
            raise Refused("invalid", "it is confidential by now")
        # The reporter's letters are nobody else's to refer to.
        theirs = await pipeline.desk.mails(ticket.key) if own else []
        first = [notification.thread] if notification.thread else []
        envelope = Envelope(
            notification.recipient, links.mail_id(ticket.key, notification.id, domain),
            # The one that is answered stands last: their newest, else our first.
            tuple(dict.fromkeys([*theirs[:1], *first, *theirs[1:]])) if theirs else tuple(first),
            is_automatic(notification.event), (options.security_address or "") if ticket.restricted else "",
        )  # fmt: skip
        link = url + links.path(ticket.key) if own else ""
        made = invitation(ticket, url, clock.now()) if notification.event == "call" else None
        if made is None or ticket.bridge is None:
            return letter(notification, link, envelope)
        lines = when_and_where(ticket.bridge, clock.now(), zone)
        return letter(notification, link, envelope, lines, (Attachment("call.ics", "text/calendar", made),))

    return Letters(options.smtp, options.name_and_address, folder, clock, wording)
