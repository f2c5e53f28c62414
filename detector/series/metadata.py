"""What senders say about metrics: type, help and unit, by metric family; bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TYPES = ("", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown")
MOST_FAMILIES = 50_000
LONGEST_TEXT = 1024
SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created", "_info")


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    type: str
    help: str = ""
    unit: str = ""


class Metadata:
    """Metric family to its metadata; the newest word wins; families beyond the bound are not remembered."""

    def __init__(self) -> None:
        self._families: dict[str, MetricMetadata] = {}

    def __len__(self) -> int:
        return len(self._families)

    def note(self, family: str, type: str, help: str = "", unit: str = "") -> None:
        if family not in self._families and len(self._families) >= MOST_FAMILIES:
            return
        kind = type if type in TYPES[1:] else "unknown"
        self._families[family] = MetricMetadata(kind, help[:LONGEST_TEXT], unit[:LONGEST_TEXT])

    def get(self, family: str) -> MetricMetadata:
        """What is known of the family; nothing, for one that is not."""
        return self._families.get(family, MetricMetadata(""))

    def type_of(self, metric: str) -> str:
        """The type of the family that ``metric`` belongs to (``x_bucket`` belongs to ``x``); ``""`` when unknown."""
        found = self._families.get(metric)
        if found is None:
            for suffix in SUFFIXES:
                if metric.endswith(suffix):
                    found = self._families.get(metric.removesuffix(suffix))
                    if found is not None:
                        break
        return found.type if found is not None else ""

    def items(self) -> Iterator[tuple[str, MetricMetadata]]:
        return iter(self._families.items())
