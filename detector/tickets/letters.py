"""Which letters a commit owes to whoever reported the ticket. Pure: the ticket after, and the changes that made it so.

A letter is a row of the outbox on a channel of its own, with its recipient and what a person wrote for them; how it is
worded is decided when it is sent. A restricted ticket's letters are owed too: they say nothing but a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from detector.nouns import Asked, Change, Closed, Merged, Opened, Replied, Resolved, Ticket, Waiting
from detector.tickets.lifecycle import REPORTER
from detector.words import mailbox

CHANNEL = "@mail"
"""What no configured channel can be called."""
LetterEvent = Literal["received", "replied", "question", "resolved", "merged", "closed"]


@dataclass(frozen=True, slots=True)
class Letter:
    """``slug`` is its name in the ticket: a name is owed once. ``text`` is what a person wrote in it, or empty."""

    event: LetterEvent
    slug: str
    recipient: str
    text: str = ""
    urgency: Literal["notify"] = "notify"
    reason: str = ""


def letters(after: Ticket, changes: Sequence[Change]) -> list[Letter]:
    """What the reporter is written: that it arrived, what people answer and ask, and how it ended. Nobody is written
    to about what they have just said themselves, or who left no mail address."""
    to = mailbox(after.reporter.contact) if after.reporter is not None else ""
    if not to or after.mode == "shadow":
        return []
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
            case Merged(at=at):
                found.append(Letter("merged", f"{episode}/merged", to))
            case Closed(at=at, who=who) if who != REPORTER:
                found.append(Letter("closed", f"{episode}/closed/{at}", to))
    return found
