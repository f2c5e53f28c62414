"""Tickets, symptoms and changes as JSON text and back; timelines hold facts, never sentences."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import msgspec

from detector.nouns import Absorbed, Alert, Change, Symptom, SymptomJoined, Ticket

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_ENVELOPE = frozenset({"key", "at", "who"})


def document(value: Any) -> str:
    """JSON text. Characters that UTF-8 cannot hold (half a surrogate pair) become question marks: one bad letter in a
    label must not keep a ticket, and all that are committed with it, from being stored."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_scrubbed(msgspec.to_builtins(value))).decode()


def plain_text(text: str) -> str:
    """The text as every database can hold it in a column: PostgreSQL takes no NUL."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_scrubbed(key): _scrubbed(inner) for key, inner in value.items()}
    return [_scrubbed(inner) for inner in value] if isinstance(value, list | tuple) else value


def ticket_doc(ticket: Ticket) -> str:
    """The ticket without its symptoms, which have rows of their own."""
    return document(replace(ticket, symptoms=()))


def ticket_of(doc: str, version: int, symptoms: tuple[Symptom, ...]) -> Ticket:
    return replace(msgspec.json.decode(doc, type=Ticket), version=version, symptoms=symptoms)


def symptom_doc(symptom: Symptom) -> str:
    return document(symptom)


def symptom_of(doc: str) -> Symptom:
    return msgspec.json.decode(doc, type=Symptom)


def alert_doc(alert: Alert) -> str:
    return document(alert)


def alert_of(doc: str) -> Alert:
    return msgspec.json.decode(doc, type=Alert)


def change_name(change: Change) -> str:
    """The change's class in kebab case: ``symptom-joined``."""
    return _WORD.sub("-", type(change).__name__).lower()


def change_data(change: Change) -> dict[str, Any]:
    """The change's facts. A symptom goes without its evidence, which the symptom's own row holds."""
    if isinstance(change, SymptomJoined):
        change = replace(change, symptom=replace(change.symptom, evidence=None))
    if isinstance(change, Absorbed):
        facts = {"source": change.source, "symptoms": [symptom.id for symptom in change.symptoms]}
        return facts | {"mode": change.mode, "affected": msgspec.to_builtins(change.affected)}
    data = {f.name: getattr(change, f.name) for f in fields(change) if f.name not in _ENVELOPE}
    built: dict[str, Any] = msgspec.to_builtins(data)
    return built
