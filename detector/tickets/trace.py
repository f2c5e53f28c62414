"""What was done with an alert or a ticket, read back: episodes as the ledger has them, messages as the outbox has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from detector.nouns import Alert
from detector.tickets import schema
from detector.tickets.audience import HOOK, MAIL
from detector.tickets.codec import alert_of, document, plain_text
from detector.tickets.commit import number
from detector.tickets.database import storage_errors
from detector.tickets.desk import Desk


@dataclass(frozen=True, slots=True)
class Traced:
    """One episode: how often it came, how often that was news, what became of it. Times in ms."""

    alert: Alert
    result: str
    ticket_key: str | None
    received: int
    stored: int
    first_at: int
    last_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Posted:
    """One message that was owed, and how it stands: pending, claimed, sent, dead or cancelled."""

    at: int
    not_before: int
    channel: str
    event: str
    urgency: str
    reason: str
    state: str
    attempts: int
    settled_at: int | None
    receipt: str
    recipient: str


class Trace:
    """Reads only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def episodes(self, name: str, most: int = 200) -> list[Traced]:
        """Those of a fingerprint, or whose alert has this ``alertname``, the last heard of first."""
        a = schema.alerts
        word = document({"alertname": plain_text(name)})[1:-1]
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        fits = or_(a.c.fingerprint == plain_text(name)[:64], a.c.doc.like(f"%{escaped}%", escape="\\"))
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(select(a).where(fits).order_by(a.c.last_at.desc()).limit(most))).all()
        found = [
            Traced(alert_of(r.doc), r.result, r.ticket_key, r.received, r.stored, r.first_at, r.last_at, r.expires_at)
            for r in rows
        ]
        return [one for one in found if name in (one.alert.fingerprint, one.alert.labels.get("alertname"))]

    async def messages(self, key: str) -> list[Posted]:
        """Every message that the ticket owed, oldest first, without those to the status page's subscribers. ValueError
        for what is no key."""
        o = schema.outbox
        statement = select(o).where(o.c.ticket_id == number(key), o.c.channel.not_in((MAIL, HOOK))).order_by(o.c.id)
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return [
            Posted(r.created_at, r.not_before, r.channel, r.event, r.urgency, r.reason, r.state, r.attempts,
                   r.settled_at, r.receipt, r.recipient)
            for r in rows
        ]  # fmt: skip

    async def ledger(self) -> Mapping[str, Mapping[str, int]]:
        """Sums over all episodes by their result: ``episodes``, ``received``, ``stored``."""
        a = schema.alerts
        statement = select(a.c.result, func.count(), func.sum(a.c.received), func.sum(a.c.stored)).group_by(a.c.result)
        with storage_errors():
            async with self._desk.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
        return {row[0]: {"episodes": row[1], "received": int(row[2]), "stored": int(row[3])} for row in rows}
