"""What whoever is called may say beside taking it: it is not theirs, and who should help. Pure, as in ``acts``."""

from __future__ import annotations

from detector.nouns import Change, HelpAsked, Returned, Ticket
from detector.tickets.allowed import NotAllowed, alive, cut_text


def give_back(ticket: Ticket, who: str, now: int, reason: str = "") -> list[Change]:
    """It is not theirs, with the reason: the next step of the policy is called at once."""
    alive(ticket, "given back")
    if ticket.assignee not in (None, who):
        raise NotAllowed(f"{ticket.key} is held by {ticket.assignee}: only they can give it back")
    if not reason.strip():
        raise NotAllowed("say why it is not yours: whoever is called next reads it")
    return [Returned(ticket.key, now, who, assignee=ticket.assignee or "", reason=cut_text(reason))]


def ask_help(ticket: Ticket, who: str, now: int, person: str = "", text: str = "") -> list[Change]:
    """A person is called as well; the ticket stays with whoever has it. That the person exists is the caller's to
    check."""
    alive(ticket, "helped with")
    if not person.strip():
        raise NotAllowed("say who is to help")
    if person == ticket.assignee:
        raise NotAllowed(f"{person} holds {ticket.key} already")
    return [HelpAsked(ticket.key, now, who, person=person.strip(), text=cut_text(text))]
