"""From raw label texts to a series: what is valid, how it is said, where the series comes from."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from detector.nouns import LabelSet
from detector.series.limits import Limits

REASONS = (
    "no-labels",
    "bad-label-name",
    "duplicate-label",
    "bad-utf8",
    "too-many-labels",
    "label-name-too-long",
    "label-value-too-long",
    "series-limit",
    "native-histogram",
    "dropped-by-relabelling",
    "bad-exposition-line",
)
SERIES_LIMIT = REASONS.index("series-limit")
DROPPED = REASONS.index("dropped-by-relabelling")


class BadLabels(ValueError):
    """Why a label set is not taken: ``code`` indexes :data:`REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.code = REASONS.index(reason)


def checked(pairs: Iterable[tuple[bytes, bytes]], limits: Limits) -> LabelSet:
    """Labels sorted by name, empty values left out, within limits; raises BadLabels. The order of the input is free."""
    labels: list[tuple[str, str]] = []
    for name, value in pairs:
        if not name:
            raise BadLabels("bad-label-name", "a label has no name")
        if len(name) > limits.label_name_bytes:
            raise BadLabels("label-name-too-long", f"label {name[:40]!r}... has a name of {len(name)} bytes")
        if len(value) > limits.label_value_bytes:
            raise BadLabels("label-value-too-long", f"label {name[:80]!r} has a value of {len(value)} bytes")
        try:
            labels.append((str(name, "utf-8"), str(value, "utf-8")))
        except UnicodeDecodeError:
            raise BadLabels("bad-utf8", f"label {name[:80]!r} or its value is not UTF-8") from None
        if len(labels) > limits.labels_per_series:
            raise BadLabels("too-many-labels", f"more than {limits.labels_per_series} labels")
    labels.sort()
    for (name_before, _), (name_after, _) in pairwise(labels):
        if name_before == name_after:
            raise BadLabels("duplicate-label", f"label {name_before[:80]!r} comes twice")
    kept = tuple(pair for pair in labels if pair[1])
    if not kept:
        raise BadLabels("no-labels", "a series without labels")
    return kept


def target_of(labels: LabelSet, otherwise: str) -> str:
    """Series of one scrape target share their timestamps: ``job`` and ``instance`` name it."""
    job = instance = ""
    for name, value in labels:
        if name == "job":
            job = value
        elif name == "instance":
            instance = value
    return f"{job}\xff{instance}" if job or instance else otherwise


def metric_of(labels: LabelSet) -> str:
    """The metric's name; ``""`` without one. ``__name__`` is not always first: capitals sort before it."""
    for name, value in labels:
        if name == "__name__":
            return value
    return ""
