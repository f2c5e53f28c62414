"""What the options of every room are made of: the base class, and annotated types for durations and sizes.

A room keeps its options in a pydantic class of its own; ``config`` assembles them and adds file and line to errors.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_SIZES = {"": 1, "B": 1, "KB": 1024, "KiB": 1024, "MB": 1024**2, "MiB": 1024**2, "GB": 1024**3, "GiB": 1024**3}
_HOST = re.compile(r"(?:(\*\.)?((?:[a-z0-9_-]+\.)*[a-z0-9_-]+)|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_SIZE = re.compile(r"(\d+)\s*(B|KB|KiB|MB|MiB|GB|GiB)?")


class Options(BaseModel):
    """Options of a room: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_duration(text: str) -> int:
    """Prometheus's duration (``1h30m``, ``250ms``, ``0``) to ms; raises ValueError with an example."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration such as 15s, 5m, 1h30m or 1d")
    return sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS.values(), strict=True) if n)


def format_duration(ms: int) -> str:
    """ms as Prometheus writes it: ``1h30m``; 0 is ``0s``."""
    out = ""
    for unit, size in _UNITS.items():
        if unit in ("y", "w") and ms % size:
            continue
        count, ms = divmod(ms, size)
        if count:
            out += f"{count}{unit}"
    return out or "0s"


def parse_size(text: str) -> int:
    """``16MiB`` or ``512KB`` (both powers of 1024, as in Prometheus) to bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512KB, 16MiB or 1GiB")
    return int(match[1]) * _SIZES[match[2] or ""]


def _duration(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    raise ValueError("a duration needs a unit, such as 15s, 5m or 1h30m")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a size is a number of bytes or a text such as 16MiB")


Duration = Annotated[
    int,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(ms|[smhdwy]))+$|^0$", "examples": ["15s", "5m", "1h30m"]}),
]
"""A Prometheus duration in the file, ``int`` ms in the program."""


def ms(text: str) -> int:
    """A default for a :data:`Duration` field: ``interval: Duration = ms("15s")``."""
    return parse_duration(text)


Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["16MiB"]})]
"""A size in bytes, written ``16MiB``."""


def _host_pattern(text: str) -> str:
    match = _HOST.fullmatch(text.lower()) if len(text) <= 260 else None
    if match is None or (match[3] is not None and not 0 < int(match[3]) < 65536):
        raise ValueError(f"{text[:80]!r} is no host such as hooks.example.org, *.example.org or hooks.example.org:8443")
    if match[1] and "." not in match[2]:
        raise ValueError(f"{text[:80]!r} is half of the internet: write one such as *.example.org")
    return text.lower()


HostPattern = Annotated[str, AfterValidator(_host_pattern)]
"""A host by its name, or ``*.`` and what it lies below; with a port where it is not the scheme's own."""


class MailServer(Options):
    """How one of the mail's servers is reached. Paths are relative to the configuration."""

    host: str = Field(min_length=1, max_length=253, pattern=r"^[^\s/@]+$")
    port: int = Field(ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "tls"
    """tls: from the first byte; starttls: asked for, and nothing goes on without it."""
    ca_file: Path | None = None
    """Whom to believe that it is the server; default: the system's certificate authorities."""
    user: str | None = None
    password_file: Path | None = None
    timeout: Duration = Field(ms("20s"), ge=1000, le=ms("5m"))
    """How long one step may take."""

    @model_validator(mode="after")
    def _together(self) -> MailServer:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        if self.user is not None and self.security == "none" and not _is_here(self.host):
            raise ValueError("a password would travel readable: set security to starttls or tls")
        return self

    def password(self, folder: Path) -> str:
        """What its file holds now; empty without a user. Raises OSError, or ValueError naming the file."""
        if self.password_file is None:
            return ""
        path = folder / self.password_file
        try:
            text = path.read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8") from None
        if not text or not text.isprintable():
            raise ValueError(f"{path} must hold the password and nothing else")
        return text

    def tls(self, folder: Path) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError among them) for a ca_file that cannot be used."""
        return ssl.create_default_context(cafile=str(folder / self.ca_file) if self.ca_file else None)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
