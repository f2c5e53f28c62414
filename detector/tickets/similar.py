"""Past tickets that were like this one: by what they were about first, by their words second. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from detector.nouns import Ticket

LEAST = 0.3
MOST = 5
WORDS = 30
_WEIGHTS = {"symptom": 3.0, "category": 2.0, "service": 1.0, "item": 1.0, "word": 0.5}
_WORD = re.compile(r"[^\W\d_]{4,}")


def likeness(one: Ticket, other: Ticket) -> float:
    """0 to 1: the weight of what both have in the weight of what either has."""
    mine, theirs = _features(one), _features(other)
    either = sum(_WEIGHTS[kind] for kind, _ in mine | theirs)
    return sum(_WEIGHTS[kind] for kind, _ in mine & theirs) / either if either else 0.0


def similar(ticket: Ticket, past: Iterable[Ticket]) -> tuple[Mapping[str, Any], ...]:
    """The most alike of ``past``, best first and newer before older, with what solved them."""
    scored = [(likeness(ticket, other), other) for other in past if other.key != ticket.key]
    best = sorted((pair for pair in scored if pair[0] >= LEAST), key=lambda pair: (-pair[0], -pair[1].opened_at))
    return tuple(
        {"key": other.key, "score": round(score, 2), "resolution": other.resolution}
        | ({"fix": other.fix} if other.fix else {})
        for score, other in best[:MOST]
    )


def _features(ticket: Ticket) -> set[tuple[str, str]]:
    found = {("service", ticket.service), *(("symptom", s.family) for s in ticket.symptoms)}
    found |= {("item", s.item) for s in ticket.symptoms if s.item}
    if ticket.category not in (None, "other"):
        found.add(("category", str(ticket.category)))
    words = _WORD.findall(f"{ticket.title} {ticket.description or ''}".lower()[:2000])
    return found | {("word", word) for word in sorted(set(words))[:WORDS]}
