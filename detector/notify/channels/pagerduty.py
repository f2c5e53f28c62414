"""PagerDuty by its Events API v2 (https://developer.pagerduty.com/docs/events-api-v2-overview): trigger, acknowledge
and resolve under one ``dedup_key``, so that a message that comes twice is one incident there.

What goes over: at most 512 KB, a summary of at most 1,024 characters. 202 is success, 400 refusal, 429 and 5xx mean
later.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import aiohttp
from pydantic import Field, SecretStr, model_validator

from detector.clock import rfc3339
from detector.notify.channels.channel import (
    DEFAULT_SCHEDULE,
    ChannelOptions,
    HttpUrl,
    Limits,
    Receipt,
    Refused,
    exactly_one,
    secret,
)
from detector.notify.channels.http import Answer, judge, request
from detector.notify.messages import Message
from detector.words import cut

URL = "https://events.pagerduty.com/v2/enqueue"
_MOST_BYTES = 512 * 1024
_ACTIONS = {"acknowledged": "acknowledge", "resolved": "resolve"}


class PagerDutyOptions(ChannelOptions):
    """PagerDuty, by an Events API v2 integration."""

    type: Literal["pagerduty"]
    routing_key: SecretStr | None = Field(default=None, description="The integration key, 32 characters.")
    routing_key_file: Path | None = Field(default=None, description="The same in a file.")
    url: HttpUrl = Field(default=URL, description="Another address that speaks Events v2.")

    @model_validator(mode="after")
    def _one_key(self) -> PagerDutyOptions:
        exactly_one("routing_key", self.routing_key, self.routing_key_file)
        if self.routing_key is not None:
            routing_key(self.routing_key.get_secret_value())
        return self


def routing_key(text: str) -> str:
    if len(text) != 32 or not text.isascii() or not text.isalnum():
        raise ValueError("a PagerDuty routing key has 32 letters and digits: the integration key of Events API v2")
    return text


class PagerDutyChannel:
    """One event per message; the action follows from the event and from whether the ticket still needs anybody."""

    limits = Limits(subject=1024, body=8192, together=False)
    schedule = DEFAULT_SCHEDULE

    def __init__(self, options: PagerDutyOptions, session: aiohttp.ClientSession) -> None:
        self.name = options.name
        self.timeout = options.timeout
        self._url = options.url
        key = secret(options.name, "routing_key", options.routing_key, options.routing_key_file)
        try:
            self._key = routing_key(key)
        except ValueError as error:
            raise ValueError(f"channel {options.name}: {error}") from None
        self._session = session

    async def deliver(self, message: Message) -> Receipt:
        receipt = await self._enqueue(message, action(message))
        if message.event == "test":
            # A test rings, and leaves no open incident behind.
            await self._enqueue(message, "resolve")
        return receipt

    async def _enqueue(self, message: Message, act: str) -> Receipt:
        try:
            answer = await self._post(event(message, act, self._key))
        except Refused as refusal:
            if refusal.reason not in ("rejected", "too-large") or act != "trigger":
                raise
            # What it dislikes is most likely in the details; the page itself must not be lost with them.
            answer = await self._post(event(message, act, self._key, brief=True))
        return Receipt(_answered_key(answer) or dedup_key(message.dedup_key))

    async def _post(self, body: dict[str, Any]) -> Answer:
        raw = json.dumps(body).encode("ascii")
        if len(raw) > _MOST_BYTES:
            raise Refused("too-large", f"{len(raw)} bytes are more than PagerDuty takes")
        answer = await request(
            self._session, "POST", self._url, self.timeout, raw, {"Content-Type": "application/json"}
        )
        judge(answer)
        return answer

    async def close(self) -> None:
        """Nothing is held: the session belongs to the daemon."""


def action(message: Message) -> str:
    """trigger, acknowledge or resolve. A late attempt for a ticket that is over meanwhile resolves: a trigger after the
    resolve would open an incident that nobody ever closes."""
    return "resolve" if message.over else _ACTIONS.get(message.event, "trigger")


def dedup_key(key: str) -> str:
    """At most 255 characters; longer ones are told apart by their hash."""
    if len(key) <= 255:
        return key
    return key[:190] + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def event(message: Message, act: str, key: str, brief: bool = False) -> dict[str, Any]:
    """The body of one event. ``brief``: without details and links, for when the whole was refused."""
    body: dict[str, Any] = {"routing_key": key, "event_action": act, "dedup_key": dedup_key(message.dedup_key)}
    if act != "trigger":
        return body
    summary = message.subject.strip() or "detector: a ticket needs you"
    body["payload"] = {
        "summary": cut(summary, 1024),
        "source": cut(message.service or "detector", 255),
        "severity": message.severity,
        "timestamp": rfc3339(message.created_at),
    }
    if brief:
        return body
    body["payload"] |= {
        "component": cut(message.service, 255),
        "group": cut(message.key, 255),
        "class": cut(message.category, 255),
        "custom_details": {"message": cut(message.text, 8192), "incident": message.key, "urgency": message.urgency},
    }
    body["client"] = "detector"
    if message.link:
        body["client_url"] = message.link
        body["links"] = [{"href": message.link, "text": message.key or "open"}]
    return body


def _answered_key(answer: Answer) -> str:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return ""
    key = body.get("dedup_key") if isinstance(body, dict) else None
    return key[:255] if isinstance(key, str) else ""
