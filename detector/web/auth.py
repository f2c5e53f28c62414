"""Who comes in: users of Prometheus's web configuration file, client certificates, ingest tokens; or nobody is asked.

:class:`Access` is the whole policy as one replaceable value holder: a reload prepares a new :class:`_Policy` (may fail)
and swaps it (cannot fail). The middleware answers 401 or leaves ``request[VIEWER]``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from detector.nouns import Viewer
from detector.web.links import is_open
from detector.web.options import TlsServerConfig, WebConfig, WebOptions, is_loopback
from detector.web.problems import Problem

VIEWER: web.RequestKey[Viewer] = web.RequestKey("viewer", Viewer)
ANONYMOUS = "operator"
"""What somebody is called where nobody is asked for a name."""

_CACHED = 256
_WAITING = 64
_TLS_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1, "TLS11": ssl.TLSVersion.TLSv1_1, "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip


class AccessError(Exception):
    """The access options cannot be used; each line names thing, place and remedy."""


def refusal(options: WebOptions, config: WebConfig) -> str | None:
    """Why the daemon may not start with these options, or None."""
    host, _ = options.address
    tls = config.tls_server_config
    asks = bool(config.basic_auth_users) or (tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert")
    if asks or options.allow_anonymous or (host and is_loopback(host)):
        return None
    return (
        f"web.listen: {options.listen} can be reached from other machines, and nobody is asked for a password. Name a "
        "web.config_file with basic_auth_users (`htpasswd -nBC 10 NAME` makes a line), listen on 127.0.0.1, or set "
        "web.allow_anonymous: true"
    )


@dataclass(frozen=True)
class _Policy:
    users: Mapping[str, str]
    tokens: Mapping[str, bytes]
    """SHA-256 of each token, by the sender's name: compared in constant time whatever their lengths."""


class Passwords:
    """Checks passwords against bcrypt hashes in threads; what was once right is remembered under a secret of the
    process, so that a sender with basic auth costs one hash and not one a second."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._threads = asyncio.Semaphore(2)
        self._waiting = 0

    async def check(self, users: Mapping[str, str], name: str, password: str) -> bool:
        """Whether ``password`` is ``name``'s; as slow for a user that does not exist as for one that does."""
        known = name in users
        # Somebody's hash stands in for a missing one, for its cost; the outcome of that is thrown away.
        hashed = users[name] if known else next(iter(users.values()))
        # bcrypt reads 72 bytes; Go's and Apache's implementations cut there, so does this.
        raw = password.encode()[:72]
        tag = hmac.digest(self._secret, "\0".join((name, hashed)).encode() + b"\0" + password.encode(), "sha256")
        if known and tag in self._right:
            self._right.move_to_end(tag)
            return True
        if self._waiting >= _WAITING:
            raise Problem(503, "Too many passwords wait to be checked; try again.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._threads:
                right = await asyncio.to_thread(bcrypt.checkpw, raw, hashed.encode())
        finally:
            self._waiting -= 1
        if right and known:
            self._right[tag] = None
            while len(self._right) > _CACHED:
                self._right.popitem(last=False)
        return right and known


class Access:
    """The doors as configured. ``base``: the folder that relative paths start from (of the web configuration file)."""

    def __init__(self, options: WebOptions, config: WebConfig | None = None, base: Path = Path()) -> None:
        self._policy = self.prepare(options, config or WebConfig(), base)
        self.passwords = Passwords()

    @property
    def users(self) -> Mapping[str, str]:
        return self._policy.users

    @property
    def tokens(self) -> Mapping[str, bytes]:
        return self._policy.tokens

    @staticmethod
    def prepare(options: WebOptions, config: WebConfig, base: Path) -> _Policy:
        """Read what the options name; raises AccessError and changes nothing."""
        if reason := refusal(options, config):
            raise AccessError(reason)
        tokens = {}
        for token in options.ingest_tokens:
            if token.token is not None:
                text = token.token.get_secret_value()
            else:
                path = base / (token.token_file or "")
                try:
                    text = path.read_text("utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise AccessError(f"web.ingest_tokens.{token.name}: {path} cannot be read: {error}") from None
                if len(text) < 8:
                    raise AccessError(f"web.ingest_tokens.{token.name}: {path} must hold at least 8 characters")
            tokens[token.name] = hashlib.sha256(text.encode()).digest()
        return _Policy(dict(config.basic_auth_users), tokens)

    def commit(self, prepared: _Policy) -> None:
        """Let ``prepared`` decide from the next request on."""
        self._policy = prepared


def tls(config: WebConfig, base: Path) -> ssl.SSLContext | None:
    """The TLS of the listener, or None for plain HTTP; raises AccessError naming the file."""
    options = config.tls_server_config
    if options is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS[options.min_version]
    context.maximum_version = _TLS_VERSIONS[options.max_version]
    try:
        context.load_cert_chain(base / options.cert_file, base / options.key_file)
    except (OSError, ssl.SSLError) as error:
        place = f"{base / options.cert_file} and {base / options.key_file}"
        raise AccessError(f"tls_server_config: {place} cannot be used: {error}") from None
    if options.cipher_suites:
        try:
            context.set_ciphers(":".join(options.cipher_suites))
        except ssl.SSLError:
            suites = ", ".join(options.cipher_suites)
            raise AccessError(f"tls_server_config.cipher_suites: OpenSSL knows none of {suites}") from None
    _client_certificates(context, options, base)
    return context


def _client_certificates(context: ssl.SSLContext, options: TlsServerConfig, base: Path) -> None:
    if options.client_auth_type not in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert"):
        return
    required = options.client_auth_type == "RequireAndVerifyClientCert"
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    try:
        context.load_verify_locations(base / (options.client_ca_file or ""))
    except (OSError, ssl.SSLError) as error:
        raise AccessError(f"tls_server_config.client_ca_file: {options.client_ca_file}: {error}") from None


def middleware(access: Access, ingest: frozenset[str]) -> Middleware:
    """Let in whoever may come. ``ingest``: the paths whose POST also takes a token."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[VIEWER] = await _viewer(request, access, ingest)
        return await handler(request)

    return guard


async def _viewer(request: web.Request, access: Access, ingest: frozenset[str]) -> Viewer:
    if is_open(request.rel_url.path):
        return Viewer(ANONYMOUS)  # a signed link is looked at by its page
    users, tokens = access.users, access.tokens
    sending = request.method in ("POST", "PUT") and request.rel_url.path in ingest
    if not users and not (tokens and sending):
        return Viewer(_certificate_name(request) or ANONYMOUS)
    header = request.headers.get("Authorization", "")
    scheme, _, credentials = header.partition(" ")
    if sending and scheme.lower() == "bearer":
        digest = hashlib.sha256(credentials.strip().encode("utf-8", "surrogateescape")).digest()
        # Every token is looked at, so that the time says nothing about which one came close.
        matches = [name for name, expected in tokens.items() if hmac.compare_digest(digest, expected)]
        if matches:
            return Viewer(matches[0])
    if users and scheme.lower() == "basic":
        name, password = _basic(credentials)
        if await access.passwords.check(users, name, password):
            return Viewer(name)
    raise _unauthorized(sending and bool(tokens), bool(users))


def _basic(credentials: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _unauthorized(bearer: bool, basic: bool) -> Problem:
    ways = [way for way, open_ in (("a bearer token", bearer), ("a user's name and password", basic)) if open_]
    challenge = ", ".join(
        way for way, open_ in (('Basic realm="detector", charset="UTF-8"', basic), ('Bearer realm="detector"', bearer))
        if open_
    )  # fmt: skip
    return Problem(401, f"This needs {' or '.join(ways)}.", headers={"WWW-Authenticate": challenge})


def _certificate_name(request: web.Request) -> str:
    """The common name of a verified client certificate, else empty."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""
