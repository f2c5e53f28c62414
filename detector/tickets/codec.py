"""Tickets, symptoms and changes as JSON text and back; timelines hold facts, never sentences."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import msgspec

from detector.nouns import Alert, Change, Symptom, SymptomJoined, Ticket

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_ENVELOPE = frozenset({"key", "at", "who"})


def ticket_doc(ticket: Ticket) -> str:
    """The ticket without its symptoms, which have rows of their own."""
    return msgspec.json.encode(replace(ticket, symptoms=())).decode()


def ticket_of(doc: str, version: int, symptoms: tuple[Symptom, ...]) -> Ticket:
    return replace(msgspec.json.decode(doc, type=Ticket), version=version, symptoms=symptoms)


def symptom_doc(symptom: Symptom) -> str:
    return msgspec.json.encode(symptom).decode()


def symptom_of(doc: str) -> Symptom:
    return msgspec.json.decode(doc, type=Symptom)


def alert_doc(alert: Alert) -> str:
    return msgspec.json.encode(alert).decode()


def alert_of(doc: str) -> Alert:
    return msgspec.json.decode(doc, type=Alert)


def change_name(change: Change) -> str:
    """The change's class in kebab case: ``symptom-joined``."""
    return _WORD.sub("-", type(change).__name__).lower()


def change_data(change: Change) -> dict[str, Any]:
    """The change's facts. A symptom goes without its evidence, which the symptom's own row holds."""
    if isinstance(change, SymptomJoined):
        change = replace(change, symptom=replace(change.symptom, evidence=None))
    data = {f.name: getattr(change, f.name) for f in fields(change) if f.name not in _ENVELOPE}
    built: dict[str, Any] = msgspec.to_builtins(data)
    return built
