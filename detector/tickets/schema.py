"""The tables. Times are BIGINT ms (UTC); documents are JSON text. The same on SQLite and PostgreSQL.

``alembic`` migrations make them; a test holds that what they make equals this.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite counts rows only in a column of type INTEGER; PostgreSQL gets a bigint.
_Id = BigInteger().with_variant(Integer, "sqlite")

tickets = Table(
    "tickets",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(16)),
    Column("service", Text, nullable=False),
    Column("mode", String(8), nullable=False),
    Column("priority", String(2)),
    Column("tier", String(2)),
    Column("restricted", Boolean, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("due_at", BigInteger),
    Column("idempotency_key", String(255)),
    Column("doc", Text, nullable=False),
    UniqueConstraint("idempotency_key", name="uq_tickets_idempotency_key"),
    Index("ix_tickets_due_at", "due_at"),
    Index("ix_tickets_state", "state", "ended_at"),
    Index("ix_tickets_service", "service"),
)

symptoms = Table(
    "symptoms",
    metadata,
    Column("ticket_id", _Id, ForeignKey("tickets.id"), primary_key=True),
    Column("symptom_id", String(32), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("doc", Text, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("ticket_id", _Id, ForeignKey("tickets.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", String(32), nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_timeline_ticket_id", "ticket_id", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("ticket_id", _Id, ForeignKey("tickets.id"), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("event", String(16), nullable=False),
    Column("urgency", String(8), nullable=False),
    Column("reason", Text, nullable=False),
    Column("dedup_key", String(255), nullable=False),
    Column("idempotency_key", String(255), nullable=False),
    Column("state", String(12), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("claimed_until", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("receipt", String(255), nullable=False),
    Column("settled_at", BigInteger),
    UniqueConstraint("idempotency_key", name="uq_outbox_idempotency_key"),
    Index("ix_outbox_pending", "channel", "state", "not_before"),
    Index("ix_outbox_thread", "dedup_key", "id"),
    Index("ix_outbox_ticket_id", "ticket_id"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("result", String(32), nullable=False),
    Column("ticket_key", String(32)),
    Column("received", Integer, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("doc", Text, nullable=False),
    Index("ix_alerts_open", "status", "expires_at"),
    Index("ix_alerts_ticket_key", "ticket_key"),
)

# A timeline is written once and never edited, whoever connects to the database.
APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER timeline_no_{verb} BEFORE {verb.upper()} ON timeline "
        "BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END"
        for verb in ("update", "delete")
    ),
    "postgresql": (
        "CREATE FUNCTION timeline_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the timeline is append-only'; END $$",
        "CREATE TRIGGER timeline_append_only BEFORE UPDATE OR DELETE ON timeline "
        "FOR EACH ROW EXECUTE FUNCTION timeline_append_only()",
    ),
}
