"""What one transaction writes: tickets, symptoms, timeline, messages owed, the ledger of alerts.

In: an open connection and drafts that were decided. Out: what became of each ticket, new ones with the number that they
got. Statements are gathered over all drafts, so that a storm costs per commit and not per alert.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from detector.nouns import (
    Absorbed,
    Alert,
    Call,
    Change,
    Opened,
    Symptom,
    SymptomJoined,
    SymptomRefreshed,
    SymptomsMoved,
    Ticket,
)
from detector.tickets import audience, mails, schema
from detector.tickets.codec import (
    alert_doc,
    change_data,
    change_name,
    document,
    plain_text,
    symptom_doc,
    symptom_of,
    ticket_doc,
)
from detector.tickets.letters import CHANNEL, Letter
from detector.tickets.owed import Owed, Route, helped, owed, pending_pages_end

PREFIX = "INC-"
MOST = 500


class Conflict(Exception):
    """Somebody else changed the ticket meanwhile: decide again on what it is now."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A ticket as it should become, and the changes that make it so. ``before`` is None for a new one."""

    before: Ticket | None
    after: Ticket
    changes: tuple[Change, ...]
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """The ledger's word on one alert: how often it came, what became of it, until when it counts. ``received`` is
    ``stored`` (it changed a ticket) and repeats, except that of a ``result`` other than ticket nothing is stored: those
    were turned away, for the reason that the result names."""

    alert: Alert
    result: str
    ticket_key: str | None
    received: int
    expires_at: int | None
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction did to one ticket. ``channels`` have a message waiting."""

    ticket: Ticket
    changes: tuple[Change, ...]
    channels: tuple[str, ...] = ()


class Calls(Protocol):
    """Whom a page of ``ticket`` calls in person, from ``now`` (ms) on; with ``who``: how that person is called."""

    def __call__(self, ticket: Ticket, now: int, who: str = "", /) -> Sequence[Call]: ...


def loud(ticket: Ticket, now: int) -> int | None:
    """No hours are quiet."""
    return None


def nobody(ticket: Ticket, now: int, who: str = "", /) -> Sequence[Call]:
    """Nobody is called in person: pages go to the channels alone."""
    return ()


def write(
    connection: Connection,
    drafts: Sequence[Draft],
    ledger: Sequence[Episode],
    routes: Sequence[Route],
    calls: Calls = nobody,
    letters: bool = False,
    subscribed: Sequence[str] = (),
    quiet: Callable[[Ticket, int], int | None] = loud,
) -> list[Committed]:
    """Write all of it; raises Conflict where a ticket is not at the version that the draft was made from. ``letters``:
    whether reporters are written to; ``subscribed``: the kinds of subscribers who are told what is published;
    ``quiet``: until when (ms) what pages nobody is held back."""
    names = _number(connection, drafts)
    written: list[tuple[int, Draft, Ticket, tuple[Change, ...]]] = []
    for draft in drafts:
        key = names.get(draft.after.key, draft.after.key)
        ticket = _renamed_ticket(replace(draft.after, key=key, version=draft.after.version + 1), names)
        written.append((number(key), draft, ticket, tuple(_renamed(change, names) for change in draft.changes)))
    _write_tickets(connection, written)
    _write_symptoms(connection, written, names)
    _write_timeline(connection, written)
    mails.keep(connection, [(id, change) for id, _, _, changes in written for change in changes])
    done = _owe(connection, written, routes, calls, letters, subscribed, quiet)
    _write_ledger(connection, ledger, names, {draft.after.key: ticket for _, draft, ticket, _ in written})
    return done


_Written = Sequence[tuple[int, Draft, Ticket, tuple[Change, ...]]]


def _number(connection: Connection, drafts: Sequence[Draft]) -> dict[str, str]:
    """New tickets get their rows, and with them their numbers: placeholder to key."""
    new = [draft for draft in drafts if draft.before is None]
    if not new:
        return {}
    rows = []
    for draft in new:
        opened = next(change for change in draft.changes if isinstance(change, Opened))
        # The document is written with the key in it, in the update that follows.
        rows.append(
            _row(draft.after, draft.due_at) | {"doc": "", "idempotency_key": report_key(opened.idempotency_key) or None}
        )
    statement = insert(schema.tickets).returning(schema.tickets.c.id, sort_by_parameter_order=True)
    ids = (connection.execute(statement, rows)).scalars().all()
    return {draft.after.key: f"{PREFIX}{id}" for draft, id in zip(new, ids, strict=True)}


def _write_tickets(connection: Connection, written: _Written) -> None:
    new = [{"row": id, **_row(ticket, draft.due_at)} for id, draft, ticket, _ in written if draft.before is None]
    if new:
        connection.execute(_update_row(tuple(name for name in new[0] if name != "row")), new)
    known = [
        {"row": id, "was": draft.before.version, **_row(ticket, draft.due_at)}
        for id, draft, ticket, _ in written
        if draft.before is not None
    ]
    if not known:
        return
    guarded = _update_row(tuple(name for name in known[0] if name not in ("row", "was")), guarded=True)
    # Building a statement costs more than running it, and a storm changes hundreds of tickets a second.
    if connection.dialect.supports_sane_multi_rowcount:
        done = connection.execute(guarded, known).rowcount
    else:
        done = sum(connection.execute(guarded, row).rowcount for row in known)
    if done != len(known):
        keys = ", ".join(f"{PREFIX}{row['row']}" for row in known[:20])
        raise Conflict(f"{keys}: changed by somebody else")


def _write_symptoms(connection: Connection, written: _Written, names: Mapping[str, str]) -> None:
    """Only those that changed. Decisions are made without evidence, so what is stored keeps the one it has; symptoms
    that another ticket had take theirs along."""
    fresh: dict[int, dict[str, Symptom]] = {}
    origin: dict[tuple[int, str], int] = {}
    for id, _, _, changes in written:
        for change in changes:
            if isinstance(change, SymptomJoined | SymptomRefreshed):
                fresh.setdefault(id, {})[change.symptom.id] = change.symptom
            elif isinstance(change, Absorbed):
                for symptom in change.symptoms:
                    fresh.setdefault(id, {}).setdefault(symptom.id, symptom)
                    origin[id, symptom.id] = number(names.get(change.source, change.source))
    bare = {
        (origin.get((id, s.id), id), s.id)
        for id, own in fresh.items()
        for s in own.values()
        if s.evidence is None and s.detector != "alert"  # alerts never have any, and storms are made of them
    }
    stored = _stored_evidence(connection, bare)
    rows = []
    for id, _, ticket, _ in written:
        if id not in fresh:
            continue
        place = {symptom.id: position for position, symptom in enumerate(ticket.symptoms)}
        for symptom in fresh[id].values():
            if symptom.evidence is None:
                symptom = replace(symptom, evidence=stored.get((origin.get((id, symptom.id), id), symptom.id)))
            rows.append({
                "ticket_id": id, "symptom_id": symptom.id, "position": place[symptom.id], "active": symptom.active,
                "doc": symptom_doc(symptom),
            })  # fmt: skip
    if rows:
        connection.execute(_upsert(connection.dialect.name, schema.symptoms, ("ticket_id", "symptom_id")), rows)
    for id, _, ticket, changes in written:
        if moved := {symptom for change in changes if isinstance(change, SymptomsMoved) for symptom in change.symptoms}:
            _take_out(connection, id, moved, [symptom.id for symptom in ticket.symptoms])


def _take_out(connection: Connection, id: int, moved: Collection[str], left: Sequence[str]) -> None:
    """These symptoms went elsewhere; those that are left close up, so that one which joins later comes behind them."""
    s = schema.symptoms
    connection.execute(delete(s).where(s.c.ticket_id == id, s.c.symptom_id.in_(moved)))
    if left:
        place = update(s).where(s.c.ticket_id == id, s.c.symptom_id == bindparam("symptom"))
        rows = [{"symptom": symptom, "place": position} for position, symptom in enumerate(left)]
        connection.execute(place.values(position=bindparam("place")), rows)


def _stored_evidence(connection: Connection, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], Any]:
    """Evidence by (ticket, symptom), where there is any."""
    ids = sorted({id for id, _ in wanted})
    stored = stored_symptoms(connection, ids, sorted({symptom for _, symptom in wanted}))
    return {(id, s.id): s.evidence for id, found in stored.items() for s in found if s.evidence is not None}


def _write_timeline(connection: Connection, written: _Written) -> None:
    rows = [
        {
            "ticket_id": id,
            "at": c.at,
            "who": plain_text(c.who),
            "what": change_name(c),
            "data": document(change_data(c)),
        }
        for id, _, _, changes in written
        for c in changes
        if not isinstance(c, SymptomRefreshed)
    ]
    if rows:
        connection.execute(insert(schema.timeline), rows)


def _owe(
    connection: Connection, written: _Written, routes: Sequence[Route], calls: Calls, letters: bool,
    subscribed: Sequence[str], quiet: Callable[[Ticket, int], int | None],
) -> list[Committed]:  # fmt: skip
    o = schema.outbox
    rows: list[dict[str, Any]] = []
    done: list[Committed] = []
    ringing = {route.channel for route in routes if route.rings}
    for id, draft, ticket, changes in written:
        _end_pages(connection, id, ticket, changes)
        messages = owed(draft.before, ticket, changes)
        told = _told(connection, id) if any(message.told_only for message in messages) else set()
        own = []
        for message in messages:
            for route in routes if not message.person else ():
                if _is_owed(route, message, ticket, told):
                    told.add(route.channel)
                    row = _outbox_row(id, ticket, route.channel, message, changes[-1].at)
                    until = quiet(ticket, changes[-1].at) if message.urgency == "notify" else None
                    own.append(row if until is None else row | {"state": "held", "not_before": until})
            if message.person:
                called = calls(ticket, changes[-1].at, message.person)
                if message.urgency == "notify":
                    called = [call for call in called if call.channel not in ringing]
                own += _called(id, ticket, message, called, changes[-1].at)
            elif message.urgency == "page" and not message.told_only:
                own += _called(id, ticket, message, calls(ticket, changes[-1].at), changes[-1].at)
        own += _handed(id, ticket, changes, routes)
        for letter in mails.owed(connection, ticket, changes) if letters else ():
            row = _outbox_row(id, ticket, CHANNEL, letter, changes[-1].at)
            own.append(row | _addressed(letter, row["dedup_key"]))
        rows += own
        told_all = audience.published(connection, id, ticket, changes, subscribed)
        done.append(Committed(ticket, changes, tuple(dict.fromkeys((*(row["channel"] for row in own), *told_all)))))
    if rows:
        # A name is owed once: the second commit of one fact owes nothing.
        connection.execute(_insert_new(connection.dialect.name, o, ("idempotency_key",)), rows)
    return done


def _handed(id: int, ticket: Ticket, changes: Sequence[Change], routes: Sequence[Route]) -> list[dict[str, Any]]:
    """The changes themselves, for channels that follow the desk: one message a commit, named by the version."""
    facts = [
        {"at": c.at, "who": c.who, "what": change_name(c), "data": change_data(c)}
        for c in changes
        if not isinstance(c, SymptomRefreshed)
    ]
    followers = [route.channel for route in routes if route.follows(ticket)] if facts else []
    if not followers:
        return []
    names = dict.fromkeys(change_name(c) for c in changes if not isinstance(c, SymptomRefreshed))
    message = Owed("change", "notify", ", ".join(names), f"change/{ticket.version}")
    told = document(facts)
    return [_outbox_row(id, ticket, channel, message, changes[-1].at) | {"doc": told} for channel in followers]


def _end_pages(connection: Connection, id: int, ticket: Ticket, changes: Sequence[Change]) -> None:
    """What was not sent yet of the pages that ``changes`` make void. Who was asked to help is called until they say
    that they do, whoever holds the ticket."""
    o = schema.outbox
    pending = update(o).where(o.c.ticket_id == id, o.c.state == "pending", o.c.urgency == "page")
    if pending_pages_end(changes):
        over = pending if ticket.state in ("resolved", "closed", "merged") else pending.where(o.c.event != "help")
        connection.execute(over.values(state="cancelled", settled_at=changes[-1].at))
    for who in helped(changes):
        mine = pending.where(o.c.event == "help", o.c.recipient == plain_text(who))
        connection.execute(mine.values(state="cancelled", settled_at=changes[-1].at))


def _called(id: int, ticket: Ticket, message: Owed, calls: Sequence[Call], now: int) -> list[dict[str, Any]]:
    """The message to each person in their order; later ones end with :func:`pending_pages_end`. What does not page is
    told once, by the first way to reach them, and at once."""
    if message.urgency == "notify":
        first = min((call.delay for call in calls), default=0)
        calls = [replace(call, delay=0) for call in calls if call.delay == first]
    rows = []
    for n, call in enumerate(calls):
        why = message.reason if message.person else f"{message.reason}; {call.who} is on call"
        mine = replace(message, slug=f"{message.slug}/call-{n}", reason=why)
        row = _outbox_row(id, ticket, call.channel, mine, now)
        rows.append(row | {"not_before": now + call.delay, "recipient": plain_text(call.who)})
    return rows


def _addressed(letter: Letter, thread: str) -> dict[str, str]:
    own = {"dedup_key": f"{thread}/{letter.branch}"} if letter.branch else {}
    return {"recipient": letter.recipient, "doc": plain_text(letter.text)} | own


def _told(connection: Connection, id: int) -> set[str]:
    o = schema.outbox
    statement = select(o.c.channel).distinct().where(
        o.c.ticket_id == id, o.c.event != "change", o.c.state.in_(("pending", "claimed", "sent", "digested"))
    )  # fmt: skip
    return {row.channel for row in connection.execute(statement)}


def _write_ledger(
    connection: Connection, ledger: Sequence[Episode], names: Mapping[str, str], after: Mapping[str, Ticket]
) -> None:
    a = schema.alerts
    if ledger:
        rows = [
            {
                "fingerprint": e.alert.fingerprint, "starts_at": e.alert.starts_at, "status": e.alert.status,
                "result": e.result, "ticket_key": names.get(e.ticket_key or "", e.ticket_key), "received": e.received,
                "stored": e.stored, "first_at": e.alert.received_at, "last_at": e.alert.received_at,
                "expires_at": e.expires_at, "doc": alert_doc(e.alert),
            }
            for e in ledger
        ]  # fmt: skip
        known = ("ticket_key",)
        statement = _upsert(
            connection.dialect.name, a, ("fingerprint", "starts_at"), keep=("first_at",), unless_null=known
        )
        connection.execute(statement, rows)
    for key, ticket in after.items():
        if ticket.merged_into is not None and key not in names:
            connection.execute(update(a).where(a.c.ticket_key == key).values(ticket_key=ticket.merged_into))


def stored_symptoms(
    connection: Connection, ids: Sequence[int], only: Sequence[str] | None = None
) -> dict[int, list[Symptom]]:
    """The symptoms of these tickets by ticket, in their order; ``only`` these of them, where given."""
    s = schema.symptoms
    found: dict[int, list[Symptom]] = {}
    chosen = [None] if only is None else [only[at : at + MOST] for at in range(0, len(only), MOST)]
    for start in range(0, len(ids), MOST):
        for some in chosen:
            statement = select(s.c.ticket_id, s.c.doc).where(s.c.ticket_id.in_(ids[start : start + MOST]))
            if some is not None:
                statement = statement.where(s.c.symptom_id.in_(some))
            for id, doc in connection.execute(statement.order_by(s.c.ticket_id, s.c.position)):
                found.setdefault(id, []).append(symptom_of(doc))
    return found


def report_key(text: str) -> str:
    """A sender's idempotency key as its column can hold it."""
    return plain_text(text)[:255]


def number(key: str) -> int:
    """``INC-42`` to 42; ValueError for anything else."""
    digits = key.removeprefix(PREFIX)
    if digits == key or not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise ValueError(f"{key!r} is no key such as {PREFIX}42")
    return int(digits)


def _row(ticket: Ticket, due_at: int | None) -> dict[str, Any]:
    ended = ticket.closed_at if ticket.closed_at is not None else ticket.resolved_at
    return {
        "version": ticket.version, "kind": ticket.kind, "state": ticket.state, "phase": ticket.phase,
        "service": plain_text(ticket.service), "mode": ticket.mode, "priority": ticket.priority, "tier": ticket.tier,
        "restricted": ticket.restricted, "opened_at": ticket.opened_at, "ended_at": ended, "due_at": due_at,
        "doc": ticket_doc(ticket), "public_at": ticket.public[0].at if ticket.public else None,
    }  # fmt: skip


def _renamed(change: Change, names: Mapping[str, str]) -> Change:
    """The change with placeholders replaced by the numbers that the desk gave."""
    values = {"key": names.get(change.key, change.key)}
    for field in ("into", "source", "follows", "to"):
        value = getattr(change, field, None)
        if value is not None and value in names:
            values[field] = names[value]
    return replace(change, **values)  # type: ignore[arg-type]


def _renamed_ticket(ticket: Ticket, names: Mapping[str, str]) -> Ticket:
    into = ticket.merged_into
    if into is not None:
        ticket = replace(ticket, merged_into=names.get(into, into))
    if any(link.key in names for link in ticket.links):
        links = tuple(replace(link, key=names.get(link.key, link.key)) for link in ticket.links)
        ticket = replace(ticket, links=links)
    return ticket


def _is_owed(route: Route, message: Owed, ticket: Ticket, told: set[str]) -> bool:
    if route.rings and message.urgency != "page":
        return False
    if message.told_only:
        return route.channel in told and (message.event != "resolved" or route.send_resolved)
    return route.takes(ticket, message.urgency, message.tier or ticket.tier)


def _outbox_row(id: int, ticket: Ticket, channel: str, message: Owed | Letter, now: int) -> dict[str, Any]:
    thread = f"detector/{ticket.key}/{channel}"
    return {
        "ticket_id": id, "channel": channel, "event": message.event, "urgency": message.urgency,
        "reason": plain_text(message.reason), "dedup_key": thread, "idempotency_key": f"{thread}/{message.slug}",
        "state": "pending", "created_at": now, "not_before": now, "claimed_until": None, "attempts": 0, "receipt": "",
        "settled_at": None, "recipient": "", "doc": "",
    }  # fmt: skip


@cache
def _upsert(
    dialect: str, table: Table, keys: tuple[str, ...], keep: tuple[str, ...] = (), unless_null: tuple[str, ...] = ()
) -> Any:
    """Insert or overwrite, except the columns to ``keep``; those ``unless_null`` are not overwritten with nothing.

    Built once: making such a statement costs more than running it.
    """
    made: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    fresh = {c.name: made.excluded[c.name] for c in table.columns if c.name not in (*keys, *keep)}
    for name in unless_null:
        fresh[name] = func.coalesce(made.excluded[name], table.c[name])
    return made.on_conflict_do_update(index_elements=list(keys), set_=fresh)


@cache
def _update_row(columns: tuple[str, ...], guarded: bool = False) -> Any:
    """By number; ``guarded``: only while the version is the one that it ``was``."""
    t = schema.tickets
    statement = update(t).where(t.c.id == bindparam("row"))
    if guarded:
        statement = statement.where(t.c.version == bindparam("was"))
    return statement.values({name: bindparam(name) for name in columns})


@cache
def _insert_new(dialect: str, table: Table, keys: tuple[str, ...]) -> Any:
    made: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    return made.on_conflict_do_nothing(index_elements=list(keys))
