"""The whole desk: silences, changes, problems, the status page, mail, people."""

import sqlalchemy as sa
from alembic import op

from detector.tickets.schema import append_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("tickets", sa.Column("public_at", sa.BigInteger))
    op.create_index("ix_tickets_public_at", "tickets", ["public_at"])
    op.create_index("ix_tickets_phase", "tickets", ["phase", "id"])
    op.create_index("ix_tickets_mode", "tickets", ["mode", "id"])
    for name in ("recipient", "doc"):
        op.add_column("outbox", sa.Column(name, sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("outbox") as outbox:  # a letter to a person is about no ticket
        outbox.alter_column("ticket_id", existing_type=_Id, nullable=True)
    op.create_table(
        "silences",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])
    op.create_table(
        "changes",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("dedup_key", sa.String(255)),
        sa.Column("doc", sa.Text, nullable=False),
        sa.UniqueConstraint("dedup_key", name="uq_changes_dedup_key"),
    )
    op.create_index("ix_changes_service", "changes", ["service", "at"])
    op.create_index("ix_changes_at", "changes", ["at"])
    op.create_table(
        "problems",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
    )
    op.create_table(
        "subscribers",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("components", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.UniqueConstraint("kind", "address", name="uq_subscribers_address"),
        sa.UniqueConstraint("token", name="uq_subscribers_token"),
    )
    op.create_table(
        "mails",
        sa.Column("message_id", sa.String(255), primary_key=True),
        sa.Column("ticket_id", _Id, sa.ForeignKey("tickets.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_mails_ticket_id", "mails", ["ticket_id"])
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
    )
    op.create_index("ix_sessions_who", "sessions", ["who"])
    op.create_table(
        "tokens",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "audit",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "views",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.UniqueConstraint("owner", "name", name="uq_views_name"),
    )
    op.create_table(
        "proofs",
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("channel", sa.String(64), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    for statement in append_only(op.get_bind().dialect.name, "audit", "the audit log"):
        op.execute(statement)


def downgrade() -> None:
    for name in (
        "proofs",
        "views",
        "audit",
        "tokens",
        "sessions",
        "mails",
        "subscribers",
        "problems",
        "changes",
        "silences",
    ):
        op.drop_table(name)
    for name in ("public_at", "phase", "mode"):
        op.drop_index(f"ix_tickets_{name}", "tickets")
    for table, name in (("tickets", "public_at"), ("outbox", "recipient"), ("outbox", "doc")):
        op.drop_column(table, name)
