"""Signed links: only the daemon can make one, and it opens without a login what it names, to whom it names."""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "/my/"
"""Where reporters read and answer; whoever holds a link needs no login there."""
PUBLIC = "/status"
"""The page for everybody."""
CONFIRM, UNSUBSCRIBE = PUBLIC + "/confirm/", PUBLIC + "/unsubscribe/"
"""Where whoever is told what that page says begins and ends it, by the token in what they were sent."""
CALLED = "/a/"
"""Where whoever was called opens the incident and takes it."""
PROOF = "/proof/"
"""Where a person says that a test message arrived."""
OPENS_MS = 12 * 3_600_000
_BYTES = 18
_SECRET = 32
_MAIL_ID = re.compile(r"((INC-[0-9]{1,15})\.[0-9]{1,18})\.([A-Za-z0-9_=-]{24})@[^@\s]+")


def is_open(path: str) -> bool:
    """Whether nobody is asked for a login at ``path``: the public page, and pages that a signed link opens."""
    return path.startswith((PREFIX, CALLED, PROOF, PUBLIC + "/")) or path == PUBLIC


@dataclass(frozen=True, slots=True)
class Called:
    """What a link in a call opens: these tickets, for this person, until then (ms)."""

    keys: tuple[str, ...]
    who: str
    until: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a link in a test message says when its button is pressed: the message reached this person on this
    channel."""

    who: str
    channel: str
    until: int


class Links:
    """Signs keys of tickets. ``secret``: at least 32 bytes, the same over restarts, or old links end."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, path: Path) -> Links:
        """With the secret in ``path``, made where it is missing, for its owner alone. Raises OSError, or ValueError for
        what is too short to be one: an empty key would sign for everybody."""
        if not path.exists():
            # Whole or not at all: a full disk must not leave half a secret behind.
            fresh = path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(os.urandom(_SECRET))
            fresh.replace(path)
        secret = path.read_bytes()
        if len(secret) < _SECRET:
            raise ValueError(f"{path} holds no secret of {_SECRET} bytes; remove it, and the links sent so far end")
        return cls(secret)

    def path(self, key: str) -> str:
        """The reporter's address of ticket ``key``."""
        return f"{PREFIX}{key}.{self._sign(key)}"

    def key(self, token: str) -> str | None:
        """The ticket that the last part of an address opens; None, as slowly, where it was not made here."""
        key, _, sign = token.rpartition(".")
        return key if hmac.compare_digest(sign.encode("utf-8", "surrogateescape"), self._sign(key).encode()) else None

    def mail_id(self, key: str, number: int, domain: str) -> str:
        """The Message-ID of letter ``number`` about ticket ``key``: it proves that it was made here, and is always the
        same."""
        name = f"{key}.{number}"
        return f"{name}.{self._sign(name, 'mail')}@{domain}"

    def mail_key(self, message_id: str) -> str | None:
        """The ticket that a letter of ours was about; None for a Message-ID that was not made here."""
        found = _MAIL_ID.fullmatch(message_id)
        if found is None:
            return None
        return found[2] if hmac.compare_digest(found[3].encode(), self._sign(found[1], "mail").encode()) else None

    def called(self, keys: Sequence[str], who: str, now: int) -> str:
        """The address that opens these tickets to ``who`` for twelve hours."""
        body = f"{'-'.join(key.rpartition('-')[2] for key in keys)}.{_packed(who)}.{_stamp(now + OPENS_MS)}"
        return f"{CALLED}{body}.{self._sign(body, 'called')}"

    def read_called(self, token: str) -> Called | None:
        """What the last part of such an address says, expired or not; None where it was not made here."""
        parts = self._read(token, "called", 3)
        if parts is None:
            return None
        numbers, who, until = parts
        return Called(tuple(f"INC-{number}" for number in numbers.split("-")), _unpacked(who), int(until, 16))

    def proof(self, who: str, channel: str, now: int) -> str:
        """The address in a test message to ``who`` on ``channel``."""
        body = f"{_packed(who)}.{_packed(channel)}.{_stamp(now + OPENS_MS)}"
        return f"{PROOF}{body}.{self._sign(body, 'proof')}"

    def read_proof(self, token: str) -> Proof | None:
        """What the last part of such an address says, expired or not; None where it was not made here."""
        parts = self._read(token, "proof", 3)
        return None if parts is None else Proof(_unpacked(parts[0]), _unpacked(parts[1]), int(parts[2], 16))

    def _read(self, token: str, what: str, parts: int) -> list[str] | None:
        body, _, sign = token.rpartition(".")
        # Signed first, read then: nothing of a forged token is looked at.
        if not hmac.compare_digest(sign.encode("utf-8", "surrogateescape"), self._sign(body, what).encode()):
            return None
        found = body.split(".")
        return found if len(found) == parts else None

    def _sign(self, key: str, use: str = "reporter") -> str:
        digest = hmac.digest(self._secret, f"{use}\0{key}".encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(digest[:_BYTES]).decode()


def _packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogateescape")).decode().rstrip("=")


def _unpacked(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "surrogateescape")


def _stamp(at: int) -> str:
    return f"{at:x}"
