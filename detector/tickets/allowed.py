"""What acts share: the refusal, and the checks before a change."""

from __future__ import annotations

from detector.nouns import Ticket
from detector.tickets.lifecycle import ENDED, LONGEST_TEXT


class NotAllowed(Exception):
    """What was asked cannot be done to this ticket; the message says why, and what can."""


class NoSuchTicket(LookupError):
    """There is no such ticket for this viewer."""


def alive(ticket: Ticket, verb: str) -> None:
    """Raises where the ticket has ended."""
    if ticket.state in ENDED:
        remedy = f"see {ticket.merged_into}" if ticket.state == "merged" else "reopen it first"
        raise NotAllowed(f"{ticket.key} is {ticket.state} and cannot be {verb}: {remedy}")


def cut_text(text: str) -> str:
    return text.strip()[:LONGEST_TEXT]


def cut_line(text: str) -> str:
    return " ".join(text.split())[:200]
