"""A small IMAP server on loopback that holds to RFC 3501 for CAPABILITY, NOOP, STARTTLS, LOGIN, SELECT, SEARCH, FETCH,
STORE, CLOSE and LOGOUT, with and without UID, and refuses what a real one refuses: commands in the wrong state, wrong
passwords, unknown folders, keys, flags and items.
"""

from __future__ import annotations

import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\([^)]*\))|(\S+)')
_FLAGS = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"}
_SEARCH: dict[str, Callable[[set[str]], bool]] = {
    "ALL": lambda flags: True, "UNSEEN": lambda flags: "\\Seen" not in flags, "SEEN": lambda flags: "\\Seen" in flags,
    "UNDELETED": lambda flags: "\\Deleted" not in flags, "FLAGGED": lambda flags: "\\Flagged" in flags,
}  # fmt: skip
_BODY = re.compile(r"BODY(\.PEEK)?\[\](?:<(\d+)\.([1-9]\d*)>)?", re.IGNORECASE)


@dataclass
class Stored:
    uid: int
    raw: bytes
    flags: set[str] = field(default_factory=set)


@dataclass
class Box:
    """One user's only folder, INBOX. ``breaks_at``: the connection is lost before this command is answered, once."""

    user: str = "desk"
    password: str = "secret"
    tls: ssl.SSLContext | None = None
    needs_starttls: bool = False
    mails: list[Stored] = field(default_factory=list)
    breaks_at: str = ""
    lies: bytes = b""
    """Sent instead of the answer to FETCH."""
    log: list[str] = field(default_factory=list)
    port: int = 0

    def deliver(self, raw: bytes, *flags: str) -> Stored:
        mail = Stored(len(self.mails) + 101, raw, set(flags))
        self.mails.append(mail)
        return mail


class _Session(socketserver.StreamRequestHandler):
    timeout = 30

    @property
    def box(self) -> Box:
        return self.server.box  # type: ignore[attr-defined, no-any-return]

    def handle(self) -> None:
        self.state, self.secure = "not authenticated", False
        with suppress(OSError, ValueError):
            self.say("* OK IMAP4rev1 ready")
            while line := self.rfile.readline(8192):
                if not line.endswith(b"\r\n"):
                    self.say("* BAD the line is too long")
                    return
                if not self.serve(line[:-2]):
                    return

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def serve(self, line: bytes) -> bool:
        tag, _, rest = line.partition(b" ")
        words = [re.sub(rb"\\(.)", rb"\1", a) if a else b or c for a, b, c in _TOKEN.findall(rest)]
        if not re.fullmatch(rb"[A-Za-z0-9.]+", tag) or not words:
            self.say("* BAD a command needs a tag and a name")
            return True
        name, arguments = words[0].decode().upper(), [word.decode() for word in words[1:]]
        uid = name == "UID" and bool(arguments)
        if uid:
            name, arguments = arguments[0].upper(), arguments[1:]
        self.box.log.append(name)
        if self.box.breaks_at == name:
            self.box.breaks_at = ""
            return False
        answer = self.answer(name, arguments, uid)
        self.say(f"{tag.decode()} {answer}")
        if name == "STARTTLS" and answer.startswith("OK"):
            self.encrypt()
        return name != "LOGOUT"

    def encrypt(self) -> None:
        assert self.box.tls is not None
        self.connection = self.box.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")  # type: ignore[assignment]
        self.secure = True

    def answer(self, name: str, arguments: list[str], uid: bool) -> str:
        method = getattr(self, f"do_{name.lower()}", None)
        allowed = {
            "CAPABILITY": "any", "NOOP": "any", "LOGOUT": "any", "STARTTLS": "not authenticated",
            "LOGIN": "not authenticated", "SELECT": "authenticated", "SEARCH": "selected", "FETCH": "selected",
            "STORE": "selected", "CLOSE": "selected",
        }  # fmt: skip
        if method is None or name not in allowed or (uid and name not in ("SEARCH", "FETCH", "STORE")):
            return f"BAD {name} is not known"
        fits = allowed[name] in ("any", self.state) or (allowed[name] == "authenticated" and self.state == "selected")
        if not fits:
            return f"BAD {name} is not allowed while {self.state}"
        return str(method(arguments, uid))

    # --- any state, and before the login --------------------------------------------------------------------------

    def do_capability(self, arguments: list[str], uid: bool) -> str:
        offers = " STARTTLS" if self.box.tls is not None and not self.secure else ""
        disabled = " LOGINDISABLED" if self.box.needs_starttls and not self.secure else ""
        self.say(f"* CAPABILITY IMAP4rev1{offers}{disabled}")
        return "OK CAPABILITY completed"

    def do_noop(self, arguments: list[str], uid: bool) -> str:
        return "OK NOOP completed"

    def do_logout(self, arguments: list[str], uid: bool) -> str:
        self.say("* BYE logging out")
        return "OK LOGOUT completed"

    def do_starttls(self, arguments: list[str], uid: bool) -> str:
        return "OK begin" if self.box.tls is not None and not self.secure else "BAD no TLS here"

    def do_login(self, arguments: list[str], uid: bool) -> str:
        if self.box.needs_starttls and not self.secure:
            return "NO [PRIVACYREQUIRED] encrypt first"
        if len(arguments) != 2:
            return "BAD LOGIN needs a name and a password"
        if arguments != [self.box.user, self.box.password]:
            return "NO [AUTHENTICATIONFAILED] name or password is wrong"
        self.state = "authenticated"
        return "OK LOGIN completed"

    # --- the folder -----------------------------------------------------------------------------------------------

    def do_select(self, arguments: list[str], uid: bool) -> str:
        if len(arguments) != 1:
            return "BAD SELECT needs a folder"
        if arguments[0].upper() != "INBOX":
            self.state = "authenticated"
            return "NO [NONEXISTENT] no such folder"
        self.state = "selected"
        self.say(f"* {len(self.box.mails)} EXISTS")
        self.say("* 0 RECENT")
        self.say(f"* FLAGS ({' '.join(sorted(_FLAGS))})")
        self.say("* OK [UIDVALIDITY 1] valid")
        return "OK [READ-WRITE] SELECT completed"

    def do_search(self, arguments: list[str], uid: bool) -> str:
        if not arguments or any(key.upper() not in _SEARCH for key in arguments):
            return "BAD unknown search key"
        keys = [_SEARCH[key.upper()] for key in arguments]
        found = [n for n, mail in enumerate(self.box.mails, 1) if all(key(mail.flags) for key in keys)]
        self.say(" ".join(["* SEARCH", *(str(self.box.mails[n - 1].uid if uid else n) for n in found)]))
        return "OK SEARCH completed"

    def chosen(self, text: str, uid: bool) -> list[tuple[int, Stored]] | None:
        if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
            return None
        wanted = {int(n) for n in text.split(",")}
        return [(n, mail) for n, mail in enumerate(self.box.mails, 1) if (mail.uid if uid else n) in wanted]

    def do_fetch(self, arguments: list[str], uid: bool) -> str:
        mails = self.chosen(arguments[0], uid) if len(arguments) == 2 else None
        item = _BODY.fullmatch(arguments[1].strip("()")) if mails is not None else None
        if mails is None or item is None:
            return "BAD FETCH needs a set and an item"
        for n, mail in mails:
            if self.box.lies:
                self.wfile.write(self.box.lies)
                self.wfile.flush()
                continue
            start, count = int(item[2] or 0), int(item[3] or len(mail.raw))
            part = mail.raw[start : start + count]
            if not item[1]:
                mail.flags.add("\\Seen")
            known = f"UID {mail.uid} " if uid else ""
            at = f"<{start}>" if item[2] else ""
            self.wfile.write(f"* {n} FETCH ({known}BODY[]{at} {{{len(part)}}}\r\n".encode() + part + b")\r\n")
        return "OK FETCH completed"

    def do_store(self, arguments: list[str], uid: bool) -> str:
        mails = self.chosen(arguments[0], uid) if len(arguments) == 3 else None
        flags = set(arguments[2].strip("()").split()) if mails is not None else set()
        if mails is None or not flags <= _FLAGS:
            return "BAD STORE needs a set, an item and flags"
        change = arguments[1].upper().removesuffix(".SILENT")
        if change not in ("+FLAGS", "-FLAGS", "FLAGS"):
            return "BAD unknown item"
        for n, mail in mails:
            mail.flags = {"+": mail.flags | flags, "-": mail.flags - flags}.get(change[0], flags)
            if not arguments[1].upper().endswith(".SILENT"):
                self.say(f"* {n} FETCH (FLAGS ({' '.join(sorted(mail.flags))}))")
        return "OK STORE completed"

    def do_close(self, arguments: list[str], uid: bool) -> str:
        self.box.mails = [mail for mail in self.box.mails if "\\Deleted" not in mail.flags]
        self.state = "authenticated"
        return "OK CLOSE completed"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    box: Box
    wrapped: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.wrapped is not None:
            connection = self.wrapped.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


@contextmanager
def imap_server(box: Box, wrapped: ssl.SSLContext | None = None) -> Iterator[Box]:
    """``box`` served on a free loopback port; ``wrapped``: TLS from the first byte."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.box, server.wrapped = box, wrapped
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
