"""A signed webhook for programs: Standard Webhooks 1.0 (https://www.standardwebhooks.com), HMAC-SHA256.

``webhook-id`` is the message's idempotency key (a receiver that has seen it may drop it), ``webhook-signature``
carries one signature per secret while keys rotate. Retries follow the specification's schedule; 410 disables the
endpoint until the configuration is loaded again.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import aiohttp
from pydantic import Field, SecretStr, field_validator, model_validator
from standardwebhooks import Webhook

from detector.clock import Clock, rfc3339
from detector.notify.channels.channel import ChannelOptions, HttpUrl, Limits, Receipt, Refused, exactly_one, secret
from detector.notify.channels.http import judge, request
from detector.notify.messages import Message

SCHEDULE = tuple(seconds * 1000 for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
_RESERVED = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length", "host")


class WebhookOptions(ChannelOptions):
    """A signed webhook, by Standard Webhooks 1.0."""

    type: Literal["webhook"]
    url: HttpUrl = Field(description="Where to POST; http or https.")
    secret: SecretStr | None = Field(
        default=None, description="whsec_ and base64 of 24 to 64 bytes; several, newest first, while keys rotate."
    )
    secret_file: Path | None = Field(default=None, description="The same in a file.")
    changes: bool = Field(
        default=False, description="Every change of every ticket, too, as incident.change; replayable."
    )
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="More headers, such as Authorization.")

    @model_validator(mode="after")
    def _one_secret(self) -> WebhookOptions:
        exactly_one("secret", self.secret, self.secret_file)
        if self.secret is not None:
            keys(self.secret.get_secret_value())
        return self

    @field_validator("headers")
    @classmethod
    def _sane_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not name or not all(char.isascii() and (char.isalnum() or char in "-_") for char in name):
                raise ValueError(f"{name!r} is not a header's name")
            if name.lower() in _RESERVED:
                raise ValueError(f"{name} is set by the webhook itself")
            if any(char in "\r\n\0" for char in value.get_secret_value()):
                raise ValueError(f"the value of {name} has a line end in it")
        return headers


def keys(text: str) -> tuple[Webhook, ...]:
    """Signing keys from whitespace-separated ``whsec_...``, newest first; a ValueError does not repeat the secret."""
    found = []
    for word in text.split():
        try:
            raw = base64.b64decode(word.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("a webhook secret is whsec_ and base64, such as `openssl rand -base64 32` makes") from None
        if not 24 <= len(raw) <= 64:
            raise ValueError(f"a webhook secret holds 24 to 64 bytes, this one {len(raw)}")
        found.append(Webhook(raw))
    if not found:
        raise ValueError("the webhook secret is empty")
    return tuple(found)


class WebhookChannel:
    """Posts ``{"type": "incident.opened", "timestamp": ..., "data": {...}}``; with ``changes``, ``incident.change`` for
    every commit, with what it changed in ``data.changes``."""

    limits = Limits(subject=120, body=256 * 1024)
    schedule = SCHEDULE

    def __init__(self, options: WebhookOptions, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.name = options.name
        self.timeout = options.timeout
        self._url = options.url
        try:
            self._keys = keys(secret(options.name, "secret", options.secret, options.secret_file))
        except ValueError as error:
            raise ValueError(f"channel {options.name}: {error}") from None
        self._headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._session = session
        self._clock = clock
        self._gone = False

    async def deliver(self, message: Message) -> Receipt:
        if self._gone:
            raise Refused("gone", "the endpoint answered 410 before; load the configuration again to try it")
        body = json.dumps(payload(message))
        if len(body) > self.limits.body:
            body = json.dumps(payload(message, brief=True))
        try:
            await self._post(message.idempotency_key, body)
        except Refused as refusal:
            self._gone = refusal.reason == "gone"
            if refusal.reason != "too-large":
                raise
            await self._post(message.idempotency_key, json.dumps(payload(message, brief=True)))
        return Receipt(message.idempotency_key[:255])

    async def _post(self, identity: str, body: str) -> None:
        now = self._clock.now()
        # Signed anew in every attempt: receivers refuse a timestamp older than five minutes.
        at = datetime.fromtimestamp(now // 1000, UTC)
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(now // 1000),
            "webhook-signature": " ".join(key.sign(identity, at, body) for key in self._keys),
        }
        judge(await request(self._session, "POST", self._url, self.timeout, body.encode("ascii"), headers))

    async def close(self) -> None:
        """Nothing is held: the session belongs to the daemon."""


def payload(message: Message, brief: bool = False) -> dict[str, Any]:
    """The body as JSON. ``brief``: the key and the way to the rest, when the whole would be refused."""
    facts = {"key": message.key, "title": message.title} if brief else dict(message.facts)
    changes = {} if message.event != "change" else {"changes": [] if brief else list(message.changes)}
    return {
        "type": f"incident.{message.event}",
        "timestamp": rfc3339(message.created_at),
        "data": {
            "event": message.event,
            "urgency": message.urgency,
            "severity": message.severity,
            "dedup_key": message.dedup_key,
            "subject": message.subject,
            "text": message.brief if brief else message.text,
            "link": message.link,
            "truncated": brief,
            "incident": facts,
            **changes,
        },
    }
