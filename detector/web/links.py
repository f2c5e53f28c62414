"""Signed links: only the daemon can make one, and it opens one ticket for its reporter without a login."""

from __future__ import annotations

import base64
import hmac
import os
import re
from pathlib import Path

PREFIX = "/my/"
"""Where reporters read and answer; whoever holds a link needs no login there."""
PUBLIC = "/status"
"""The page for everybody."""
CONFIRM, UNSUBSCRIBE = PUBLIC + "/confirm/", PUBLIC + "/unsubscribe/"
"""Where whoever is told what that page says begins and ends it, by the token in what they were sent."""
_BYTES = 18
_SECRET = 32
_MAIL_ID = re.compile(r"((INC-[0-9]{1,15})\.[0-9]{1,18})\.([A-Za-z0-9_=-]{24})@[^@\s]+")


def is_open(path: str) -> bool:
    """Whether nobody is asked for a login at ``path``: the public page, and pages that a signed link opens."""
    return path.startswith((PREFIX, PUBLIC + "/")) or path == PUBLIC


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
        return key if hmac.compare_digest(sign.encode(), self._sign(key).encode()) else None

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

    def _sign(self, key: str, use: str = "reporter") -> str:
        digest = hmac.digest(self._secret, f"{use}\0{key}".encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(digest[:_BYTES]).decode()
