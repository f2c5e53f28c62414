"""Mails that came in, by Message-ID; and the one rule about letters that needs the database: no storm of confirmations.

A second delivery of a mail is known by its Message-ID, and an answer finds its ticket by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select

from detector.nouns import Change, Ticket
from detector.tickets import schema
from detector.tickets.letters import CHANNEL, Letter, letters

CONFIRMED_WITHIN = 3_600_000
MOST_CONFIRMED = 10
"""Confirmations to one address within the hour: what answers each with a new mail is a machine that does not say so."""
MOST_IDS = 50


def keep(connection: Connection, changes: Sequence[tuple[int, Change]]) -> None:
    """Remember the mails that ``changes`` (with the ticket's number) came by. One that is known already fails: somebody
    else has taken the same mail meanwhile."""
    rows = [
        {"message_id": mail, "ticket_id": id, "at": change.at}
        for id, change in changes
        if (mail := getattr(change, "mail", ""))
    ]
    if rows:
        connection.execute(insert(schema.mails), rows)


def ticket_of(connection: Connection, ids: Sequence[str]) -> int | None:
    """The number of the ticket that the last known of ``ids`` belongs to."""
    m = schema.mails
    looked_for = [id for id in ids if id][-MOST_IDS:]
    rows = connection.execute(select(m.c.message_id, m.c.ticket_id).where(m.c.message_id.in_(looked_for))).all()
    known = {row.message_id: int(row.ticket_id) for row in rows}
    return next((known[id] for id in reversed(looked_for) if id in known), None)


def of_ticket(connection: Connection, id: int) -> list[str]:
    """The Message-IDs of its mails, oldest first."""
    m = schema.mails
    statement = select(m.c.message_id).where(m.c.ticket_id == id).order_by(m.c.at, m.c.message_id)
    return [row.message_id for row in connection.execute(statement)]


def owed(connection: Connection, ticket: Ticket, changes: Sequence[Change]) -> list[Letter]:
    """The letters of ``changes``, without the confirmation where its reader has had enough of them."""
    found = letters(ticket, changes)
    return [
        letter
        for letter in found
        if letter.event != "received" or _confirmed(connection, letter.recipient, changes[-1].at) < MOST_CONFIRMED
    ]


def _confirmed(connection: Connection, recipient: str, now: int) -> int:
    o = schema.outbox
    statement = select(func.count()).where(
        o.c.channel == CHANNEL, o.c.state.in_(("pending", "claimed", "sent", "dead")),  # as the index has it
        o.c.not_before > now - CONFIRMED_WITHIN, o.c.event == "received", o.c.recipient == recipient,
    )  # fmt: skip
    return int(connection.execute(statement).scalar_one())
