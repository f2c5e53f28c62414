"""What subscribers of the status page are told, by mail and by webhook, and when: words are made when they are sent, of
what was published and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from aiohttp.abc import AbstractResolver

from detector.clock import Clock
from detector.config.compose import Loaded, Root
from detector.incidents.mute import windows
from detector.notify.channels import Channel, DeliveryError, Limits, Receipt, Refused
from detector.notify.channels.hooks import CHANNEL as HOOK
from detector.notify.channels.hooks import Hosts, StatusHooks
from detector.notify.channels.letters import Letters, SmtpOptions
from detector.notify.messages import Envelope, Message, update
from detector.nouns import Notification, Ticket
from detector.tickets.audience import MAIL
from detector.tickets.public import components_of
from detector.tickets.subscribers import Subscriber, Subscribers
from detector.web.links import CONFIRM, PUBLIC, UNSUBSCRIBE
from detector.web.pages.status import StatusPage
from detector.web.statuspage import incident, maintained, maintenance, webhook, window_id
from detector.words import HOUR, MINUTE


def kinds(root: Root) -> tuple[str, ...]:
    """The kinds of subscribers that can be told as things are configured."""
    if not root.tickets.communication.status_page:
        return ()
    mail, hooks = root.mail.smtp is not None, bool(root.tickets.communication.allowed_hosts)
    return (*(["email"] if mail else []), *(["webhook"] if hooks else []))


class Telling:
    """Makes the channels to subscribers, and announces what no ticket publishes."""

    def __init__(self, book: Subscribers, page: StatusPage, clock: Clock) -> None:
        self._book = book
        self._page = page
        self._clock = clock
        self._announced: set[str] = set()

    def channels(self, known: Mapping[str, tuple[Any, Channel]], loaded: Loaded) -> dict[str, tuple[Any, Channel]]:
        """Each by its name with what it was built from; the very ones that are ``known`` where that is the same."""
        root, folder = loaded.root, loaded.path.parent
        url, hosts = root.web.url, root.tickets.communication.allowed_hosts
        found: dict[str, tuple[Any, Channel]] = {}
        for kind in kinds(root):
            name, options = (MAIL, (root.mail, url)) if kind == "email" else (HOOK, (hosts, url))
            if name in known and known[name][0] == options:
                found[name] = known[name]
            elif kind == "webhook":
                found[name] = (options, self.hooks(Hosts(hosts), url))
            elif root.mail.smtp is not None:
                found[name] = (options, self.letters(root.mail.smtp, root.mail.name_and_address, folder, url))
        return found

    def letters(self, options: SmtpOptions, sender: tuple[str, str], folder: Path, url: str) -> Channel:
        """The channel of mails; ``url``: where pages are reached, ``folder``: of the configuration."""
        wording = self._wording(self._letter, url, sender[1].rpartition("@")[2])
        return Personal(Letters(options, sender, folder, self._clock, wording, MAIL), self._ended)

    def hooks(self, hosts: Hosts, url: str, resolver: AbstractResolver | None = None) -> Channel:
        """The channel of webhooks; ``url``: where pages are reached."""
        return Personal(StatusHooks(hosts, self._wording(self._payload, url, ""), resolver), self._ended)

    async def forget(self, now: int) -> int:
        """Whoever has not confirmed in time; when (ms) to look again."""
        await self._book.forget(now)
        return now + HOUR

    async def announce(self, now: int, subscribed: tuple[str, ...]) -> int:
        """Public maintenances that have just begun; when (ms) to look again."""
        for window, low, high in windows(self._page.noise.options, now - HOUR, now + 1):
            id = window_id(window, low)
            if window.public and now - HOUR < low <= now < high and id not in self._announced and subscribed:
                await self._book.announce(id, window.reason, "", maintained(window), subscribed, now)
                self._announced = {*list(self._announced)[-1000:], id}
        return now + MINUTE

    async def _ended(self, token: str) -> None:
        await self._book.end(token, self._clock.now())

    def _wording(self, make: _Make, url: str, domain: str) -> Callable[[Notification], Awaitable[Message]]:
        async def word(notification: Notification) -> Message:
            who = await self._book.named(notification.recipient)
            if who is None:
                raise _theirs("gone", "it has ended meanwhile")
            if notification.ticket.restricted:
                raise _theirs("invalid", "it is confidential by now")
            about = notification.ticket.key or notification.reason
            envelope = Envelope(
                who.address, f"status.{notification.id}.{who.name}@{domain}",
                (f"status.{about}.{who.name}@{domain}",) if about else (), unsubscribe=f"{url}{UNSUBSCRIBE}{who.token}",
            )  # fmt: skip
            return await make(notification, who, envelope, url)

        return word

    async def _letter(self, notification: Notification, who: Subscriber, envelope: Envelope, url: str) -> Message:
        page, ticket = self._page.options.name, notification.ticket
        if notification.event == "confirm":
            return update.asked(notification, page, who.components, f"{url}{CONFIRM}{who.token}", envelope)
        if notification.event == "known":
            return update.known(notification, page, who.components, envelope.unsubscribe, envelope)
        if notification.event == "maintenance":
            said = json.loads(notification.text)
            return update.told(
                notification, page, said["subject"], "maintenance", said["text"], (), url + PUBLIC, envelope
            )
        word = _published(notification).public[-1]
        link = f"{url}{PUBLIC}#{ticket.key}"
        return update.told(
            notification, page, ticket.public_title, word.status, word.body, components_of(ticket), link, envelope
        )

    async def _payload(self, notification: Notification, who: Subscriber, envelope: Envelope, url: str) -> Message:
        found = await self._page.facts(notification.created_at)
        payload = webhook(found, envelope.unsubscribe)
        if notification.event in ("confirm", "known"):
            payload["subscription"] = {
                "confirmed": notification.event == "known", "components": list(who.components), "token": who.token,
                "confirm": f"{url}{CONFIRM}{who.token}",
            }  # fmt: skip
        elif notification.event == "maintenance":
            planned = maintenance(notification.reason, found)
            if planned is None:
                raise _theirs("invalid", "it is not planned any more")
            payload["incident"] = planned
        else:
            payload["incident"] = incident(_published(notification), found)
        return Message(
            "", "", "", "", "", envelope.unsubscribe, notification.dedup_key, notification.idempotency_key,
            notification.event, "notify", "info", notification.created_at, facts=payload, envelope=envelope,
        )  # fmt: skip


_Make = Callable[[Notification, Subscriber, Envelope, str], Awaitable[Message]]


def _published(notification: Notification) -> Ticket:
    """The ticket as the public knew it after the word that is owed."""
    ticket, number = notification.ticket, int(notification.reason)
    if not 0 < number <= len(ticket.public):
        raise _theirs("invalid", "it has no such update")
    return replace(ticket, public=ticket.public[:number])


def _theirs(reason: Any, detail: str) -> Refused:
    refused = Refused(reason, detail)
    refused.theirs = True
    return refused


class _Writes(Channel, Protocol):
    async def word(self, notification: Notification) -> Message: ...


class Personal:
    """A channel whose every message has a recipient of its own: whoever is gone is told no more, and one who cannot be
    reached is no trouble of the channel."""

    def __init__(self, inner: _Writes, ended: Callable[[str], Awaitable[None]]) -> None:
        self._inner = inner
        self._ended = ended
        self.name: str = inner.name
        self.limits: Limits = inner.limits
        self.timeout: int = inner.timeout
        self.schedule: tuple[int, ...] = inner.schedule

    async def word(self, notification: Notification) -> Message:
        return await self._inner.word(notification)

    async def deliver(self, message: Message) -> Receipt:
        try:
            return await self._inner.deliver(message)
        except DeliveryError as failure:
            failure.theirs = isinstance(failure, Refused) or self.name == HOOK
            if failure.reason == "gone" and message.envelope is not None:
                await self._ended(message.envelope.unsubscribe.rpartition("/")[2])
            raise

    async def close(self) -> None:
        await self._inner.close()
