"""What is spoken upstairs: batches of samples, symptoms, findings; and the desk's word back to the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from detector.nouns.terms import DetectorName

Ids = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
LabelSet = tuple[tuple[str, str], ...]
"""Label pairs sorted by name, ``__name__`` among them, no empty values."""


@dataclass(frozen=True, slots=True)
class Born:
    """A series id first used by the batch that carries it.

    ``target`` names where the series comes from (series of one target share their timestamps and therefore a
    cohort); ``type`` is the OpenMetrics type where known, else ``""``.
    """

    id: int
    labels: LabelSet
    target: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One arrival, described completely: it can be journaled here and read by another process.

    ``series`` int32[n], ``at`` int64[n] (ms), ``value`` float64[n]; a stale marker is the NaN
    0x7ff0000000000002. ``gone`` int32[k]: ids released from the index before this batch; ``born`` may use them
    again. Order within the arrays is the order of arrival.
    """

    source: str
    series: Ids
    at: Times
    value: Values
    born: tuple[Born, ...] = ()
    gone: Ids = field(default_factory=lambda: np.empty(0, np.int32))


@dataclass(frozen=True, slots=True)
class Impact:
    """When the disruption is expected, ms: an interval and its likely point, earliest <= likely <= latest."""

    earliest: int
    likely: int
    latest: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the chart draws, kept with the ticket beyond the ring.

    ``at`` and ``value`` are the samples around the symptom; ``lower``/``upper`` the expected band at the same
    times (or empty); ``limit`` the line the series must not cross; the forecast is (ms, low, likely, high) points.
    """

    at: tuple[int, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    limit: float | None = None
    forecast: tuple[tuple[int, float, float, float], ...] = ()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Symptom:
    """An early or present sign of trouble on one label set.

    ``id`` derives from detector, labels and onset (:func:`symptom_id`), so that a replay finds the same symptom
    again. ``kind`` says what it is about (``exhaustion``, ``latency``, ``errors``, ``traffic``, ``absence``,
    ``anomaly``, ``down``, ...; rules and alerts: from the label ``kind``, else ``threshold``). ``name`` is the
    alert's or rule's name, or the metric's. ``item`` names the resource that runs out (``instance mountpoint``,
    pod, database) or is empty. ``score`` is -log10 p (0 where the detector has none). ``disruption``: users are
    hurt already. ``annotations`` are text from the rule or alert, already expanded: hostile text, escape it.
    """

    id: str
    detector: DetectorName
    kind: str
    name: str
    service: str
    labels: Mapping[str, str]
    metric: str
    score: float
    value: float | None
    lower: float | None
    upper: float | None
    first_at: int
    last_at: int
    active: bool
    summary: str
    category: str | None = None
    severity: str | None = None
    item: str = ""
    disruption: bool = False
    impact: Impact | None = None
    evidence: Evidence | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What modes are set for: detector, kind and metric; rules and alerts by their name."""
        if self.detector in ("rule", "alert"):
            return f"{self.detector}/{self.name}"
        return f"{self.detector}/{self.kind}/{self.metric}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one ``advance`` found: symptoms that are new or changed, in a stable order."""

    upto: int
    symptoms: tuple[Symptom, ...] = ()
    recorded: int = 0
    late: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """The desk's word to the models, journaled like a batch. ``kind``: freeze | thaw | feedback; a frozen series is
    scored but not learned from."""

    kind: Literal["freeze", "thaw", "feedback"]
    labels: tuple[LabelSet, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
