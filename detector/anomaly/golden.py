"""Golden signals of every service from its request metrics: traffic, errors, and how slow the slow answers are.

Classic histograms and request counters are added up per service at each evaluation, resets taken out, over the last 20
evaluations (five minutes at 15 s). The 99th percentile is kept for a while, so that latency can be forecast to its
objective as a resource is to its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.anomaly.limits import words
from detector.anomaly.resources import Key, Resource
from detector.anomaly.scale import Logarithmic, Samples, Scale
from detector.nouns import Ids
from detector.series.labels import Matcher
from detector.series.store import Store

SLOTS = 20
KEPT = 128
QUANTILE = 0.99
LEAST_REQUESTS = 100.0  # in the window: fewer have no 99th percentile
LOOKBACK = 300_000
REQUESTS = frozenset(["http", "grpc", "rpc", "request", "requests"])
DURATIONS = frozenset(["duration", "latency", "seconds", "time"])
_CODES = ("code", "status", "status_code", "grpc_code")
_GRPC_FAILURES = frozenset(["Unknown", "DeadlineExceeded", "ResourceExhausted", "Internal", "Unavailable", "DataLoss"])

ServiceOf = Callable[[Mapping[str, str]], str]


def is_latency(metric: str) -> bool:
    """Whether it is a histogram of how long requests take, in seconds."""
    every = set(words(metric))
    return metric.endswith("_seconds_bucket") and bool(every & REQUESTS) and bool(every & DURATIONS)


def is_requests(metric: str) -> bool:
    """Whether it counts requests, presumably by code."""
    return metric.endswith(("requests_total", "_handled_total")) and bool(set(words(metric)) & REQUESTS)


def is_traffic(metric: str) -> bool:
    """Whether its rate is the requests a second: the counter, or the count of how long they took."""
    return is_requests(metric) or is_latency(metric.removesuffix("_count") + "_bucket")


def failed(labels: Mapping[str, str]) -> bool:
    """Whether a request counter's labels say that the service failed."""
    code = next((labels[name] for name in _CODES if name in labels), "")
    return (len(code) == 3 and code.startswith("5")) or code.lower() == "5xx" or code in _GRPC_FAILURES


@dataclass(slots=True)
class Latency:
    """One service's latency histogram: its cells by edge, and the percentile at the last evaluations."""

    service: str
    metric: str
    cells: dict[float, int] = field(default_factory=dict)
    at: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    resource: Resource | None = None


class Golden:
    """Sums over the request metrics of a store, by service."""

    def __init__(self, store: Store, service_of: ServiceOf) -> None:
        self._store = store
        self._service_of = service_of
        self._ids = np.empty(0, np.int32)
        self._cell = np.empty(0, np.int64)
        self._before = np.empty(0, np.float64)
        self._ring = np.zeros((SLOTS, 0), np.float64)
        self._total = np.zeros(0, np.float64)
        self._head = 0
        self._filled = 0
        self.latencies: dict[tuple[str, str], Latency] = {}
        self._counts: dict[str, dict[bool, int]] = {}

    def births(self, names: Iterable[str]) -> None:
        """Series of these metrics were born."""
        fresh = [name for name in sorted(set(names)) if is_latency(name) or is_requests(name)]
        known = set(self._ids.tolist())
        ids: list[int] = []
        cells: list[int] = []
        for name in fresh:
            for id in self._store.index.select([Matcher("__name__", "=", name)]).tolist():
                if id not in known and (cell := self._cell_of(name, self._store.index.labels_of(id))) >= 0:
                    ids.append(id)
                    cells.append(cell)
        if ids:
            self._ids = np.concatenate([self._ids, np.array(ids, np.int32)])
            self._cell = np.concatenate([self._cell, np.array(cells, np.int64)])
            self._before = np.concatenate([self._before, np.full(len(ids), math.nan)])

    def forget(self, ids: Ids) -> None:
        """These series are gone."""
        keep = ~np.isin(self._ids, ids)
        if not np.all(keep):
            self._ids, self._cell, self._before = self._ids[keep], self._cell[keep], self._before[keep]

    def tick(self, upto: int) -> None:
        """Add what was counted since the last tick; once an evaluation."""
        cells = self._ring.shape[1]
        if not len(self._ids):
            return
        at, value = self._store.latest(self._ids, upto, LOOKBACK)
        value = np.where(at >= 0, value, math.nan)
        grown = np.where(value >= self._before, value - self._before, value)
        grown = np.where(np.isfinite(grown) & np.isfinite(self._before), grown, 0.0)
        self._before = np.where(np.isfinite(value), value, self._before)
        self._ring[self._head] = np.bincount(self._cell, weights=grown, minlength=cells)[:cells]
        self._head = (self._head + 1) % SLOTS
        self._filled = min(self._filled + 1, SLOTS)
        self._total = self._ring.sum(axis=0)
        for latency in self.latencies.values():
            slow = self._percentile(latency, self._total)
            if math.isfinite(slow):
                latency.at.append(upto)
                latency.value.append(slow)
                del latency.at[:-KEPT], latency.value[:-KEPT]

    def signals(self, service: str) -> dict[str, float]:
        """Traffic (requests in the window), errors (share) and latency (seconds) where the service has them."""
        out: dict[str, float] = {}
        total = self._total
        if (counts := self._counts.get(service)) is not None:
            cells = (counts.get(kind, len(total)) for kind in (True, False))
            bad, good = (float(total[cell]) if cell < len(total) else 0.0 for cell in cells)
            out["traffic"] = float(bad + good)
            out["errors"] = float(bad / (bad + good)) if bad + good > 0 else 0.0
        for (owner, metric), latency in self.latencies.items():
            if owner == service and latency.value:
                out[f"latency {metric}"] = latency.value[-1]
        return out

    def services(self) -> list[str]:
        return sorted({service for service, _ in self.latencies} | set(self._counts))

    def state(self) -> dict[str, Any]:
        """Everything that was counted; ids are the store's."""
        return {
            "ids": self._ids, "cell": self._cell, "before": self._before, "ring": self._ring,
            "head": self._head, "filled": self._filled,
            "latencies": [[x.service, x.metric, [[repr(edge), cell] for edge, cell in x.cells.items()], x.at, x.value]
                          for x in self.latencies.values()],
            "counts": [[service, [[bad, cell] for bad, cell in c.items()]] for service, c in self._counts.items()],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over :meth:`state`."""
        self._ids, self._cell = np.array(state["ids"], np.int32), np.array(state["cell"], np.int64)
        self._before, self._ring = np.array(state["before"]), np.array(state["ring"])
        self._total = self._ring.sum(axis=0)
        self._head, self._filled = int(state["head"]), int(state["filled"])
        for service, metric, cells, at, value in state["latencies"]:
            edges = {float(edge): int(cell) for edge, cell in cells}
            self.latencies[(service, metric)] = Latency(service, metric, edges, list(at), list(value))
        self._counts = {service: {bool(bad): int(cell) for bad, cell in c} for service, c in state["counts"]}

    def _cell_of(self, name: str, labels: Mapping[str, str]) -> int:
        service = self._service_of(labels)
        if is_latency(name):
            try:
                edge = float(labels.get("le", ""))
            except ValueError:
                return -1
            latency = self.latencies.setdefault((service, name), Latency(service, name))
            return latency.cells.setdefault(edge, self._new_cell(edge not in latency.cells))
        counts = self._counts.setdefault(service, {})
        bad = failed(labels)
        return counts.setdefault(bad, self._new_cell(bad not in counts))

    def _new_cell(self, needed: bool) -> int:
        if not needed:
            return -1
        cell = self._ring.shape[1]
        self._ring = np.concatenate([self._ring, np.zeros((SLOTS, 1))], axis=1)
        return cell

    def _percentile(self, latency: Latency, total: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        """As Prometheus's histogram_quantile; NaN for too few requests or a histogram without +Inf."""
        edges = sorted(latency.cells)
        if self._filled < SLOTS // 2 or len(edges) < 2 or edges[-1] != math.inf:
            return math.nan
        counts = np.maximum.accumulate(total[[latency.cells[edge] for edge in edges]])
        if counts[-1] < LEAST_REQUESTS:
            return math.nan
        rank = QUANTILE * counts[-1]
        i = int(np.searchsorted(counts, rank))
        if i >= len(edges) - 1:
            return edges[-2]
        low, below = (edges[i - 1], counts[i - 1]) if i > 0 else (0.0, 0.0)
        inside = counts[i] - below
        return float(low + (edges[i] - low) * ((rank - below) / inside if inside > 0 else 1.0))


class LatencySource:
    """The latencies of :class:`Golden` as resources that run up to an objective, in factors (:class:`Logarithmic`)."""

    def __init__(self, golden: Golden, objective: float) -> None:
        self._golden = golden
        self._scale = Logarithmic(objective)

    def resources(self) -> Sequence[Resource]:
        return [latency.resource for latency in self._golden.latencies.values() if latency.resource is not None]

    def births(self, names: Iterable[str]) -> list[Resource]:
        fresh = []
        for latency in self._golden.latencies.values():
            if latency.resource is None:
                latency.resource = _resource(latency)
                fresh.append(latency.resource)
        return fresh

    def forget(self, ids: Iterable[int]) -> list[Resource]:
        return []

    def scales(self, resources: Sequence[Resource], upto: int) -> list[Scale]:
        return [self._scale] * len(resources)

    def samples(self, resources: Sequence[Resource], start: int, end: int) -> Samples:
        at: list[int] = []
        value: list[float] = []
        first = [0]
        for resource in resources:
            latency = self._golden.latencies[(resource.service, resource.metric + "_bucket")]
            inside = [i for i, when in enumerate(latency.at) if start < when <= end]
            at += [latency.at[i] for i in inside]
            value += [latency.value[i] for i in inside]
            first.append(len(at))
        return Samples(np.array(first, np.int64), np.array(at, np.int64), np.array(value, np.float64))


def _resource(latency: Latency) -> Resource:
    metric = latency.metric.removesuffix("_bucket")
    key: Key = (metric, (("service", latency.service),))
    return Resource(
        key=key, metric=metric, limit_metric="", labels={"__name__": metric, "service": latency.service},
        service=latency.service, category="latency", item="", falling=False, used=[],
    )  # fmt: skip
