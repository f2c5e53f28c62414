"""How much the arrays storey takes in, and how far back it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from detector.options import Options, Size, parse_size

FOREVER = 1 << 60
"""A span (ms) that no ring outlives: nothing is evicted."""

MOST_SERIES = 1 << 28
MOST_LABELS = 1 << 12


class Limits(Options):
    """What is refused, counted by reason and shown in ``/metrics``; each protects memory or time."""

    series: int = Field(1_000_000, ge=1, le=MOST_SERIES)
    """Active series; a new one beyond it is rejected (``series-limit``), known ones go on."""
    labels_per_series: int = Field(64, ge=1, le=MOST_LABELS)
    """Labels of one series, the metric's name among them (``too-many-labels``)."""
    label_name_bytes: Size = Field(1024, ge=1)
    """UTF-8 bytes of a label's name (``label-name-too-long``)."""
    label_value_bytes: Size = Field(4096, ge=1)
    """UTF-8 bytes of a label's value (``label-value-too-long``)."""
    body_bytes: Size = Field(parse_size("32MiB"), ge=1)
    """A request body or an exposition as it arrives (413)."""
    inflated_bytes: Size = Field(parse_size("128MiB"), ge=1, le=(1 << 31) - 1)
    """The same, inflated; checked before anything is inflated (413)."""
    samples_per_request: int = Field(2_000_000, ge=1)
    """Samples in one request or exposition (413)."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How far back rings reach, ms: ``default``, and ``metrics`` whose rules look further back (or less far)."""

    default: int = 70 * 60_000
    metrics: Mapping[str, int] = field(default_factory=dict)

    def of(self, metric: str) -> int:
        return self.metrics.get(metric, self.default)
