"""Options of the web room: where it listens, who may come in, how much it reads.

``config_file`` is Prometheus's web configuration file (https://prometheus.io/docs/prometheus/latest/configuration/https/);
its model is :class:`WebConfig`. Both are read by ``config``, which knows YAML; what they mean is decided here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from detector.options import Options, Size, parse_size
from detector.web.users import SessionOptions, UserOptions, unfit


def split_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:9797``, ``[::1]:9797`` or ``:9797`` (every address) to host and port; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, such as [::1]:9797")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address such as 127.0.0.1:9797 or :9797")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached from this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether listening on ``host`` is listening on every address."""
    return host in ("", "0.0.0.0", "::")


def _listen(text: str) -> str:
    split_listen(text)
    return text


def _external(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not an address such as https://detector.example.org")
    if parts.path not in ("", "/"):
        raise ValueError(f"{text!r}: the detector is served at the root of a host, not below a path")
    return f"{parts.scheme}://{parts.netloc}"


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?", text):
        raise ValueError(f"{text!r} is not a host name such as detector.example.org (without scheme and port)")
    return text.strip("[]").lower()


class TokenOptions(Options):
    """A bearer token that may send samples, alerts and reports, and nothing else."""

    name: str = Field(min_length=1, description="What the sender is called in logs and metrics.")
    token: SecretStr | None = Field(None, description="The token itself; better: token_file.")
    token_file: str | None = Field(None, description="A file that holds the token; read at start and at reload.")

    @model_validator(mode="after")
    def _one(self) -> TokenOptions:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("exactly one of token and token_file")
        if self.token is not None and len(self.token.get_secret_value()) < 8:
            raise ValueError("token must have at least 8 characters")
        return self


class WebLimits(Options):
    """How much of a request is read before it is refused."""

    body: Size = Field(parse_size("64KiB"), ge=1024, description="Body of a desk action, a form or a query.")
    events_clients: int = Field(200, ge=1, description="Pages that may listen to live events at once.")
    events_queue: int = Field(100, ge=8, description="Events that wait for one slow page before it must read anew.")


class WebOptions(Options):
    """Where the detector listens and who may come in."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:9797", description="HOST:PORT; other addresses than loopback need authentication.")  # fmt: skip
    external_url: Annotated[str, AfterValidator(_external)] | None = Field(
        None, description="How people reach it; used in links of messages. Default: http://LISTEN.")  # fmt: skip
    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), description="Further names by which it may be addressed (the Host header).")  # fmt: skip
    config_file: str | None = Field(
        None, description="Prometheus's web configuration file: TLS and basic_auth_users for everything.")  # fmt: skip
    users: tuple[UserOptions, ...] = Field((), description="Who may log in, and what they may do then.")
    sessions: SessionOptions = SessionOptions()
    ingest_tokens: tuple[TokenOptions, ...] = Field((), description="Bearer tokens for senders.")
    allow_anonymous: bool = Field(
        False, description="Listen on other addresses than loopback without a login.")  # fmt: skip
    limits: WebLimits = WebLimits()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; the host is empty for every address."""
        return split_listen(self.listen)

    @property
    def url(self) -> str:
        """The address for links, without a slash at the end."""
        if self.external_url:
            return self.external_url
        host, port = self.address
        host = "localhost" if is_wildcard(host) else host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @model_validator(mode="after")
    def _names(self) -> WebOptions:
        names = [token.name for token in self.ingest_tokens]
        if len(set(names)) < len(names):
            raise ValueError("ingest_tokens: every token needs a name of its own")
        users = [user.name for user in self.users]
        if len(set(users)) < len(users):
            raise ValueError("users: every user needs a name of their own")
        return self


# --- Prometheus's web configuration file --------------------------------------------------------------------------

ClientAuth = Literal[
    "NoClientCert", "RequestClientCert", "RequireClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]  # fmt: skip
TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


class TlsServerConfig(Options):
    """``tls_server_config``: paths are relative to the file they stand in."""

    cert_file: str
    key_file: str
    client_auth_type: ClientAuth = "NoClientCert"
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: tuple[str, ...] = Field((), description="OpenSSL names, for TLS 1.2 and below.")
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _client_ca(self) -> TlsServerConfig:
        verifies = self.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
        if verifies and not self.client_ca_file:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if self.client_auth_type in ("RequestClientCert", "RequireClientCert", "RequireAnyClientCert"):
            raise ValueError(
                f"client_auth_type {self.client_auth_type} checks no certificate: "
                "use RequireAndVerifyClientCert or VerifyClientCertIfGiven"
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        return self


class HttpServerConfig(Options):
    """``http_server_config``: accepted so that one file serves both; HTTP/2 is not spoken."""

    http2: bool = True
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> HttpServerConfig:
        allowed = {
            "Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection",
            "Strict-Transport-Security",
        }  # fmt: skip
        if unknown := sorted(set(self.headers) - allowed):
            raise ValueError(f"header {unknown[0]!r} is not allowed; allowed: {', '.join(sorted(allowed))}")
        if any("\r" in value or "\n" in value for value in self.headers.values()):
            raise ValueError("a header's value is one line")
        return self


class WebConfig(Options):
    """The whole web configuration file."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: dict[str, str] = Field(default_factory=dict, description="Name to bcrypt hash.")

    @model_validator(mode="after")
    def _hashes(self) -> WebConfig:
        for name, value in self.basic_auth_users.items():
            if not name or ":" in name:
                raise ValueError(f"basic_auth_users: {name!r} is not a user's name (no colon, not empty)")
            if why := unfit(name, value):
                raise ValueError(f"basic_auth_users.{name}: {why}")
        return self
