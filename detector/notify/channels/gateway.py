"""SMS and voice through a gateway's HTTP API: one request per message, its body a template with three named fields.

Twilio's shape, as an example of the options:

    - name: ann-sms
      type: gateway
      kind: sms
      to: "+4915112345678"
      url: https://api.twilio.com/2010-04-01/Accounts/AC0123/Messages.json
      headers_file: twilio.headers      # Authorization: Basic <base64 of AC0123:token>
      body: {To: "{to}", From: "+4930123456", Body: "{text}"}
      urgencies: []                     # it calls ann, and hears of nothing else
    - name: ann-call
      type: gateway
      kind: voice
      to: "+4915112345678"
      url: https://api.twilio.com/2010-04-01/Accounts/AC0123/Calls.json
      headers_file: twilio.headers
      body: {To: "{to}", From: "+4930123456", Twiml: "<Response><Say>{text}</Say></Response>"}
      urgencies: []

The fields are ``{to}``, ``{text}`` and ``{kind}``; in a value that holds ``<`` they are escaped as XML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from pydantic import Field, SecretStr, field_validator, model_validator

from detector.notify.channels.channel import DEFAULT_SCHEDULE, ChannelOptions, HttpUrl, Limits, Receipt
from detector.notify.channels.http import judge, request
from detector.notify.messages import Message
from detector.words import cut, plain

FIELDS = ("to", "text", "kind")
LENGTHS: Mapping[str, int] = {"sms": 160 * 3, "voice": 160 * 3}
"""Characters: three short messages; half a minute of speech."""
_FIELD = re.compile(r"\{(\w*)\}")
_NUMBER = re.compile(r"[+0-9A-Za-z][0-9A-Za-z@.:_+-]{2,119}")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_DEEP = 8


class GatewayOptions(ChannelOptions):
    """SMS or voice through a gateway's HTTP API."""

    type: Literal["gateway"]
    kind: Literal["sms", "voice"] = Field(default="sms", description="voice rings: it takes pages only.")
    to: str = Field(description='The number, such as "+4915112345678"; in quotes.')
    url: HttpUrl = Field(description="Where the gateway takes messages.")
    method: Literal["POST", "PUT"] = "POST"
    format: Literal["form", "json"] = Field(default="form", description="How the body is written.")
    body: dict[str, Any] = Field(min_length=1, description="The body, with {to}, {text} and {kind} in its texts.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Further headers, such as Authorization.")
    headers_file: Path | None = Field(default=None, description="The same in a file, one `Name: value` a line.")
    limit: int | None = Field(default=None, ge=70, le=4000, description="Characters of the text; default 480.")

    @field_validator("to")
    @classmethod
    def _sane_number(cls, to: str) -> str:
        if not _NUMBER.fullmatch(to):
            raise ValueError('a number is written "+4915112345678", in quotes')
        return to

    @field_validator("headers")
    @classmethod
    def _sane_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            _check_header(name, value.get_secret_value())
        return headers

    @model_validator(mode="after")
    def _template(self) -> GatewayOptions:
        texts = list(_texts(self.body, 0))
        if self.format == "form" and not all(isinstance(value, str | int) for value in self.body.values()):
            raise ValueError("body: a form has texts only; write format: json for what is nested")
        unknown = sorted({name for text in texts for name in _FIELD.findall(text)} - set(FIELDS))
        if unknown:
            raise ValueError(f"body: {{{unknown[0]}}} is no field; there are {{to}}, {{text}} and {{kind}}")
        if not any("{text}" in text for text in texts):
            raise ValueError("body: {text} is nowhere in it, so that the message would say nothing")
        return self


class GatewayChannel:
    """Sends the subject, what it means, and the address that opens it; the address is never cut."""

    schedule = DEFAULT_SCHEDULE

    def __init__(self, options: GatewayOptions, session: aiohttp.ClientSession) -> None:
        self.name = options.name
        self.timeout = options.timeout
        self.limits = Limits(
            subject=options.limit or LENGTHS[options.kind], body=options.limit or LENGTHS[options.kind]
        )
        self._options = options
        self._headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        if options.headers_file is not None:
            self._headers |= _read(options.name, options.headers_file)
        self._session = session

    async def deliver(self, message: Message) -> Receipt:
        options = self._options
        text = spoken(message, self.limits.body) if options.kind == "voice" else short(message, self.limits.body)
        body = fill(options.body, {"to": options.to, "text": text, "kind": options.kind})
        if options.format == "form":
            raw, kind = urlencode(body).encode(), "application/x-www-form-urlencoded"
        else:
            raw, kind = json.dumps(body).encode(), "application/json"
        headers = {**self._headers, "Content-Type": kind}
        judge(await request(self._session, options.method, options.url, self.timeout, raw, headers))
        return Receipt()

    async def close(self) -> None:
        """Nothing is held: the session belongs to the daemon."""


def short(message: Message, limit: int) -> str:
    """At most ``limit`` characters, the subject first, the address last and whole."""
    link = message.act or message.link
    if len(link) + 20 > limit:
        link = ""  # a message that says what it is about is worth more than half an address
    room = limit - (len(link) + 1 if link else 0)
    said = message.subject
    meaning = _meaning(message)
    if len(said) + 1 + len(meaning) <= room:
        said = f"{said}\n{meaning}".rstrip()
    return f"{cut(said, room)}\n{link}".rstrip()


def spoken(message: Message, limit: int) -> str:
    """What a voice reads: no address."""
    return cut(f"{message.subject}. {_meaning(message)}".strip(), limit)


def _meaning(message: Message) -> str:
    """The message's second line, where it has one of its own."""
    lines = [line for line in message.text.splitlines()[1:] if not line.startswith(("- ", "Runbook: "))]
    addresses = tuple(text for text in (message.act, message.link) if text)
    return plain(lines[0], 300) if lines and not any(text in lines[0] for text in addresses) else ""


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """``template`` with its fields; values are put in once: a field's own text is never looked at for fields."""
    if isinstance(template, str):
        xml = "<" in template
        return _FIELD.sub(lambda m: escape(values[m[1]]) if xml else values[m[1]], template)
    if isinstance(template, dict):
        return {name: fill(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    return template


def _texts(template: Any, depth: int) -> Any:
    if depth > _DEEP:
        raise ValueError(f"body: it is nested more than {_DEEP} deep")
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict | list):
        for value in template.values() if isinstance(template, dict) else template:
            yield from _texts(value, depth + 1)


def _check_header(name: str, value: str) -> None:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{plain(name, 60)!r} is not a header's name")
    if name.lower() in ("content-type", "content-length", "host"):
        raise ValueError(f"{name} is set by the gateway channel itself")
    if any(char in "\r\n\0" for char in value):
        raise ValueError(f"the value of {name} has a line end in it")


def _read(channel: str, path: Path) -> dict[str, str]:
    """Headers of a file; a ValueError names channel, file and line, never what stands there."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ValueError(f"channel {channel}: headers_file: cannot read {path}: {what}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        try:
            if not colon:
                raise ValueError
            _check_header(name.strip(), value.strip())
        except ValueError:
            raise ValueError(f"channel {channel}: {path}:{number} is no header such as `Authorization: ...`") from None
        found[name.strip()] = value.strip()
    return found
