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
    Column("public_at", BigInteger),
    UniqueConstraint("idempotency_key", name="uq_tickets_idempotency_key"),
    Index("ix_tickets_public_at", "public_at"),
    Index("ix_tickets_due_at", "due_at"),
    Index("ix_tickets_state", "state", "ended_at"),
    Index("ix_tickets_service", "service"),
    # Few are of such a phase or mode among all that there ever were, and lists show the newest of them.
    Index("ix_tickets_phase", "phase", "id"),
    Index("ix_tickets_mode", "mode", "id"),
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
    Column("ticket_id", _Id, ForeignKey("tickets.id")),
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
    Column("recipient", Text, nullable=False, server_default=""),
    Column("doc", Text, nullable=False, server_default=""),
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

silences = Table(
    "silences",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_silences_ends_at", "ends_at"),
)

# Deployments and the like, per service: what may have caused what.
changes = Table(
    "changes",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("service", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("dedup_key", String(255)),
    Column("doc", Text, nullable=False),
    UniqueConstraint("dedup_key", name="uq_changes_dedup_key"),
    Index("ix_changes_service", "service", "at"),
    Index("ix_changes_at", "at"),
)

problems = Table(
    "problems",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("doc", Text, nullable=False),
)

# Who asked to be told what the status page says; ``token`` is in the link that confirms and ends it.
subscribers = Table(
    "subscribers",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("kind", String(8), nullable=False),
    Column("address", Text, nullable=False),
    Column("token", String(64), nullable=False),
    Column("components", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger),
    UniqueConstraint("kind", "address", name="uq_subscribers_address"),
    UniqueConstraint("token", name="uq_subscribers_token"),
)

# A mail's Message-ID, so that its answer finds the ticket, and a second delivery of it opens nothing.
mails = Table(
    "mails",
    metadata,
    Column("message_id", String(255), primary_key=True),
    Column("ticket_id", _Id, ForeignKey("tickets.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_mails_ticket_id", "ticket_id"),
)

# Whoever logged in: what the cookie holds is hashed here.
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("who", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_sessions_who", "who"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    UniqueConstraint("hash", name="uq_tokens_hash"),
)

# Who did what beside the tickets' own timelines: logins, tokens, silences, exports, reloads.
audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", String(40), nullable=False),
    Column("target", Text, nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_audit_at", "at"),
)

views = Table(
    "views",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("query", Text, nullable=False),
    UniqueConstraint("owner", "name", name="uq_views_name"),
)

# When a person last said that a test message reached them on a channel.
proofs = Table(
    "proofs",
    metadata,
    Column("person", Text, primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
)


def append_only(dialect: str, table: str, said: str) -> tuple[str, ...]:
    """Statements after which rows of ``table`` are written once and never edited, whoever connects."""
    if dialect == "sqlite":
        return tuple(
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{said} is append-only'); END"
            for verb in ("update", "delete")
        )
    return (
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{said} is append-only'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()",
    )
