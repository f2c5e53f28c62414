"""The people of the configuration: ``web.users``, and what they may do by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from detector.nouns import Tier
from detector.options import Duration, Options, ms
from detector.web.rights import Person, Role

_HASH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
MAX_COST = 15
"""A bcrypt cost of 15 takes 1.8 s of a core; more is a way to stop one's own daemon."""
_TAKEN = frozenset({"detector", "operator", "pipeline", "reporter", "rules"})
"""Whom the timeline calls so is the machine, a reporter, or whoever was not asked for a name."""


def unfit(name: str, value: str) -> str | None:
    """Why ``value`` is no hash that ``name`` can log in with, or None."""
    match = _HASH.fullmatch(value)
    if match is None:
        return f"not a bcrypt hash; make one with `htpasswd -nBC 10 {name}`"
    if not 4 <= int(match[1]) <= MAX_COST:
        return f"bcrypt cost {match[1]}; allowed: 4 to {MAX_COST}"
    return None


def _name(text: str) -> str:
    if ":" in text or text != text.strip() or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError(f"{text!r} is not a user's name (no colon, no space around it)")
    if text in _TAKEN:
        raise ValueError(f"{text!r} is what the detector itself is called in timelines; take another name")
    return text


class UserOptions(Options):
    """A person who may log in; ``web.config_file`` may hold the password instead."""

    name: Annotated[str, AfterValidator(_name)] = Field(min_length=1, max_length=100)
    role: Role = Field(
        description="viewer reads, agent acts on tickets, manager also silences and publishes, admin all."
    )
    tiers: tuple[Tier, ...] = Field((), description="Of an agent: whose tickets they act on. Default: all.")
    password_hash: SecretStr | None = Field(None, description="bcrypt, as `htpasswd -nBC 10 NAME` makes it.")
    password_file: str | None = Field(
        None, description="A file that holds the bcrypt hash; read at start and at reload.")  # fmt: skip
    restricted: bool | None = Field(
        None, description="May see restricted tickets. Default: admins, and agents whose tiers name L3.")  # fmt: skip
    email: str = Field("", max_length=320)

    @model_validator(mode="after")
    def _fits(self) -> UserOptions:
        if self.password_hash is not None and self.password_file is not None:
            raise ValueError("password_hash or password_file, not both")
        if self.password_hash is not None and (why := unfit(self.name, self.password_hash.get_secret_value())):
            raise ValueError(f"password_hash: {why}")
        if self.tiers and self.role != "agent":
            raise ValueError(f"tiers are an agent's; {self.name} has the role {self.role}")
        return self

    @property
    def person(self) -> Person:
        """A suspected breach goes to L3 (P28): agents who are named for it see what is restricted, and admins do."""
        by_default = self.role == "admin" or "L3" in self.tiers
        sees = by_default if self.restricted is None else self.restricted
        return Person(self.name, sees, self.role, self.tiers)

    def hash(self, base: Path) -> str | None:
        """The bcrypt hash; None where the entry has none. Raises ValueError with place and remedy."""
        if self.password_hash is not None:
            return self.password_hash.get_secret_value()
        if self.password_file is None:
            return None
        path = base / self.password_file
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        if why := unfit(self.name, text):
            raise ValueError(f"{path} holds {why}")
        return text


class SessionOptions(Options):
    """How long a login in a browser lasts."""

    idle: Duration = Field(ms("1d"), ge=60_000, description="Without a request for so long, it is over.")
    lifetime: Duration = Field(ms("14d"), ge=60_000, description="After so long it is over in any case.")
