"""Signed links: only the daemon can make one, and it opens one ticket for its reporter without a login."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path

PREFIX = "/my/"
"""Where reporters read and answer; whoever holds a link needs no login there."""
_BYTES = 18


class Links:
    """Signs keys of tickets. ``secret``: at least 32 bytes, the same over restarts, or old links end."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, path: Path) -> Links:
        """With the secret in ``path``, made where it is missing, for its owner alone. Raises OSError."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(handle, "wb") as file:
            file.write(secret := os.urandom(32))
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
