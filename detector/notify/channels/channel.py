"""What every way to reach people is to the rest: :class:`Channel`, its limits, its answers and its two failures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, get_args, runtime_checkable
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from detector.notify.messages import Message
from detector.nouns import Notification, Tier
from detector.options import Duration, Options, ms

Reason = Literal[
    "timeout",         # no answer in time: the message may have arrived
    "unreachable",     # no connection
    "tls",             # a certificate that does not hold
    "rate-limited",    # asked to come back later
    "server-error",    # the other side failed
    "service-failed",  # a service behind apprise that says no more than "failed"
    "rejected",        # the other side will never take this
    "unauthorized",    # key, token or password refused
    "too-large",
    "redirected",      # redirects are not followed
    "gone",            # the endpoint told us to stop, or nobody has this address
    "invalid",         # this side could not word or address it
    "crashed",         # a defect of ours
    "gave-up",         # the last retry failed
]  # fmt: skip
"""Why a delivery failed: closed, because it becomes a metric label and a dead letter's epitaph."""

REASONS: tuple[str, ...] = get_args(Reason)

_QUICK = (5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 28_800)
DEFAULT_SCHEDULE = tuple(seconds * 1000 for seconds in _QUICK)
"""Waits (ms) between attempts where no specification says otherwise: a minute of patience costs a page its point, so
the first retries are close; the last comes about a day after the first attempt."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the other side takes: characters of subject and body, whether pictures arrive, and whether one message may
    stand for several tickets."""

    subject: int = 120
    body: int = 32_768
    pictures: bool = False
    together: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """The other side has it. ``id`` is its word for it, at most 255 characters, or empty."""

    id: str = ""


class DeliveryError(Exception):
    """A message did not arrive. ``detail`` is for the log: never a secret, never the other side's text unshortened."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: Reason = reason
        self.detail = detail
        self.theirs = False
        """It says something of the one who was to be told, and nothing of the channel."""


class Refused(DeliveryError):
    """It never will: do not try again."""


class Unavailable(DeliveryError):
    """Not now. ``retry_after`` (ms): not before then, when the other side said so."""

    def __init__(self, reason: Reason, detail: str = "", retry_after: int | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after


class Channel(Protocol):
    """One way to reach people. ``timeout`` (ms) bounds a delivery; ``schedule`` (ms) are the waits between attempts."""

    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def timeout(self) -> int: ...
    @property
    def schedule(self) -> tuple[int, ...]: ...

    async def deliver(self, message: Message) -> Receipt:
        """Hand ``message`` over; raises :class:`Refused` or :class:`Unavailable`. One call at a time."""

    async def close(self) -> None:
        """Let go of threads and the like; a delivery under way is abandoned."""


@runtime_checkable
class Writes(Protocol):
    """A channel with words of its own for what it is owed."""

    async def word(self, notification: Notification) -> Message: ...


# --- options that all channels share ---------------------------------------------------------------------------------

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a channel name: small letters, digits, - and _, such as pager or ops-mail")
    return text


class ChannelOptions(Options):
    """Which messages go to the channel, and how long one may take."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="Its name in metrics, timeline and commands.")
    urgencies: tuple[Literal["page", "notify"], ...] = Field(
        default=("page", "notify"),
        description="page: wake somebody; notify: tell them; none: it only calls the person whom it belongs to.",
    )
    tiers: tuple[Tier, ...] = Field(
        default=("L1", "L2", "L3"), min_length=1, description="Only tickets of these tiers."
    )
    services: tuple[str, ...] = Field(default=(), description="Only tickets of these services; empty: all.")
    send_resolved: bool = Field(default=True, description="Tell those who were told that it is over.")
    timeout: Duration = Field(default=ms("10s"), description="How long one delivery may take.")


def http_url(text: str) -> str:
    """An http(s) address with a host, without user, password or fragment; else a ValueError with the remedy."""
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("not an address such as https://hooks.example.org/detector") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise ValueError("only http:// and https:// addresses with a host, such as https://hooks.example.org/detector")
    if "@" in parts.netloc:
        raise ValueError("no user or password inside the address: send them as a header")
    if parts.fragment or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise ValueError("no fragment, space or control character inside the address")
    return text


HttpUrl = Annotated[str, AfterValidator(http_url)]


def secret(channel: str, key: str, value: SecretStr | None, file: Path | None) -> str:
    """The secret that was given in the file or in a file of its own; ValueError naming channel and key otherwise.

    Its file is read when the channel is built, so that a check of the configuration needs no secrets.
    """
    if value is not None:
        text = value.get_secret_value()
    elif file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ValueError(f"channel {channel}: {key}_file: cannot read {file}: {what}") from None
    else:  # the options' own validators do not let this through
        raise ValueError(f"channel {channel}: give {key} or {key}_file")
    if not text.strip():
        raise ValueError(f"channel {channel}: {key} is empty")
    return text.strip()


def exactly_one(key: str, value: object, file: object) -> None:
    """For model validators: a secret is given here or in a file, not both, not neither."""
    if (value is None) == (file is None):
        raise ValueError(f"give either {key} or {key}_file")
