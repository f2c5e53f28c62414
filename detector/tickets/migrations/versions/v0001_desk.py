"""The desk: tickets, symptoms, timeline, outbox, alerts."""

import sqlalchemy as sa
from alembic import op

from detector.tickets.schema import append_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(16)),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("priority", sa.String(2)),
        sa.Column("tier", sa.String(2)),
        sa.Column("restricted", sa.Boolean, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("doc", sa.Text, nullable=False),
        sa.UniqueConstraint("idempotency_key", name="uq_tickets_idempotency_key"),
    )
    op.create_index("ix_tickets_due_at", "tickets", ["due_at"])
    op.create_index("ix_tickets_state", "tickets", ["state", "ended_at"])
    op.create_index("ix_tickets_service", "tickets", ["service"])
    op.create_table(
        "symptoms",
        sa.Column("ticket_id", _Id, sa.ForeignKey("tickets.id"), primary_key=True),
        sa.Column("symptom_id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
    )
    op.create_table(
        "timeline",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("ticket_id", _Id, sa.ForeignKey("tickets.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("ix_timeline_ticket_id", "timeline", ["ticket_id", "id"])
    op.create_table(
        "outbox",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("ticket_id", _Id, sa.ForeignKey("tickets.id"), nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("urgency", sa.String(8), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("dedup_key", sa.String(255), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("claimed_until", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("receipt", sa.String(255), nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.UniqueConstraint("idempotency_key", name="uq_outbox_idempotency_key"),
    )
    op.create_index("ix_outbox_pending", "outbox", ["channel", "state", "not_before"])
    op.create_index("ix_outbox_thread", "outbox", ["dedup_key", "id"])
    op.create_index("ix_outbox_ticket_id", "outbox", ["ticket_id"])
    op.create_table(
        "alerts",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("starts_at", sa.BigInteger, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("result", sa.String(32), nullable=False),
        sa.Column("ticket_key", sa.String(32)),
        sa.Column("received", sa.Integer, nullable=False),
        sa.Column("stored", sa.Integer, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("doc", sa.Text, nullable=False),
    )
    op.create_index("ix_alerts_open", "alerts", ["status", "expires_at"])
    op.create_index("ix_alerts_ticket_key", "alerts", ["ticket_key"])
    for statement in append_only(op.get_bind().dialect.name, "timeline", "the timeline"):
        op.execute(statement)


def downgrade() -> None:
    for name in ("alerts", "outbox", "timeline", "symptoms", "tickets"):
        op.drop_table(name)
