"""From bytes to batches: pure functions of a body, the index and the limits; they never raise, whatever the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detector.nouns import Batch


@dataclass(frozen=True, slots=True)
class Rejected:
    """A body that was not taken: an HTTP status that tells the sender not to try again, a metric label, a sentence."""

    status: Literal[400, 413, 415]
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body that was taken. ``rejected`` counts by reason the samples of series that were not; ``first`` names some.

    ``samples``: how many the body held, rejected ones too.
    """

    batch: Batch
    rejected: Mapping[str, int] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    samples: int = 0


__all__ = ["Decoded", "Rejected"]
