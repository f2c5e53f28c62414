"""What comes in beside samples: alerts, reports, changes of services, silences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detector.nouns.terms import Kind


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of an Alertmanager or a Prometheus. Its episode is (fingerprint, starts_at).

    ``expires_at``: when it counts as over if neither repeated nor resolved. ``receiver``/``group_key`` are empty
    for API v2.
    """

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    status: Literal["firing", "resolved"]
    starts_at: int
    ends_at: int | None
    expires_at: int | None
    received_at: int
    generator_url: str = ""
    group_key: str = ""
    receiver: str = ""
    external_url: str = ""


@dataclass(frozen=True, slots=True)
class Reporter:
    name: str
    contact: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a person told the desk, in their words. ``security`` restricts it from its first byte.

    ``channel``: page | json | mail | call. ``mail``: the Message-ID that it came by; ``follows``: the ticket that it
    speaks of; ``told_at`` (ms): when the person told it, where that was before it arrived.
    """

    description: str
    received_at: int
    reporter: Reporter | None = None
    title: str = ""
    service: str = ""
    kind: Kind = "undecided"
    security: bool = False
    idempotency_key: str = ""
    channel: str = ""
    mail: str = ""
    follows: str | None = None
    told_at: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Something was changed on ``service`` at ``at`` (ms), as another program says; no service: it concerns all.
    ``dedup_key``: the same for a repetition of it. Foreign text: escape it."""

    service: str
    at: int
    summary: str
    source: str = ""
    link: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    received_at: int = 0
    dedup_key: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of what it matches from ``starts_at`` to ``ends_at`` (ms). ``matchers``: (name, operator, value),
    all of which must match. ``covers`` predictions: when users are hurt they are told all the same."""

    id: str
    matchers: tuple[tuple[str, str, str], ...]
    starts_at: int
    ends_at: int
    updated_at: int
    created_by: str = ""
    comment: str = ""
    covers: Literal["all", "predictions"] = "all"
