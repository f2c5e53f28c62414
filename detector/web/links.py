"""Signed links: only the daemon can make one, and it opens one ticket for its reporter without a login."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path

PREFIX = "/my/"
"""Where reporters read and answer; whoever holds a link needs no login there."""
PUBLIC = "/status"
"""The page for everybody."""
_BYTES = 18
_SECRET = 32


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

    def _sign(self, key: str) -> str:
        digest = hmac.digest(self._secret, f"reporter\0{key}".encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(digest[:_BYTES]).decode()
