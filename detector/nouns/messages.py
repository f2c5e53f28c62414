"""Messages owed, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detector.nouns.tickets import Ticket


@dataclass(frozen=True, slots=True)
class Notification:
    """A message owed to one channel, as claimed from the outbox.

    ``dedup_key`` is the same for every message of one ticket on one channel (its thread, PagerDuty's dedup_key);
    ``idempotency_key`` is the message's own: a receiver that has seen it may drop it. ``event``: opened | worse |
    changed | acknowledged | resolved | help | change | report | test. ``urgency``: page | notify. ``thread``: the
    receipt of the thread's first message on that channel, if any. ``recipient``: the person who is called; of a letter,
    to whom, with ``text``: what a person wrote in it. ``also``: tickets of further calls that this one stands for.
    ``memo``: (subject, text) of a message to a person that is about no ticket.
    """

    id: int
    ticket: Ticket
    channel: str
    event: str
    urgency: Literal["page", "notify"]
    reason: str
    dedup_key: str
    idempotency_key: str
    created_at: int
    not_before: int
    attempts: int
    thread: str = ""
    recipient: str = ""
    text: str = ""
    also: tuple[Ticket, ...] = ()
    memo: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A page of one person on ``channel``, ``delay`` ms after it was owed, unless somebody has the ticket by then."""

    channel: str
    who: str
    delay: int = 0


# What became of one attempt to deliver a notification, for the outbox to keep. ``reason`` is a short code from a closed
# list (it becomes a metric label), never text of the other side.


@dataclass(frozen=True, slots=True)
class Sent:
    """Delivered. ``receipt`` is the receiver's word for it (an id, a dedup_key), at most 255 characters, or empty."""

    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not delivered; try again at ``at`` (ms)."""

    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Never to be delivered: refused for good, or given up after the last retry. Stays visible as a dead letter."""

    reason: str


Outcome = Sent | Retry | Dead
