"""Who may come in: users of the configuration and of Prometheus's web configuration file, client certificates, ingest
tokens; or nobody is asked.

:class:`Access` is the whole policy as one replaceable value holder: a reload prepares a new :class:`_Policy` (may fail)
and swaps it (cannot fail). Who a request comes from is found out in :mod:`detector.web.guard`.
"""

from __future__ import annotations

import asyncio
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

from detector.web.options import TlsServerConfig, WebConfig, WebOptions, is_loopback
from detector.web.problems import Problem
from detector.web.rights import Person

VIEWER: web.RequestKey[Person] = web.RequestKey("viewer", Person)
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
    passwords = config.basic_auth_users or any(u.password_hash or u.password_file for u in options.users)
    if passwords or _certified(config) or options.allow_anonymous or (host and is_loopback(host)):
        return None
    return (
        f"web.listen: {options.listen} can be reached from other machines, and nobody is asked for a password. Name "
        "web.users, or a web.config_file with basic_auth_users (`htpasswd -nBC 10 NAME` makes a line), listen on "
        "127.0.0.1, or set web.allow_anonymous: true"
    )


def _certified(config: WebConfig) -> bool:
    tls = config.tls_server_config
    return tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert"


@dataclass(frozen=True)
class _Policy:
    users: Mapping[str, str]
    """The bcrypt hash of everybody who has a password, by name."""
    people: Mapping[str, Person]
    """What everybody who is known by name may do."""
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
        if self.remembered(users, name, password):
            return True
        # Somebody's hash stands in for a missing one, for its cost; the outcome of that is thrown away.
        hashed = users[name] if known else next(iter(users.values()))
        # bcrypt reads 72 bytes; Go's and Apache's implementations cut there, so does this.
        raw = password.encode()[:72]
        if self._waiting >= _WAITING:
            raise Problem(503, "Too many passwords wait to be checked; try again.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._threads:
                right = await asyncio.to_thread(bcrypt.checkpw, raw, hashed.encode())
        finally:
            self._waiting -= 1
        if right and known:
            self._right[self._tag(name, hashed, password)] = None
            while len(self._right) > _CACHED:
                self._right.popitem(last=False)
        return right and known

    def remembered(self, users: Mapping[str, str], name: str, password: str) -> bool:
        """Whether this was right before, and the password is still the same."""
        if name not in users or (tag := self._tag(name, users[name], password)) not in self._right:
            return False
        self._right.move_to_end(tag)
        return True

    def _tag(self, name: str, hashed: str, password: str) -> bytes:
        return hmac.digest(self._secret, "\0".join((name, hashed)).encode() + b"\0" + password.encode(), "sha256")


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

    def person(self, name: str) -> Person | None:
        """What ``name`` may do; None for whom the configuration does not know."""
        return self._policy.people.get(name)

    def mark(self, name: str) -> str | None:
        """Of ``name``'s password: another one when it changes, and None when it is gone."""
        hashed = self._policy.users.get(name)
        return hashlib.sha256(hashed.encode()).hexdigest()[:32] if hashed is not None else None

    @staticmethod
    def prepare(options: WebOptions, config: WebConfig, base: Path) -> _Policy:
        """Read what the options name; raises AccessError and changes nothing."""
        if reason := refusal(options, config):
            raise AccessError(reason)
        users, people = _people(options, config, base)
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
        return _Policy(users, people, tokens)

    def commit(self, prepared: _Policy) -> None:
        """Let ``prepared`` decide from the next request on."""
        self._policy = prepared


def _people(options: WebOptions, config: WebConfig, base: Path) -> tuple[dict[str, str], dict[str, Person]]:
    """Hashes and rights by name. Who is in the web configuration file alone may do all but see restricted tickets."""
    users = dict(config.basic_auth_users)
    people = {name: Person(name) for name in users}
    for user in options.users:
        place = f"web.users.{user.name}"
        try:
            hashed = user.hash(base)
        except ValueError as error:
            raise AccessError(f"{place}: {error}") from None
        if hashed is not None and user.name in users:
            raise AccessError(f"{place}: the password is in basic_auth_users too; keep one of the two")
        if hashed is None and user.name not in users and not _certified(config):
            raise AccessError(f"{place} has no password: add password_hash (`htpasswd -nBC 10 {user.name}` makes it)")
        if hashed is not None:
            users[user.name] = hashed
        people[user.name] = user.person
    return users, people


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
