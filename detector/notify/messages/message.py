"""A message, worded once and in every format that channels take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A picture of the evidence, or what a letter holds beside its words; ``alt`` says in one sentence what it
    shows."""

    name: str
    mime: str
    content: bytes
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a letter to one person has besides its words. ``message_id`` and ``references`` (oldest first) without angle
    brackets; ``automatic``: no person wrote it, and no machine should answer; ``unsubscribe``: an address whose POST
    ends it (RFC 8058)."""

    recipient: str
    message_id: str
    references: tuple[str, ...] = ()
    automatic: bool = True
    reply_to: str = ""
    unsubscribe: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """``subject``: one line of at most 120 characters; ``title``: the same without priority, service and time.

    ``text``, ``html`` and ``markdown`` say the same in full, the subject first in each. ``dedup_key`` is the ticket's
    thread, ``idempotency_key`` this message's own name, the same in every attempt. ``over``: the ticket needs nobody
    any more. ``thread``: the receipt of the thread's first message, if any. ``facts``: the incident as JSON.
    ``envelope``: of a letter to a reporter. ``changes``: of event ``change``, what a commit changed.
    """

    subject: str
    title: str
    text: str
    html: str
    markdown: str
    link: str
    dedup_key: str
    idempotency_key: str
    event: str
    urgency: Literal["page", "notify"]
    severity: Severity
    created_at: int
    key: str = ""
    service: str = ""
    category: str = ""
    over: bool = False
    thread: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    envelope: Envelope | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    act: str = ""
    """Where the person who is called opens it and takes it, without a login; a secret of theirs."""

    @property
    def brief(self) -> str:
        """What is sent when the whole is refused: the subject and the way to the rest."""
        return f"{self.subject}\n{self.act or self.link}".rstrip()
