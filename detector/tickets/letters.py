"""Which letters a commit owes to whoever reported the ticket. Pure: the ticket after, and the changes that made it so.

A letter is a row of the outbox on a channel of its own, with its recipient and what a person wrote for them; how it is
worded is decided when it is sent. A restricted ticket's letters are owed too: they say nothing but a link.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from detector.nouns import (
    Asked,
    BridgeOpened,
    Change,
    Closed,
    Merged,
    Opened,
    Published,
    Replied,
    Resolved,
    Ticket,
    Waiting,
)
from detector.tickets.lifecycle import REPORTER
from detector.words import mailbox

CHANNEL = "@mail"
"""What no configured channel can be called."""
LetterEvent = Literal["received", "replied", "question", "resolved", "merged", "closed", "call", "published"]


@dataclass(frozen=True, slots=True)
class Letter:
    """``slug`` is its name in the ticket: a name is owed once. ``text`` is what a person wrote in it, or empty.
    ``branch``: it has a thread of its own, and neither waits for the reporter's letters nor holds them up."""

    event: LetterEvent
    slug: str
    recipient: str
    text: str = ""
    urgency: Literal["notify"] = "notify"
    reason: str = ""
    branch: str = ""


def letters(after: Ticket, changes: Sequence[Change]) -> list[Letter]:
    """What the reporter is written: that it arrived, what people answer and ask, what the public is told, and how it
    ended. Nobody is written to about what they have just said themselves, or who left no mail address. A call is
    written to all who are asked to join."""
    if after.mode == "shadow":
        return []
    to = mailbox(after.reporter.contact) if after.reporter is not None else ""
    return [*(_reporters(after, changes, to) if to else ()), *_guests(after, changes, to)]


def _guests(after: Ticket, changes: Sequence[Change], reporter: str) -> list[Letter]:
    """The invitations to those who are no reporters. Of a confidential ticket there are none: where its call takes
    place is not put into mails."""
    if after.restricted:
        return []
    found = []
    for change in changes:
        if isinstance(change, BridgeOpened):
            guests = {address.casefold(): address for name in change.attendees if (address := mailbox(name))}
            guests.pop(reporter.casefold(), None)
            for known, address in guests.items():
                guest = "guest-" + hashlib.sha256(known.encode()).hexdigest()[:16]
                slug = f"call/{change.at}/{guest}"
                found.append(Letter("call", slug, address, change.text, branch=guest))
    return found


def _reporters(after: Ticket, changes: Sequence[Change], to: str) -> list[Letter]:
    found: list[Letter] = []
    episode = after.reopenings
    for change in changes:
        match change:
            case Opened():
                found.append(Letter("received", "received", to))
            case Replied(at=at, text=text):
                found.append(Letter("replied", f"replied/{at}", to, text))
            case Asked(at=at, questions=questions):
                found.append(Letter("question", f"question/{at}", to, "\n".join(questions)))
            case Waiting(at=at, reason="user", text=text) if not any(isinstance(c, Asked) for c in changes):
                found.append(Letter("question", f"question/{at}", to, text))
            case Resolved(at=at, text=text):
                found.append(Letter("resolved", f"{episode}/resolved/{at}", to, text))
            case BridgeOpened(at=at, text=text):
                found.append(Letter("call", f"call/{at}", to, text))
            case Published(status=status, body=body) if status != "resolved":
                found.append(Letter("published", f"public/{change.at}", to, body))
            case Merged(at=at):
                found.append(Letter("merged", f"{episode}/merged", to))
            case Closed(at=at, who=who) if who != REPORTER:
                found.append(Letter("closed", f"{episode}/closed/{at}", to))
    return found
