"""What is written to the audit log: who did what, beside the tickets' own timelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from detector.tickets import schema
from detector.tickets.codec import document, plain_text


def audited(connection: Connection, at: int, who: str, what: str, target: str, data: Mapping[str, Any]) -> None:
    """Append one entry at ``at`` (ms); it is part of the transaction that it tells of."""
    row = {"at": at, "who": plain_text(who), "what": what, "target": plain_text(target), "data": document(dict(data))}
    connection.execute(insert(schema.audit).values(**row))
