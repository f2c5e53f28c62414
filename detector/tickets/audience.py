"""What subscribers of the status page are owed when something is published: one statement for each of their kinds, so
that ten thousand of them cost a commit no more than a few. A message names its subscriber; addresses stand in their own
table alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, String, Text, cast, func, literal, null, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from detector.nouns import Change, Published, Ticket
from detector.tickets import schema
from detector.tickets.codec import plain_text
from detector.tickets.public import components_of

MAIL, HOOK = "@status-mail", "@status-hook"
"""What no configured channel can be called."""
CHANNELS: Mapping[str, str] = {"email": MAIL, "webhook": HOOK}
_NAMED = 8
"""Signs of the token in a subscriber's name: SQLite gives the number of who is gone to the next one."""
_MOST_COMPONENTS = 200


@dataclass(frozen=True, slots=True)
class Word:
    """What many are told. ``slug`` is its name: it is owed once to each, ever. ``reason`` says where its text is: for
    ``published`` the number of the update in its ticket; what is about no ticket has it in ``doc``."""

    event: str
    slug: str
    at: int
    components: Sequence[str]
    ticket_id: int | None = None
    reason: str = ""
    doc: str = ""


def published(
    connection: Connection, id: int, after: Ticket, changes: Sequence[Change], kinds: Sequence[str]
) -> list[str]:
    """Owe each word in ``changes`` to subscribers of these ``kinds``; the channels that have something to send."""
    if after.restricted:
        return []
    words = sum(isinstance(change, Published) for change in changes)
    channels: list[str] = []
    for number in range(len(after.public) - words + 1, len(after.public) + 1):
        slug = f"{after.key}/{number}"
        word = Word("published", slug, changes[-1].at, components_of(after), id, reason=str(number))
        channels += owe(connection, word, kinds)
    return list(dict.fromkeys(channels))


def owe(connection: Connection, word: Word, kinds: Sequence[str]) -> list[str]:
    """One message to each confirmed subscriber of what it concerns; the channels that have something to send."""
    return [CHANNELS[kind] for kind in kinds if _owe(connection, word, kind)]


def _owe(connection: Connection, word: Word, kind: str) -> bool:
    o, s = schema.outbox, schema.subscribers
    who = cast(s.c.id, String) + literal("-") + func.substr(s.c.token, 1, _NAMED)
    own = literal(thread("")) + who
    # Not LIKE, which takes A for a on SQLite.
    place = func.instr if connection.dialect.name == "sqlite" else func.strpos
    some = [place(s.c.components, f"\n{line(one)}\n") > 0 for one in word.components[:_MOST_COMPONENTS]]
    at, nothing = literal(word.at, BigInteger), cast(null(), BigInteger)
    columns: dict[str, Any] = {
        "ticket_id": literal(word.ticket_id, BigInteger), "channel": literal(CHANNELS[kind]),
        "event": literal(word.event), "urgency": literal("notify"), "reason": literal(word.reason, Text),
        "dedup_key": own, "idempotency_key": own + literal(f"/{word.slug}"), "state": literal("pending"),
        "created_at": at, "not_before": at, "claimed_until": nothing, "attempts": literal(0, Integer),
        "receipt": literal(""), "settled_at": nothing, "recipient": who, "doc": literal(word.doc, Text),
    }  # fmt: skip
    chosen = select(*columns.values()).where(
        s.c.kind == kind, s.c.confirmed_at.is_not(None), or_(s.c.components == "", *some)
    )
    statement = inserting(connection, o).from_select(list(columns), chosen.order_by(s.c.id))
    return bool(connection.execute(statement.on_conflict_do_nothing(index_elements=["idempotency_key"])).rowcount)


def inserting(connection: Connection, table: Any) -> Any:
    """An insert that knows what to do about conflicts."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def name(id: int, token: str) -> str:
    """What a subscriber is called in messages."""
    return f"{id}-{token[:_NAMED]}"


def thread(name: str) -> str:
    """Messages to one subscriber arrive in their order."""
    return f"detector/status/{name}"


def line(component: str) -> str:
    """A component's name as a line of a subscriber's."""
    return plain_text(" ".join(component.split("\n")))
