"""A mail as it travels (RFC 5322, MIME) to a value; pure, and never raises on any bytes.

In: bytes, at most :data:`MAIL_BYTES` of which are looked at. Out: :class:`Mail`, or :class:`Rejected` with the reason.
Depth, parts and headers are bounded before anything is taken apart; attachments are named, never kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from encodings import normalize_encoding
from encodings.aliases import aliases

from detector.ingest.mail_text import from_html, own_words
from detector.words import mailbox, plain

MAIL_BYTES = 2 * 1024 * 1024
"""Text comes before attachments: what lies beyond is not looked at."""
_HEADER_BYTES = 128 * 1024
_HEADER_VALUE = 8 * 1024
_HEADERS = 500
_TEXT_BYTES = 512 * 1024
_TEXT = 9_000
_DEPTH = 8
_PARTS = 64
_NAMED = 20
_THREAD = 50
_BLANK = re.compile(rb"\r?\n\r?\n|\r\r|\A\r?\n")
_ID = re.compile(r"<([^<>\s\x00-\x20\x7f]{1,250})>")
_ADDRESS = re.compile(r"[^\s<>()\[\]\\,;:@\"'{}\x00-\x1f\x7f]{1,64}@[^\s<>()\[\]\\,;:@\"'{}\x00-\x1f\x7f]{1,253}")
_ANGLED = re.compile(r"<\s*([^<>\s]{3,320})\s*>\s*$")
_MACHINE = re.compile(r"(?i)(mailer-daemon|bounces?([+=-].*)?)@")
_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})
_RECIPIENTS = ("to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "resent-to")
_CHARSETS = frozenset({*aliases, *aliases.values(), "utf_8_sig"}) - {
    "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "unicodeescape",
}  # fmt: skip
"""Only these are looked up: Python remembers every name that it was ever asked for."""
_PREFIX = re.compile(r"(?i)^\s*(?:(?:re|aw|sv|vs|fwd?|wg|tr|rv)\s*(?:\[\d+\])?\s*:\s*|\[INC-\d{1,12}\]\s*)+")
_KEY = re.compile(r"\[(INC-\d{1,12})\]")


@dataclass(frozen=True, slots=True)
class Rejected:
    """It cannot be used; ``reason`` names the thing and the remedy."""

    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a mail: opened | answered | duplicate | automatic | rejected; ``reason`` of the last two."""

    result: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """``subject`` without Re: and our number, which is ``named``; ``thread``: the Message-IDs that it answers, oldest
    first; ``sent_at`` (ms): its Date, if it has one; ``recipients``: every address that it was sent or delivered to;
    ``automatic``: why no person wrote it, or empty; ``text``: what its author wrote, with attachments named below."""

    sender: str
    name: str
    subject: str
    text: str
    message_id: str
    thread: tuple[str, ...] = ()
    named: str | None = None
    sent_at: int | None = None
    recipients: frozenset[str] = frozenset()
    automatic: str = ""


def parse(raw: bytes, envelope: Sequence[str] = ()) -> Mail | Rejected:
    """``envelope``: further recipients, as whoever hands the mail over knows them."""
    cut = len(raw) > MAIL_BYTES
    head, body = _split(raw[:MAIL_BYTES])
    sender, name = _sender(_header(head, "from"))
    if not sender:
        return Rejected("From: there is no mail address in it, so that nobody could be answered")
    subject = _decoded(_header(head, "subject"))
    named = _KEY.search(subject)
    answers = _ids(f"{_header(head, 'references')} {_header(head, 'in-reply-to')}")
    walk = _Walk()
    written = walk.text(head, body, 0)
    # What was forwarded to us is what it is about: only an answer repeats what we know.
    is_answer = bool(answers) and not re.match(r"(?i)\s*(fwd?|wg|tr|rv)\s*:", subject)
    text = own_words(written, is_answer)
    mail_id = _ids(_header(head, "message-id"))
    return Mail(
        sender=sender,
        name=plain(name, 200) or sender.partition("@")[0],
        subject=plain(_PREFIX.sub("", subject), 200),
        text=_with_attachments(text, walk.attachments, cut or walk.cut),
        message_id=mail_id[0] if mail_id else _made_id(sender, subject, _header(head, "date"), text),
        thread=answers[-_THREAD:],
        named=named[1] if named else None,
        sent_at=_date(_header(head, "date")),
        recipients=_recipients(head, envelope),
        automatic=_automatic(head, sender),
    )


# --- headers ----------------------------------------------------------------------------------------------------------


def _split(raw: bytes) -> tuple[Message, bytes]:
    """Headers and body. Headers beyond their limit are not read; what follows them is no body either."""
    found = _BLANK.search(raw, 0, _HEADER_BYTES)
    block, body = (raw[: found.start()], raw[found.end() :]) if found else (raw[:_HEADER_BYTES], b"")
    head: Message = Message()
    try:
        for name, value in BytesHeaderParser().parsebytes(block).raw_items():
            # Whatever reads a header further is quadratic in its length.
            head[name] = str(value)[:_HEADER_VALUE]
            if len(head) >= _HEADERS:
                break
    except (MessageError, ValueError, LookupError):
        return head, body
    return head, body


def _header(head: Message, name: str) -> str:
    """The first header of the name, unfolded; RFC 2047 words as they are."""
    values = _headers(head, name)
    return values[0] if values else ""


def _headers(head: Message, name: str) -> list[str]:
    return [_eight_bit(value) for key, value in head.raw_items() if key.lower() == name][:20]


def _eight_bit(value: str) -> str:
    """Bytes beyond ASCII in a header are UTF-8, or what most old mailers meant."""
    raw = str(value)[:_HEADER_VALUE].encode("utf-8", "surrogateescape")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    return " ".join(text.split())


def _decoded(value: str) -> str:
    """RFC 2047 words in ``value`` decoded; as it is where they are broken."""
    try:
        parts = decode_header(value[:2000])
    except (MessageError, ValueError):
        return value
    return "".join(part if isinstance(part, str) else _decode(part, charset or "utf-8") for part, charset in parts)


def _sender(value: str) -> tuple[str, str]:
    """Address and display name. The address is found before anything is decoded: an encoded name cannot pose as it."""
    angled = _ANGLED.search(value)
    if angled is not None:
        return mailbox(angled[1]), _decoded(value[: angled.start()].strip().strip('"').strip())
    bare = _ADDRESS.search(value)
    if bare is None:
        return "", ""
    comment = re.search(r"\(([^()]*)\)", value)  # the old way: kim@example.org (Kim)
    return mailbox(bare[0]), _decoded(comment[1]) if comment else ""


def _ids(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_ID.findall(value)))


def _made_id(*facts: str) -> str:
    """A name for a mail that brings none: the same mail, the same name."""
    digest = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass"))
    return f"{digest.hexdigest()}@no-message-id"


def _date(value: str) -> int | None:
    try:
        at = parsedate_to_datetime(value)
        return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()) * 1000
    except (ValueError, TypeError, IndexError, OverflowError, MessageError):
        return None


def _recipients(head: Message, envelope: Sequence[str]) -> frozenset[str]:
    values = [value for name in _RECIPIENTS for value in _headers(head, name)]
    values += [value[:_HEADER_VALUE] for value in envelope[:_PARTS]]
    return frozenset(address.casefold() for value in values for address in _ADDRESS.findall(value))


def _automatic(head: Message, sender: str) -> str:
    """Why no person wrote it (RFC 3834 and what came before it), or empty."""
    submitted = _header(head, "auto-submitted").partition(";")[0].strip().lower()
    if submitted and submitted != "no":
        return f"Auto-Submitted: {plain(submitted, 40)}"
    if (precedence := _header(head, "precedence").strip().lower()) in _BULK:
        return f"Precedence: {precedence}"
    if any(value.strip() == "<>" for value in _headers(head, "return-path")):
        return "an empty Return-Path"
    for name in ("x-autoreply", "x-autorespond"):
        if _headers(head, name):
            return name.title()
    if _content_type(head) == "multipart/report":
        return "a delivery report"
    return "a mailer's address" if _MACHINE.match(sender) else ""


# --- bodies -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """One walk over the parts, which counts them."""

    left: int = _PARTS
    attachments: list[str] = field(default_factory=list)
    cut: bool = False

    def text(self, head: Message, body: bytes, depth: int) -> str:
        """The text below one part; plain text where the sender offers a choice."""
        kind = _content_type(head)
        boundary = _boundary(head) if kind.startswith("multipart/") else b""
        if not boundary:
            return self._leaf(head, body, kind, depth)
        if depth >= _DEPTH:
            self.cut = True
            return ""
        texts: list[tuple[str, str]] = []
        for raw in _parts(body, boundary):
            if self.left <= 0:
                self.cut = True
                break
            self.left -= 1
            part, inner = _split(raw)
            texts.append((_content_type(part), self.text(part, inner, depth + 1)))
        said = [(inner_kind, text) for inner_kind, text in texts if text.strip()]
        if kind == "multipart/alternative":
            plain_first = sorted(said, key=lambda one: one[0] != "text/plain")
            return plain_first[0][1] if plain_first else ""
        return "\n".join(text for _, text in said)

    def _leaf(self, head: Message, body: bytes, kind: str, depth: int) -> str:
        name = _filename(head)
        attached = _header(head, "content-disposition").lower().startswith("attachment")
        if depth and (attached or name or not kind.startswith("text/")):
            if len(self.attachments) < _NAMED:
                self.attachments.append(name or kind)
            return ""
        if not kind.startswith(("text/", "multipart/")):
            self.attachments.append(name or kind)
            return ""
        if len(body) > _TEXT_BYTES:
            body, self.cut = body[:_TEXT_BYTES], True
        text = _decode(_transferred(head, body), _charset(head))
        return from_html(text) if kind == "text/html" else text


def _parts(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What lies between the boundary's lines; the last one may lack its end."""
    line = re.compile(rb"(?:\A|(?<=\n))--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    start: int | None = None
    for found in line.finditer(body):
        if start is not None:
            yield body[start : found.start()]
        if found[1]:
            return
        start = found.end()
    if start is not None:
        yield body[start:]


def _transferred(head: Message, body: bytes) -> bytes:
    encoding = _header(head, "content-transfer-encoding").strip().lower()
    if encoding == "base64":
        clean = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
        try:
            return base64.b64decode(clean[: len(clean) // 4 * 4] + _rest(clean))
        except binascii.Error:
            return b""
    return quopri.decodestring(body) if encoding == "quoted-printable" else body


def _rest(clean: bytes) -> bytes:
    """What is left behind whole groups of four, filled up; a single letter holds not even a byte."""
    rest = clean[len(clean) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _decode(raw: bytes, charset: str) -> str:
    """In the charset that is said, else UTF-8, else as most old mailers meant it."""
    for name in (charset, "utf-8"):
        known = normalize_encoding(name[:40]).lower()
        if known not in _CHARSETS:
            continue
        try:
            return raw.decode(known)
        except (LookupError, ValueError):  # among the aliases are some that are no text
            continue
    return raw.decode("cp1252", "replace")


def _content_type(head: Message) -> str:
    try:
        return head.get_content_type()
    except (ValueError, LookupError, TypeError, AttributeError):
        return "text/plain"


def _boundary(head: Message) -> bytes:
    try:
        boundary = head.get_boundary() or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return b""
    return boundary[:200].encode("utf-8", "surrogateescape")


def _charset(head: Message) -> str:
    try:
        return head.get_content_charset() or "utf-8"
    except (ValueError, LookupError, TypeError, AttributeError):
        return "utf-8"


def _filename(head: Message) -> str:
    try:
        return plain(_decoded(head.get_filename() or ""), 120)
    except (ValueError, LookupError, TypeError, AttributeError):
        return "unnamed"


def _with_attachments(text: str, attachments: Sequence[str], cut: bool) -> str:
    lines = [text[:_TEXT]]
    if cut or len(text) > _TEXT:
        lines.append("[The mail goes on; the rest was not kept.]")
    if attachments:
        lines.append(f"[Attached, and not kept: {', '.join(attachments)}]")
    return "\n".join(line for line in lines if line)[:10_000]
